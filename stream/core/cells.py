"""Integer counters in sorted arrays: one packed key, one value.

A key packs (slot, row, counter): the slot is a pane, the row a segment, the counter a position in
the catalogue's layout. A pane is a pair of sorted arrays, so a window is some of them joined,
expiry drops whole ones, and a sum over panes or shards is sort-and-add.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from stream.core.integers import NO_INTS, Ints, Mask, order_of, starts_of_runs

COUNTER_BITS = 13
ROW_BITS = 18
LOW_BITS = COUNTER_BITS + ROW_BITS
MAX_COUNTERS = 1 << COUNTER_BITS
MAX_ROWS = 1 << ROW_BITS
COUNTER_MASK = MAX_COUNTERS - 1
ROW_MASK = MAX_ROWS - 1
#: Sums beyond this raise: one more addition of two such sums still fits in 64 bits.
SUM_LIMIT = 1 << 62

#: Times less than so many units apart can be packed with the rest of the key.
_MOST_UNITS = 1 << (63 - LOW_BITS)

_BEYOND = "a counter's sum is beyond ±2^62"
#: What was added lately is merged when it is as much as what it is merged with, so that a cell is
#: moved a few times in all, however large its slot has become; or when it has become so many
#: pieces, since each takes some room of its own.
_MOST_PIECES = 64


class CounterOverflow(ArithmeticError):
    """A sum has left the range of 64-bit integers; going on would show wrong numbers."""

    decision: ClassVar[str] = "stop"


def pack(row: int, counter: int) -> int:
    """The part of a cell's key that says what is counted."""
    return (row << COUNTER_BITS) | counter


