"""The carts that are remembered, and when each has to be abandoned."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stream.core.event import Event
from stream.core.integers import NO_INTS, Ints, Mask, distinct
from stream.core.labels import Labels
from stream.core.memory import Memory, Record
from stream.core.settings import MINUTE
from stream.core.table import ABSENT, Slots
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    Nothing,
    RowHandler,
    Store,
    nothing,
)
from stream.core.topics.cart.events import CartEvent, CartOpened, CartPurchased, CartUpdated
from stream.core.topics.cart.lives import (
    MAX_RUNS,
    NEVER,
    NOTHING,
    UNCOUNTED,
    Counted,
    Life,
    fate,
    joined,
    up_to_purchase,
    with_activity,
)

#: Bits of what a cart was counted as, but for abandoned, which has its time.
PURCHASED, RECOVERED = 1, 2


class Deadlines:
    """Which carts may have to be abandoned, by minute.

    A cart that is open stands in the minute of its deadline or in an earlier one. One whose
    deadline moves away stays where it is until that minute comes.
    """

    def __init__(self) -> None:
        self._slots: defaultdict[int, array[int]] = defaultdict(lambda: array("i"))

    def __len__(self) -> int:
        """How many there are, those included that stand there more than once or in vain."""
        return sum(map(len, self._slots.values()))

    def put(self, slots: Slots, deadlines: Ints) -> None:
        """Note carts by their slots."""
        minutes = deadlines // MINUTE
        for minute in distinct(minutes).tolist():
            inside = slots[minutes == minute].astype(np.int32)
            self._slots[minute].frombytes(inside.tobytes())

    def put_one(self, slot: int, deadline: int) -> None:
        """Note a cart by its slot."""
        self._slots[deadline // MINUTE].append(slot)

    def up_to(self, at: int) -> Slots:
        """Take out all whose minute has begun at ``at``."""
        minutes = [minute for minute in self._slots if minute * MINUTE <= at]
        if not minutes:
            return NO_INTS
        parts = [np.frombuffer(self._slots.pop(minute), dtype=np.int32) for minute in minutes]
        return distinct(np.concatenate(parts)).astype(np.int64)


class Carts(Keeper):
    """Remembers each cart's activities, and what it was counted as.

    The fields of a record hold a single life with one run of activity at most: that is nearly every
    cart. Others have all their lives, in order, as the ``extra``.
    """

    entity = "cart_id"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        memory_ms, self._timeout_ms = context.settings.memory_ms, context.settings.cart_timeout_ms
        # While a cart can be bought in time its id is not new.
        self._apart_ms = max(memory_ms, self._timeout_ms)
        self._keep_ms = 2 * memory_ms + self._timeout_ms
        self._carts = Memory(
            "carts",
            self._keep_ms,
            {
                # The run of activity; row −1 where there is none.
                "first": np.int64,
                "end": np.int64,
                "row": np.int32,
                # The purchase; row −1 where there is none.
                "bought_at": np.int64,
                "bought_row": np.int32,
                # When it was counted as abandoned, or ``NEVER``, and what else it was counted as.
                "abandoned_at": np.int64,
                "counted": np.uint8,
            },
            context.settings.max_remembered,
        )
        self._deadlines = Deadlines()
        self._abandoned, self._purchased, self._recovered = (
            self.layout.contribution([(name, 1)])
            for name in ("carts_abandoned", "carts_purchased", "carts_recovered")
        )

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {CartOpened: self._used, CartUpdated: self._used, CartPurchased: self._bought}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        used = ColumnHandler(nothing, self._many_used)
        bought = ColumnHandler(nothing, self._many_bought)
        return {CartOpened: used, CartUpdated: used, CartPurchased: bought}

    def stores(self) -> Sequence[Store]:
        return (self._carts,)

    # One event ----------------------------------------------------------------------------------

    def _used(
        self, cart: CartEvent, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred, self._timeout_ms)
        if life.purchase == NOTHING or occurred <= life.purchase[0]:
            runs = with_activity(life.runs, (occurred, row), self._timeout_ms)[:MAX_RUNS]
            life = Life(life.last, runs, life.purchase)
        former = (*before, *near, *after)
        self._put(key, (*before, self._settled(life, near), *after), former)

    def _bought(
        self, cart: CartEvent, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred, self._timeout_ms)
        if life.purchase == NOTHING or occurred < life.purchase[0]:
            purchase = (occurred, row)
            life = Life(life.last, up_to_purchase(life.runs, purchase), purchase)
        former = (*before, *near, *after)
        self._put(key, (*before, self._settled(life, near), *after), former)

    def _lives(self, key: int, occurred: int, at: int) -> tuple[list[Life], list[Life], list[Life]]:
        """The lives of an id before, around and after an event; one may join several."""
        known = self._carts.get(key)
        if known is None:
            return [], [], []
        lives = _lives_of(known)
        if len(lives) == 1 and abs(occurred - lives[0].last) <= self._apart_ms:
            return [], lives, []
        # Whatever comes near the others is late.
        lives = [life for life in lives if life is lives[-1] or life.last + self._keep_ms >= at]
        before = [life for life in lives if occurred - life.last > self._apart_ms]
        after = [life for life in lives if life.first - occurred > self._apart_ms]
        return before, lives[len(before) : len(lives) - len(after)], after

    def _put(self, key: int, lives: Sequence[Life], former: Sequence[Life] = ()) -> None:
        """Remember an id's lives in the place of former ones, whose deadline is queued."""
        fields, extra = _record_of(lives)
        slot = self._carts.put(key, lives[-1].last, *fields, extra=extra)
        self._queue(slot, lives, former)

    def _queue(self, slot: int, lives: Sequence[Life], former: Sequence[Life] = ()) -> None:
        deadline, queued = self._deadline(lives), self._deadline(former)
        if deadline is not None and (queued is None or deadline < queued):
            self._deadlines.put_one(slot, deadline)

    def _deadline(self, lives: Sequence[Life]) -> int | None:
        """When the first of these lives has to be abandoned; None where none is open."""
        until = (life.open_until(self._timeout_ms) for life in lives)
        return min((deadline for deadline in until if deadline is not None), default=None)

    def _settled(self, life: Life, former: Sequence[Life], at: int = NEVER) -> Life:
        """The life with what became of it counted, in the place of what was counted before."""
        outcome = fate(life.runs, life.purchase, self._timeout_ms, at)
        now = (outcome.abandoned, outcome.purchased, outcome.recovered)
        counted = [old.counted for old in former] or [UNCOUNTED]
        if counted != [now]:
            self._count(counted, now)
        return Life(life.last, life.runs, life.purchase, now)

    def _count(self, counted: Sequence[Counted], now: Counted) -> None:
        for i, contribution in enumerate((self._abandoned, self._purchased, self._recovered)):
            before = [moment for moments in counted if (moment := moments[i]) != NOTHING]
            for moment in before:
                if moment != now[i]:
                    self.tally.take_back(*moment, contribution)
            if now[i] != NOTHING and now[i] not in before:
                self.tally.add(*now[i], contribution)

    # Many events --------------------------------------------------------------------------------

    def _many_used(self, carts: Arrivals[Nothing]) -> Mask:
        slots, occurred = self._carts.find(carts.keys), carts.occurred
        new: Mask = slots == ABSENT
        going_on = self._in_use(slots, occurred)
        if new.any():
            entered = self._carts.put_new(
                carts.keys[new],
                occurred[new],
                first=occurred[new],
                end=occurred[new],
                row=carts.rows[new],
                bought_at=0,
                bought_row=-1,
                abandoned_at=NEVER,
                counted=0,
            )
            self._deadlines.put(entered, occurred[new] + self._timeout_ms)
        if going_on.any():
            self._carts.update(
                slots[going_on],
                occurred[going_on],
                end=occurred[going_on],
                row=carts.rows[going_on],
            )
        unusual: Mask = ~new & ~going_on
        return unusual

    def _many_bought(self, carts: Arrivals[Nothing]) -> Mask:
        slots, occurred = self._carts.find(carts.keys), carts.occurred
        new: Mask = slots == ABSENT
        going_on, after_all = self._in_use(slots, occurred), self._given_up(slots, occurred)
        bought: Mask = new | going_on
        self._count_many("carts_purchased", occurred[bought], carts.rows[bought])
        if new.any():
            self._carts.put_new(
                carts.keys[new],
                occurred[new],
                first=0,
                end=0,
                row=-1,
                bought_at=occurred[new],
                bought_row=carts.rows[new],
                abandoned_at=NEVER,
                counted=PURCHASED,
            )
        if going_on.any():
            self._carts.update(
                slots[going_on],
                occurred[going_on],
                bought_at=occurred[going_on],
                bought_row=carts.rows[going_on],
                counted=PURCHASED,
            )
        if after_all.any():
            self._recover(slots[after_all], occurred[after_all], carts.rows[after_all])
        return ~bought & ~after_all

    def _recover(self, slots: Slots, occurred: Ints, rows: Ints) -> None:
        """Count carts that are bought after their time-out, some of them not yet abandoned."""
        deadlines = self._carts.field("end")[slots] + self._timeout_ms
        due = self._carts.field("abandoned_at")[slots] == NEVER
        left_in = self._carts.field("row")[slots].astype(np.int64)
        self._count_many("carts_abandoned", deadlines[due], left_in[due])
        self._count_many("carts_recovered", occurred, rows)
        self._carts.update(
            slots,
            occurred,
            bought_at=occurred,
            bought_row=rows,
            abandoned_at=deadlines,
            counted=RECOVERED,
        )

    def _count_many(self, name: str, at: Ints, rows: Ints) -> None:
        counts = [(name, np.ones(at.size, dtype=np.int64))]
        self.tally.add_columns(at, rows, self.layout.parts(counts))

    def _in_use(self, slots: Slots, occurred: Ints) -> Mask:
        """Which carts are open and go on being used, within the time-out of their last event."""
        found = self._goes_on(slots, occurred)
        some = slots[found]
        within = occurred[found] <= self._carts.field("end")[some] + self._timeout_ms
        found[found] = self._is_open(some) & within
        return found

    def _given_up(self, slots: Slots, occurred: Ints) -> Mask:
        """Which carts were not bought within the time-out of their last event.

        Those that were abandoned under another time-out are not among them.
        """
        found = self._goes_on(slots, occurred)
        some = slots[found]
        deadlines = self._carts.field("end")[some] + self._timeout_ms
        abandoned = self._carts.field("abandoned_at")[some]
        as_now = (abandoned == NEVER) | (abandoned == deadlines)
        found[found] = as_now & (occurred[found] > deadlines)
        return found

    def _goes_on(self, slots: Slots, occurred: Ints) -> Mask:
        """Which carts have a single run of activity that an event comes after, in the same life."""
        known = np.flatnonzero(slots != ABSENT)
        found = np.zeros(slots.size, dtype=bool)
        some, at = slots[known], occurred[known]
        end = self._carts.field("end")[some]
        within = (end <= at) & (at - end <= self._apart_ms)
        found[known] = self._is_run(some) & (self._carts.field("last")[some] == end) & within
        return found

    def _is_open(self, slots: Slots) -> Mask:
        """Which carts have a single run of activity, and nothing else."""
        is_open: Mask = self._is_run(slots) & (self._carts.field("abandoned_at")[slots] == NEVER)
        return is_open

    def _is_run(self, slots: Slots) -> Mask:
        """Which carts have a single run of activity, and were not bought."""
        carts = self._carts
        is_run: Mask = (carts.field("row")[slots] >= 0) & (carts.field("bought_row")[slots] < 0)
        return is_run & carts.without_extra(slots)

    def advance(self, at: int) -> None:
        """Abandon the carts whose deadline has come."""
        slots = self._deadlines.up_to(at)
        if not slots.size:
            return
        slots = slots[self._carts.are_live(slots)]
        is_open = self._is_open(slots)
        others, slots = slots[~is_open], slots[is_open]
        deadlines = self._carts.field("end")[slots] + self._timeout_ms
        due = deadlines <= at
        self._deadlines.put(slots[~due], deadlines[~due])
        slots, deadlines = slots[due], deadlines[due]
        if slots.size:
            rows = self._carts.field("row")[slots].astype(np.int64)
            self._count_many("carts_abandoned", deadlines, rows)
            self._carts.update(slots, self._carts.field("last")[slots], abandoned_at=deadlines)
        for slot in others[~self._carts.without_extra(others)].tolist():
            self._abandon(slot, at)

    def _abandon(self, slot: int, at: int) -> None:
        """Abandon what is due among the several lives or runs of an id."""
        lives = [Life(*life) for life in self._carts.extra_of(slot)]
        until = [life.open_until(self._timeout_ms) for life in lives]
        settled = [
            life if deadline is None or deadline > at else self._settled(life, [life], at)
            for life, deadline in zip(lives, until, strict=True)
        ]
        if settled != lives:
            (key,) = self._carts.keys(np.array([slot])).tolist()
            self._put(key, settled)
        else:
            self._queue(slot, lives)

    def recovered(self) -> None:
        """Queue the deadlines of the carts that are open."""
        self._deadlines = Deadlines()
        slots = self._carts.live()
        usual = slots[self._is_open(slots)]
        self._deadlines.put(usual, self._carts.field("end")[usual] + self._timeout_ms)
        for slot in slots[~self._carts.without_extra(slots)].tolist():
            self._queue(slot, [Life(*life) for life in self._carts.extra_of(slot)])


