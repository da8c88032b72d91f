"""Subscriptions: churn, retention, upsell and customer lifetime value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream.core import timestamps
from stream.core.event import Amount, Count, Currency, Event, EventType, FieldRule, Id, Timestamp
from stream.core.formulas import FIXED, divided, fixed, sum_of
from stream.core.kpi import Column, Columns, Counter, Kpi
from stream.core.labels import Labels
from stream.core.memory import FOREVER, Memory, digest
from stream.core.settings import DAY
from stream.core.topic import Context, Keeper, Store, Topic

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
    if event.started_at is not None and timestamps.parse(event.started_at) > at:
        return "is later than occurred_at"
    return None


_PAYMENT_RULES = (
    FieldRule("currency", "is required with amount", _check_currency),
    FieldRule("upsell_amount", "needs amount and is not more than it", _check_upsell),
)
_CANCELLED_RULES = (FieldRule("started_at", "is not later than occurred_at", _check_started_at),)

NAME = "cx.subscription"
TYPES = (
    # The key of a base is its labels, which tell one base from another.
    EventType(SubscriptionBase, key="labels", never_late=True),
    EventType(SubscriptionStarted, "subscription_id", _PAYMENT_RULES, never_late=True),
    EventType(SubscriptionRenewed, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionUpgraded, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionDowngraded, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionCancelled, "subscription_id", _CANCELLED_RULES, never_late=True),
)


class Subscriptions(Keeper):
    """Remembers who is active since when, and who has cancelled.

    A record's rest is (active, started at or ``UNKNOWN``, last event). Active ones are never
    forgotten.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        self._keep_ms = 2 * self._memory_ms
        self._subscriptions = Memory("subscriptions", self._keep_ms)

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {
            SubscriptionBase: self._base,
            SubscriptionStarted: self._started,
            SubscriptionRenewed: self._paid,
            SubscriptionUpgraded: self._paid,
            SubscriptionDowngraded: self._paid,
            SubscriptionCancelled: self._cancelled,
        }

    def stores(self) -> Sequence[Store]:
        return (self._subscriptions,)

    def _recall(self, key: bytes, occurred: int, at: int) -> tuple[bool, int, int] | None:
        """(active, started at, last event), or None where the id is unknown or new again."""
        known = self._subscriptions.get(key)
        if known is None:
            return None
        _, kept_from, active, started, last = known
        # Events of any age may come, so that what is to be forgotten must not count before it is.
        if not active and (occurred - last > self._memory_ms or at - kept_from > self._keep_ms):
            return None
        return active, started, last

    def _base(self, base: SubscriptionBase, occurred: int, at: int, labels: Labels) -> None:
        self.segments.row(labels, None, at)
        self.active.set_base(labels, occurred, int(base.active), at)

    def _started(self, event: SubscriptionStarted, occurred: int, at: int, labels: Labels) -> None:
        key = digest(event.subscription_id)
        known = self._recall(key, occurred, at)
        if known is None or not known[0]:
            self.active.count(labels, occurred, 1, at)
            self._subscriptions.put(key, FOREVER, True, occurred, occurred)
        self._count_amounts(event, occurred, at, labels)

    def _paid(self, event: Payment, occurred: int, at: int, labels: Labels) -> None:
        key = digest(event.subscription_id)
        known = self._recall(key, occurred, at)
        if known and not known[0]:
            # An event of a cancelled one changes no count, but it is remembered for longer.
            last = max(occurred, known[2])
            self._subscriptions.put(key, max(at, last), False, known[1], last)
        self._count_amounts(event, occurred, at, labels)

    def _count_amounts(self, event: Payment, occurred: int, at: int, labels: Labels) -> None:
        if event.amount is None:
            self.segments.row(labels, None, at)
            return
        amounts = [
            ("payments", 1),
            ("amount", fixed(event.amount)),
            ("upsell", fixed(event.upsell_amount or 0)),
        ]
        row = self.segments.row(labels, event.currency, at)
        self.tally.add(occurred, row, self.layout.contribution(amounts))

    def _cancelled(
        self, event: SubscriptionCancelled, occurred: int, at: int, labels: Labels
    ) -> None:
        key = digest(event.subscription_id)
        row = self.segments.row(labels, None, at)
        known = self._recall(key, occurred, at)
        if known and not known[0]:
            last = max(occurred, known[2])
            self._subscriptions.put(key, max(at, last), False, known[1], last)
            return
        started = UNKNOWN
        if known:
            started = known[1]
        elif event.started_at is not None:
            started = timestamps.parse(event.started_at)
        if started > occurred:
            started = UNKNOWN
        self.active.count(labels, occurred, -1, at)
        counts = [("cancelled", 1)]
        if started != UNKNOWN:
            counts += [("lifetimes", 1), ("lifetime", occurred - started)]
            self.tally.add(started, row, self.layout.contribution([("cancelled_since", 1)]))
        self.tally.add(occurred, row, self.layout.contribution(counts))
        self._subscriptions.put(key, max(at, occurred), False, started, occurred)


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
        Counter("cancelled_since", "Cancelled subscriptions by the time of their start"),
        Counter("lifetimes", "Cancelled subscriptions with a known start"),
        Counter("lifetime", "Their lifetimes in days", scale=DAY, wide=True),
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
            unit="ratio",
            source="Customer churn rate over a period, with the customers at its start as base.",
            good="down",
            numerator=sum_of("cancelled"),
            denominator=sum_of("active"),
            bounds="wilson",
            grows_with_window=True,
            topic=NAME,
        ),
        Kpi(
            id="retention",
            gauge="cx_retention_ratio",
            title="Retention",
            help="Share of those active at the window's start who have not cancelled since.",
            unit="ratio",
            source="Customer retention rate: (customers at end - new ones) / customers at start.",
            good="up",
            numerator=_retained,
            denominator=sum_of("active"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
        ),
        Kpi(
            id="upsell",
            gauge="cx_upsell_ratio",
            title="Upsell share",
            help="Share of the amounts paid that is upsell.",
            unit="ratio",
            source="Sum of upsell_amount over sum of amount, per currency.",
            good="up",
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
            unit="currency",
            source="Mean revenue per customer and day times mean customer lifetime.",
            good="up",
            value=_clv,
            labels=("currency",),
            topic=NAME,
        ),
    ),
)
