"""The subscriptions that are remembered: who is active since when, and who has cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core.event import Event
from stream.core.formulas import fixed, fixed_columns
from stream.core.integers import NO_INTS, Ints, Mask, with_counts
from stream.core.kpi import Column
from stream.core.labels import LabelColumn, Labels
from stream.core.memory import FOREVER, Memory
from stream.core.table import ABSENT, Slots
from stream.core.timestamps import parse
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    numbers,
)
from stream.core.topics.subscription.events import (
    UNKNOWN,
    Payment,
    SubscriptionBase,
    SubscriptionCancelled,
    SubscriptionDowngraded,
    SubscriptionRenewed,
    SubscriptionStarted,
    SubscriptionUpgraded,
    started_at,
)

#: The greatest amount whose fixed point is sure to fit into 64 bits.
_MOST: Final = float(1 << 32)
#: The types that say how many are active.
_ACTIVE: Final = (SubscriptionBase, SubscriptionStarted, SubscriptionCancelled)
#: Rows have fewer bits than this.
_ROW_BITS: Final = 32
_ROW_MASK: Final = (1 << _ROW_BITS) - 1


class _Paid(NamedTuple):
    """What payments say, in columns; the amount is NaN where there is none."""

    amount: Column
    upsell: Column

    @classmethod
    def by(cls, payments: Sequence[Payment]) -> _Paid:
        amounts = numbers([p.amount for p in payments])
        return cls(amounts, numbers([p.upsell_amount or 0.0 for p in payments]))


class _Cancelled(NamedTuple):
    """What cancellations say, in columns: the start in ms, or ``UNKNOWN``."""

    started: Ints

    @classmethod
    def by(cls, events: Sequence[SubscriptionCancelled]) -> _Cancelled:
        return cls(started_at(events))


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

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        paid = ColumnHandler(_Paid.by, self._many_paid)
        return {
            SubscriptionStarted: ColumnHandler(_Paid.by, self._many_started),
            SubscriptionRenewed: paid,
            SubscriptionUpgraded: paid,
            SubscriptionDowngraded: paid,
            SubscriptionCancelled: ColumnHandler(
                _Cancelled.by, self._many_cancelled, lambda _, started: _Cancelled(started)
            ),
        }

    def need_order(
        self, places: Mapping[type[Event], Ints], labels: LabelColumn, rows: Ints, until: int
    ) -> Ints:
        """Where active ones count is said by whichever event of a set of labels comes last."""
        asked = np.concatenate(
            [of_type for struct, of_type in places.items() if struct in _ACTIVE] or [NO_INTS]
        )
        if self.active.may_fill(int(np.count_nonzero(rows < 0)), until):
            return asked
        sets, numbers = labels.sets, labels.numbers[asked]
        # Together in one number, since few of the pairs differ.
        packed, times = with_counts(numbers << _ROW_BITS | rows[asked] + 1)
        pairs = [(p >> _ROW_BITS, (p & _ROW_MASK) - 1) for p in packed.tolist()]
        keys = [sets[number].key for number, _ in pairs]
        events: Counter[bytes] = Counter()
        for key, n in zip(keys, times.tolist(), strict=True):
            events[key] += n
        has_room = self.active.has_room(len(events))
        moving = {
            key
            for key, (number, row) in zip(keys, pairs, strict=True)
            if self.active.may_move(sets[number], row, until, alone=has_room and events[key] == 1)
        }
        if not moving:
            return NO_INTS
        of_moving = {number for key, (number, _) in zip(keys, pairs, strict=True) if key in moving}
        found: Ints = asked[np.isin(numbers, list(of_moving))]
        return found

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
        self.active.set_base(labels, occurred, int(base.active), at, row)

    def _started(
        self, event: Payment, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        known = self._recall(key, occurred, at)
        if known is None or not known[0]:
            self.active.count(labels, occurred, 1, at, row)
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
        self.active.count(labels, occurred, -1, at, row)
        counts = [("cancelled", 1)]
        if started != UNKNOWN:
            counts += [("lifetimes", 1), ("lifetime", occurred - started)]
            self._count_since(started, occurred, at, row)
        self.tally.add(occurred, row, self.layout.contribution(counts))
        self._subscriptions.put(key, max(at, occurred), False, started, occurred)

    def _count_since(self, started: int, occurred: int, at: int, row: int) -> None:
        """Count a cancelled one at its start, for windows in which it both started and ended.

        A window that was added in between holds the end, so it holds this too. Where it ended ahead
        of the clock, a window may hold the pane of the start before that of the end begins. A pane
        counts in a window from when it begins until as many panes later as the window has: what is
        taken back so many panes before the end lasts up to the end.
        """
        since = self.layout.contribution([("cancelled_since", 1)])
        self.tally.add_earlier(started, occurred, row, since)
        if occurred <= at:
            return
        for window in self.settings.windows:
            if not self.tally.holds(window, occurred):
                continue
            now, start, end = (time // window.pane_ms for time in (at, started, occurred))
            if end - start >= window.panes:
                if self.tally.holds(window, started):
                    self.tally.add_in_pane(window, start, row, since, -1)
                continue
            while end > now:
                end, start = end - window.panes, start - window.panes
                self.tally.add_in_pane(window, end, row, since, -1)
                # Before the start there was nothing to take back from.
                self.tally.add_in_pane(window, start, row, since, 1)

    # Many events --------------------------------------------------------------------------------

    def _many_started(self, events: Arrivals[_Paid]) -> Mask:
        slots = self._subscriptions.find(events.keys)
        usual: Mask = ~(events.said.amount >= _MOST)
        usual &= (slots == ABSENT) | self._are_active(slots)
        new = np.flatnonzero(usual & (slots == ABSENT))
        occurred = events.occurred[new]
        self._count_active(events, new, 1)
        self._subscriptions.put_new(
            events.keys[new],
            np.full(new.size, FOREVER),
            active=True,
            started=occurred,
            event=occurred,
        )
        self._count_many(events, usual)
        return ~usual

    def _count_active(self, events: Arrivals[Any], chosen: Ints, n: int) -> None:
        """Count n for each of some events, whose label sets can't move."""
        columns = (column[chosen].tolist() for column in (events.occurred, events.at, events.rows))
        for i, occurred, at, row in zip(chosen.tolist(), *columns, strict=True):
            labels = events.labels[i]
            self.active.count(labels, occurred, n, at, None if self.active.knows(labels) else row)

    def _many_paid(self, events: Arrivals[_Paid]) -> Mask:
        slots = self._subscriptions.find(events.keys)
        usual: Mask = ~(events.said.amount >= _MOST)
        usual &= (slots == ABSENT) | self._are_active(slots)
        self._count_many(events, usual)
        return ~usual

    def _are_active(self, slots: Slots) -> Mask:
        """Which of the subscriptions that are known are active; the others say nothing."""
        active: Mask = self._subscriptions.field("active")[slots] != 0
        return active

    def _count_many(self, events: Arrivals[_Paid], usual: Mask) -> None:
        amounts, upsells = events.said
        paid = np.flatnonzero(usual & ~np.isnan(amounts))
        counts = [
            ("payments", np.ones(paid.size, dtype=np.int64)),
            ("amount", fixed_columns(amounts[paid])),
            ("upsell", fixed_columns(upsells[paid])),
        ]
        parts = self.layout.parts(counts)
        self.tally.add_columns(events.occurred[paid], events.rows[paid], parts)

    def _many_cancelled(self, events: Arrivals[_Cancelled]) -> Mask:
        slots = self._subscriptions.find(events.keys)
        new: Mask = slots == ABSENT
        usual = new | self._are_active(slots)
        started = np.where(new, events.said.started, self._subscriptions.field("started")[slots])
        usual &= new | (started <= events.occurred)
        usual &= events.occurred <= events.at
        chosen = np.flatnonzero(usual)
        new, slots, started = new[chosen], slots[chosen], started[chosen]
        occurred, at, rows = events.occurred[chosen], events.at[chosen], events.rows[chosen]
        self._count_active(events, chosen, -1)
        known = started != UNKNOWN
        with_start = known.astype(np.int64)
        since = self.layout.parts([("cancelled_since", with_start)])
        self.tally.add_columns_earlier(np.where(known, started, 0), occurred, rows, since)
        lifetime = np.where(known, occurred - started, 0)
        counts = [
            ("cancelled", np.ones(chosen.size, dtype=np.int64)),
            ("lifetimes", with_start),
            ("lifetime", lifetime),
        ]
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
