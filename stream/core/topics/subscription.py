"""Subscriptions: churn, retention, upsell and customer lifetime value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream.core.cells import Ints
from stream.core.event import Amount, Count, Currency, Event, EventType, FieldRule, Id, Timestamp
from stream.core.formulas import FIXED, divided, fixed, fixed_columns, sum_of
from stream.core.kpi import Column, Columns, Counter, Kpi, Move, Term
from stream.core.labels import Labels
from stream.core.meanings import subscription as meanings
from stream.core.memory import FOREVER, Memory
from stream.core.settings import DAY
from stream.core.table import ABSENT, Mask, Slots
from stream.core.timestamps import parse
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    Topic,
    numbers,
)

#: No time: the start of a subscription that was not seen.
UNKNOWN: Final = 1 << 60


class SubscriptionBase(Event, tag="subscription.base"):
    """How many subscriptions are active with exactly these labels."""

    active: Count


class Payment(Event):
    """What the paying events of a subscription carry."""

    subscription_id: Id
    amount: Amount | None = None
    upsell_amount: Amount | None = None
    currency: Currency | None = None
    plan: str | None = None


class SubscriptionStarted(Payment, tag="subscription.started"):
    """A subscription has begun."""


class SubscriptionRenewed(Payment, tag="subscription.renewed"):
    """A subscription goes on for another period."""


class SubscriptionUpgraded(Payment, tag="subscription.upgraded"):
    """A subscription was changed to a larger plan."""


class SubscriptionDowngraded(Payment, tag="subscription.downgraded"):
    """A subscription was changed to a smaller plan."""


class SubscriptionCancelled(Event, tag="subscription.cancelled"):
    """A subscription has ended."""

    subscription_id: Id
    started_at: Timestamp | None = None
    reason: str | None = None


def _check_currency(event: Any, at: int) -> str | None:
    if event.amount is not None and event.currency is None:
        return "is required with amount"
    return None


def _check_upsell(event: Any, at: int) -> str | None:
    if event.upsell_amount is None:
        return None
    if event.amount is None:
        return "needs amount"
    return "is more than amount" if event.upsell_amount > event.amount else None


def _check_started_at(event: Any, at: int) -> str | None:
    if event.started_at is not None and parse(event.started_at) > at:
        return "is later than occurred_at"
    return None


_PAYMENT_RULES = (
    FieldRule("currency", "is required with amount", _check_currency),
    FieldRule("upsell_amount", "needs amount and is not more than it", _check_upsell),
)


def _are_sound(events: Sequence[Any], at: Ints) -> bool:
    return all(
        event.upsell_amount is None
        if event.amount is None
        else event.currency is not None
        and (event.upsell_amount is None or event.upsell_amount <= event.amount)
        for event in events
    )


def _payment(struct: type[Event], *, never_late: bool = False) -> EventType:
    return EventType(
        struct,
        key="subscription_id",
        rules=_PAYMENT_RULES,
        never_late=never_late,
        by_currency=True,
        hold=_are_sound,
    )


NAME = "cx.subscription"
TYPES = (
    # The key of a base is its labels, which tell one base from another.
    EventType(SubscriptionBase, key="labels", never_late=True),
    _payment(SubscriptionStarted, never_late=True),
    _payment(SubscriptionRenewed),
    _payment(SubscriptionUpgraded),
    _payment(SubscriptionDowngraded),
    EventType(
        SubscriptionCancelled,
        key="subscription_id",
        rules=(FieldRule("started_at", "is not later than occurred_at", _check_started_at),),
        never_late=True,
    ),
)


#: The greatest amount whose fixed point is sure to fit into 64 bits.
_MOST: Final = float(1 << 32)


class Subscriptions(Keeper):
    """Remembers who is active since when, and who has cancelled.

    A start is ``UNKNOWN`` where it was not seen. Active ones are never forgotten.
    """

    entity = "subscription_id"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        self._keep_ms = 2 * self._memory_ms
        self._subscriptions = Memory(
            "subscriptions",
            self._keep_ms,
            {"active": np.uint8, "started": np.int64, "event": np.int64},
            context.settings.max_remembered,
        )

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {
            SubscriptionBase: self._base,
            SubscriptionStarted: self._started,
            SubscriptionRenewed: self._paid,
            SubscriptionUpgraded: self._paid,
            SubscriptionDowngraded: self._paid,
            SubscriptionCancelled: self._cancelled,
        }

    def columns(self) -> Mapping[type[Event], ColumnHandler]:
        return {
            SubscriptionStarted: self._many_started,
            SubscriptionRenewed: self._many_paid,
            SubscriptionUpgraded: self._many_paid,
            SubscriptionDowngraded: self._many_paid,
            SubscriptionCancelled: self._many_cancelled,
        }

    def need_order(self, struct: type[Event], labels: Iterable[Labels]) -> bool:
        """Where active ones count is said by whichever event brings a set of labels first."""
        if struct not in (SubscriptionBase, SubscriptionStarted, SubscriptionCancelled):
            return False
        return not all(found.key in self.active.sets for found in labels)

    def stores(self) -> Sequence[Store]:
        return (self._subscriptions,)

    # One event ----------------------------------------------------------------------------------

    def _recall(self, key: int, occurred: int, at: int) -> tuple[bool, int, int] | None:
        """(active, started at, last event), or None where the id is unknown or new again."""
        known = self._subscriptions.get(key)
        if known is None:
            return None
        kept_from, active, started, last, _ = known
        # Events of any age may come, so that what is to be forgotten must not count before it is.
        if not active and (occurred - last > self._memory_ms or at - kept_from > self._keep_ms):
            return None
        return bool(active), started, last

    def _base(
        self, base: SubscriptionBase, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        self.active.set_base(labels, occurred, int(base.active), at)

    def _started(
        self, event: Payment, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        known = self._recall(key, occurred, at)
        if known is None or not known[0]:
            self.active.count(labels, occurred, 1, at)
            self._subscriptions.put(key, FOREVER, True, occurred, occurred)
        self._count_amounts(event, occurred, row)

    def _paid(
        self, event: Payment, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        known = self._recall(key, occurred, at)
        if known and not known[0]:
            # An event of a cancelled one changes no count, but it is remembered for longer.
            last = max(occurred, known[2])
            self._subscriptions.put(key, max(at, last), False, known[1], last)
        self._count_amounts(event, occurred, row)

    def _count_amounts(self, event: Payment, occurred: int, row: int) -> None:
        if event.amount is None:
            return
        amounts = [
            ("payments", 1),
            ("amount", fixed(event.amount)),
            ("upsell", fixed(event.upsell_amount or 0)),
        ]
        self.tally.add(occurred, row, self.layout.contribution(amounts))

    def _cancelled(
        self,
        event: SubscriptionCancelled,
        key: int,
        occurred: int,
        at: int,
        row: int,
        labels: Labels,
    ) -> None:
        known = self._recall(key, occurred, at)
        if known and not known[0]:
            last = max(occurred, known[2])
            self._subscriptions.put(key, max(at, last), False, known[1], last)
            return
        started = UNKNOWN
        if known:
            started = known[1]
        elif event.started_at is not None:
            started = parse(event.started_at)
        if started > occurred:
            started = UNKNOWN
        self.active.count(labels, occurred, -1, at)
        counts = [("cancelled", 1)]
        if started != UNKNOWN:
            counts += [("lifetimes", 1), ("lifetime", occurred - started)]
            self._count_since(started, occurred, at, row)
        self.tally.add(occurred, row, self.layout.contribution(counts))
        self._subscriptions.put(key, max(at, occurred), False, started, occurred)

    def _count_since(self, started: int, occurred: int, at: int, row: int) -> None:
        """Count a cancelled one at its start, for windows in which it both started and ended.

        Where it ended ahead of the clock, a window may hold the pane of the start before that of
        the end begins. A pane counts in a window from when it begins until as many panes later as
        the window has: what is taken back so many panes before the end lasts up to the end.
        """
        since = self.layout.contribution([("cancelled_since", 1)])
        self.tally.add(started, row, since)
        if occurred <= at:
            return
        for window in self.settings.windows:
            now, start, end = (time // window.pane_ms for time in (at, started, occurred))
            if end - start >= window.panes:
                self.tally.add_in_pane(window, start, row, since, -1)
                continue
            while end > now:
                end, start = end - window.panes, start - window.panes
                self.tally.add_in_pane(window, end, row, since, -1)
                # Before the start there was nothing to take back from.
                self.tally.add_in_pane(window, start, row, since, 1)

    # Many events --------------------------------------------------------------------------------

    def _many_started(self, events: Arrivals) -> Mask:
        slots = self._subscriptions.find(events.keys)
        usual, amounts, upsells = self._amounts(events)
        usual &= (slots == ABSENT) | self._are_active(slots)
        new = np.flatnonzero(usual & (slots == ABSENT))
        occurred = events.occurred[new]
        for i, time, at in zip(
            new.tolist(), occurred.tolist(), events.at[new].tolist(), strict=True
        ):
            self.active.count(events.labels[i], time, 1, at)
        self._subscriptions.put_new(
            events.keys[new],
            np.full(new.size, FOREVER),
            active=True,
            started=occurred,
            event=occurred,
        )
        self._count_many(events, usual, amounts, upsells)
        return ~usual

    def _many_paid(self, events: Arrivals) -> Mask:
        slots = self._subscriptions.find(events.keys)
        usual, amounts, upsells = self._amounts(events)
        usual &= (slots == ABSENT) | self._are_active(slots)
        self._count_many(events, usual, amounts, upsells)
        return ~usual

    def _are_active(self, slots: Slots) -> Mask:
        """Which of the subscriptions that are known are active; the others say nothing."""
        active: Mask = self._subscriptions.field("active")[slots] != 0
        return active

    def _amounts(self, events: Arrivals) -> tuple[Mask, Column, Column]:
        """Which events have amounts of a usual size, or none (NaN), and the amounts."""
        amounts = numbers([e.amount for e in events.events])
        upsells = numbers([e.upsell_amount or 0.0 for e in events.events])
        return ~(amounts >= _MOST), amounts, upsells

    def _count_many(self, events: Arrivals, usual: Mask, amounts: Column, upsells: Column) -> None:
        paid = np.flatnonzero(usual & ~np.isnan(amounts))
        counts = [
            ("payments", np.ones(paid.size, dtype=np.int64)),
            ("amount", fixed_columns(amounts[paid])),
            ("upsell", fixed_columns(upsells[paid])),
        ]
        parts = self.layout.parts(counts)
        self.tally.add_columns(events.occurred[paid], events.rows[paid], parts)

    def _many_cancelled(self, events: Arrivals) -> Mask:
        slots = self._subscriptions.find(events.keys)
        new: Mask = slots == ABSENT
        usual = new | self._are_active(slots)
        said = [UNKNOWN if e.started_at is None else parse(e.started_at) for e in events.events]
        started = np.where(new, said, self._subscriptions.field("started")[slots])
        usual &= new | (started <= events.occurred)
        usual &= events.occurred <= events.at
        chosen = np.flatnonzero(usual)
        new, slots, started = new[chosen], slots[chosen], started[chosen]
        occurred, at, rows = events.occurred[chosen], events.at[chosen], events.rows[chosen]
        for i, time, now in zip(chosen.tolist(), occurred.tolist(), at.tolist(), strict=True):
            self.active.count(events.labels[i], time, -1, now)
        known = started != UNKNOWN
        ones = known.astype(np.int64)
        since = self.layout.parts([("cancelled_since", ones)])
        self.tally.add_columns(np.where(known, started, 0), rows, since)
        lifetime = np.where(known, occurred - started, 0)
        counts = [("cancelled", ones * 0 + 1), ("lifetimes", ones), ("lifetime", lifetime)]
        self.tally.add_columns(occurred, rows, self.layout.parts(counts))
        last = np.maximum(at, occurred)
        going = ~new
        self._subscriptions.update(slots[going], last[going], active=False, event=occurred[going])
        self._subscriptions.put_new(
            events.keys[chosen][new],
            last[new],
            active=False,
            started=started[new],
            event=occurred[new],
        )
        return ~usual


def _retained(c: Columns) -> Column:
    return c["active"] - (c["cancelled"] - c["cancelled_since"])


def _clv(c: Columns) -> Column:
    # A currency that was once paid in has no value in a window without payments.
    amount = np.where(c["payments"] > 0, c["amount"], np.nan)
    revenue = divided(amount, c["active"]) / c["window_days"]
    return revenue * divided(c["lifetime"], c["lifetimes"])


TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Subscriptions,
    counters=(
        Counter("cancelled", "Subscriptions cancelled"),
        # Counted at the time of the start: what started in the window was not active at its start.
        Counter("cancelled_since", "Cancelled subscriptions, counted at the time of their start"),
        Counter("lifetimes", "Cancelled subscriptions with a known start"),
        Counter(
            "lifetime",
            "Lifetimes of cancelled subscriptions in days, added up",
            scale=DAY,
            wide=True,
        ),
        Counter("payments", "Events with an amount", labels=("currency",)),
        Counter("amount", "Amounts paid", scale=FIXED, wide=True, labels=("currency",)),
        Counter("upsell", "Amounts paid for upsells", scale=FIXED, wide=True, labels=("currency",)),
    ),
    kpis=(
        Kpi(
            id="churn",
            gauge="cx_churn_ratio",
            title="Churn",
            help="Cancelled in the window over active at its start.",
            formula="cancelled / active at start",
            terms=(Term("cancelled", "cancelled"), Term("active at start", "active")),
            unit="ratio",
            source=(
                'F. F. Reichheld and W. E. Sasser, "Zero Defections: Quality Comes to Services",'
                " Harvard Business Review (September 1990): the defection rate."
            ),
            good="down",
            meaning=meanings.CHURN,
            numerator=sum_of("cancelled"),
            denominator=sum_of("active"),
            bounds="wilson",
            grows_with_window=True,
            comparable="same window",
            topic=NAME,
            moves=(Move("cancellation", "cancellations", ("cancelled",)),),
        ),
        Kpi(
            id="retention",
            gauge="cx_retention_ratio",
            title="Retention",
            help="Share of those active at the window's start who have not cancelled since.",
            formula="(active at start − (cancelled − new and cancelled)) / active at start",
            terms=(
                Term("active at start", "active"),
                Term("cancelled", "cancelled"),
                Term("new and cancelled", "cancelled_since"),
            ),
            unit="ratio",
            source='Piwik PRO, "Customer retention rate" (piwik.pro/glossary).',
            good="up",
            meaning=meanings.RETENTION,
            numerator=_retained,
            denominator=sum_of("active"),
            bounds="wilson",
            # Times that contradict each other can make one subscription count as two lost ones.
            lowest=None,
            highest=1.0,
            compares_across_windows=False,
            comparable="same window",
            topic=NAME,
            moves=(Move("cancellation", "cancellations", ("cancelled",)),),
        ),
        Kpi(
            id="upsell",
            gauge="cx_upsell_ratio",
            title="Upsell share",
            help="Share of the amounts paid that is upsell.",
            formula="upsell / amount",
            terms=(Term("upsell", "upsell"), Term("amount", "amount")),
            unit="ratio",
            source='KPI Zone, "Expansion Revenue Rate" (library.kpi.zone).',
            good="up",
            meaning=meanings.UPSELL,
            numerator=sum_of("upsell"),
            denominator=sum_of("amount"),
            labels=("currency",),
            highest=1.0,
            topic=NAME,
        ),
        Kpi(
            id="clv",
            gauge="cx_clv",
            title="Customer lifetime value",
            help="Amount per active subscription and day, times the mean lifetime in days.",
            formula="amount / active at start / window days · lifetime / lifetimes",
            terms=(
                Term("amount", "amount"),
                Term("active at start", "active"),
                Term("window days", "window_days"),
                Term("lifetime", "lifetime"),
                Term("lifetimes", "lifetimes"),
            ),
            unit="currency",
            source=(
                'S. Gupta and D. R. Lehmann, "Customers as Assets", Journal of Interactive'
                " Marketing (2003), here undiscounted, of revenue, with the lifetimes seen."
            ),
            good="up",
            meaning=meanings.CLV,
            value=_clv,
            labels=("currency",),
            comparable="never",
            topic=NAME,
        ),
    ),
)