def summed(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Sort by key and add up equal keys; cells that come to zero are left out.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    if not keys.size:
        return NO_INTS, NO_INTS
    order = order_of(keys)
    keys, values = keys[order], values[order]
    starts, totals = _added_up(starts_of_runs(keys), values)
    kept = totals != 0
    return keys[starts][kept], totals[kept]


def summed_over_time(units: Ints, low: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
    """Sort by what is counted (see ``pack``), then by time in any unit, and add up what is equal.

    So what is counted in a pane of any length stands together. What comes to zero is left out.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    if not units.size:
        return NO_INTS, NO_INTS, NO_INTS
    first = units.min()
    span = int(units.max() - first) + 1
    if span < _MOST_UNITS:
        # One sort of packed keys takes half the time of two.
        order = order_of(low * span + (units - first))
    else:
        order = np.lexsort((units, low))
    return _runs_added_up(units[order], low[order], values[order])


def _runs_added_up(times: Ints, low: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
    """What is equal and stands together added up, and left out where it comes to zero."""
    starts, totals = _added_up(starts_of_runs(times) | starts_of_runs(low), values)
    if not totals.all():
        kept = totals != 0
        starts, totals = starts[kept], totals[kept]
    if starts.size == values.size:
        return times, low, totals
    return times[starts], low[starts], totals


def _added_up(is_start: Mask, values: Ints) -> tuple[Ints, Ints]:
    """Where runs start, and the sums of the runs."""
    starts = np.flatnonzero(is_start)
    if _largest(values) * values.size >= SUM_LIMIT:
        # Floats are too coarse for the sums but good enough to see one leave the range.
        sizes = np.add.reduceat(np.abs(values.astype(np.float64)), starts)
        if sizes.max() >= SUM_LIMIT:
            raise CounterOverflow(_BEYOND)
    if starts.size == values.size:
        return starts, values
    return starts, np.add.reduceat(values, starts)


def _largest(values: Ints) -> int:
    """The largest value without its sign; 0 of none."""
    return max(int(values.max()), -int(values.min())) if values.size else 0


def add_at(sums: Ints, places: Ints, values: Ints) -> None:
    """Add values at places of ``sums``, which were zero there; a place may be named repeatedly.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    sizes = np.abs(values.astype(np.float64))
    # As long as all together are within the range, so is each sum.
    if sizes.sum() >= SUM_LIMIT and np.bincount(places, sizes).max() >= SUM_LIMIT:
        raise CounterOverflow(_BEYOND)
    np.add.at(sums, places, values)


class _Slot:
    """The cells of a slot: what is counted (see ``pack``), in order, and how many of it.

    What was added lately waits in pieces of its own until it is looked at.
    """

    __slots__ = ("_lately", "_low", "_most", "_values")

    def __init__(self, low: Ints, values: Ints) -> None:
        self._low = low
        self._values = values
        self._lately: list[tuple[Ints, Ints]] = []
        #: No value can be larger than this, whatever its sign.
        self._most = _largest(values)

    def add(self, low: Ints, values: Ints) -> None:
        """Add values to cells; each cell is named once, in order."""
        self._most += _largest(values)
        if self._most >= SUM_LIMIT:
            # Alone, as pieces whose values cancel each other out must not be taken for too large.
            self._low, self._values = _merged(*self.cells(), low, values)
            self._most = _largest(self._values)
            return
        self._lately.append((low, values))
        waiting = sum(piece.size for piece, _ in self._lately)
        if waiting > self._low.size or len(self._lately) > _MOST_PIECES:
            self.cells()

    def cells(self) -> tuple[Ints, Ints]:
        """All cells, in order; those that are zero are left out."""
        if self._lately:
            more = [np.concatenate(parts) for parts in zip(*self._lately, strict=True)]
            low, values = summed(*more) if len(self._lately) > 1 else more
            self._low, self._values = _merged(self._low, self._values, low, values)
            self._lately.clear()
        return self._low, self._values


class Cells:
    """Sorted counters, slot by slot, so that a change costs as much as the slots that it touches.

    Cells that are zero are not kept, so taking all back leaves nothing but an empty slot. It stays
    until it is dropped, as whoever has written it down must be told.
    """

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}

    def __len__(self) -> int:
        return sum(slot.cells()[0].size for slot in self._slots.values())

    @property
    def nbytes(self) -> int:
        """The bytes that the cells take."""
        return sum(part.nbytes for slot in self._slots.values() for part in slot.cells())

    def add(self, slots: Ints, low: Ints, values: Ints) -> list[int]:
        """Add values to cells by slot and ``low``, in the order of ``summed_over_time``.

        Returns the slots that have changed.

        Raises:
            CounterOverflow: a sum is beyond ±2⁶².
        """
        if not slots.size:
            return []
        slots, low, values = _runs_added_up(slots, low, values)
        if not slots.size:
            return []
        offsets = slots - slots.min()
        if most := int(offsets.max()):
            # Small numbers are sorted in a tenth of the time.
            order = np.argsort(offsets.astype(np.min_scalar_type(most)), kind="stable")
            slots, low, values = slots[order], low[order], values[order]
        starts = np.flatnonzero(starts_of_runs(slots))
        ends = [*starts[1:].tolist(), slots.size]
        changed: list[int] = slots[starts].tolist()
        for slot, start, end in zip(changed, starts.tolist(), ends, strict=True):
            added = low[start:end].copy(), values[start:end].copy()
            if (known := self._slots.get(slot)) is None:
                self._slots[slot] = _Slot(*added)
            else:
                known.add(*added)
        return changed

    def between(self, first_slot: int, last_slot: int) -> tuple[Ints, Ints]:
        """Keys and values of the slots from ``first_slot`` to ``last_slot``, both included.

        Keys count their slots from the first that there is.
        """
        slots = sorted(slot for slot in self._slots if first_slot <= slot <= last_slot)
        if not slots:
            return NO_INTS, NO_INTS
        found = [self._slots[slot].cells() for slot in slots]
        keys = [
            low | ((slot - slots[0]) << LOW_BITS)
            for slot, (low, _) in zip(slots, found, strict=True)
        ]
        return np.concatenate(keys), np.concatenate([values for _, values in found])

    def slot(self, number: int) -> tuple[Ints, Ints]:
        """The cells of a slot, by ``low``, in order: its own arrays, until it is added to."""
        slot = self._slots.get(number)
        return (NO_INTS, NO_INTS) if slot is None else slot.cells()

    def slots(self) -> list[int]:
        """The slots that hold anything, in order."""
        return sorted(number for number, slot in self._slots.items() if slot.cells()[0].size)

    def drop_before(self, slot: int) -> list[int]:
        """Forget all slots before ``slot``; those that were forgotten, empty ones too, in order."""
        gone = sorted(old for old in self._slots if old < slot)
        for old in gone:
            del self._slots[old]
        return gone

    def replace_slot(self, slot: int, low: Ints, values: Ints) -> None:
        """Put these cells, sorted by ``low``, in the place of all that the slot holds."""
        self._slots[slot] = _Slot(low, values.copy())


def _merged(low: Ints, values: Ints, more_low: Ints, more: Ints) -> tuple[Ints, Ints]:
    """Sorted cells with more sorted cells added; ``values`` may be changed in place."""
    if not low.size:
        return more_low, more
    places = np.searchsorted(low, more_low)
    known = low.take(places, mode="clip") == more_low
    # Both parts are within ±2⁶², so the sum can't wrap before it is looked at.
    sums = values[places[known]] + more[known]
    if _largest(sums) >= SUM_LIMIT:
        raise CounterOverflow(_BEYOND)
    values[places[known]] = sums
    new = ~known
    if new.any():
        # Where the new ones go when all are there.
        at = places[new]
        at += np.arange(at.size)
        is_old = np.ones(low.size + at.size, dtype=bool)
        is_old[at] = False
        stay = np.flatnonzero(is_old)
        low = _interleaved(stay, low, at, more_low[new])
        values = _interleaved(stay, values, at, more[new])
    if not sums.all():
        kept = values != 0
        low, values = low[kept], values[kept]
    return low, values


def _interleaved(stay: Ints, old: Ints, at: Ints, new: Ints) -> Ints:
    both = np.empty(stay.size + at.size, dtype=np.int64)
    both[stay] = old
    both[at] = new
    return both