def _lives_of(record: Record) -> list[Life]:
    """The lives in a record."""
    last, *fields, extra = record
    if extra is not None:
        return [Life(*life) for life in extra]
    first, end, row, bought_at, bought_row, abandoned_at, counted = fields
    purchase = (bought_at, bought_row)
    moments = (
        (abandoned_at, row) if abandoned_at != NEVER else NOTHING,
        purchase if counted & PURCHASED else NOTHING,
        purchase if counted & RECOVERED else NOTHING,
    )
    return [Life(last, ((first, end, row),) if row >= 0 else (), purchase, moments)]


def _record_of(lives: Sequence[Life]) -> tuple[tuple[int, ...], tuple[Life, ...] | None]:
    """The fields of a record, and the lives where they don't fit into them."""
    last, runs, purchase, (abandoned, purchased, recovered) = lives[-1]
    first, end, row = runs[0] if runs else (0, 0, -1)
    counted = (purchased != NOTHING) * PURCHASED + (recovered != NOTHING) * RECOVERED
    abandoned_at = NEVER if abandoned == NOTHING else abandoned[0]
    fields = (first, end, row, *purchase, abandoned_at, counted)
    if _lives_of((last, *fields, None)) == list(lives):
        return fields, None
    return (0, 0, -1, *NOTHING, NEVER, 0), tuple(lives)
