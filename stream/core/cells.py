"""Integer counters in sorted arrays: one packed key, one value.

A key packs (slot, row, counter): the slot is a pane, the row a segment, the counter a position in
the catalogue's layout. A pane is a pair of sorted arrays, so a window is some of them joined,
expiry drops whole ones, and a sum over panes or shards is sort-and-add.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

COUNTER_BITS = 13
ROW_BITS = 18
LOW_BITS = COUNTER_BITS + ROW_BITS
LOW_MASK = (1 << LOW_BITS) - 1
MAX_COUNTERS = 1 << COUNTER_BITS
MAX_ROWS = 1 << ROW_BITS
COUNTER_MASK = MAX_COUNTERS - 1
ROW_MASK = MAX_ROWS - 1
#: Sums beyond this raise: one more addition of two such sums still fits in 64 bits.
SUM_LIMIT = 1 << 62

#: Times less than so many units apart can be packed with the rest of the key.
_MOST_UNITS = 1 << (63 - LOW_BITS)

_EMPTY = np.empty(0, dtype=np.int64)


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
        return _EMPTY, _EMPTY
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts, totals = _added_up(np.concatenate(([True], keys[1:] != keys[:-1])), values)
    kept = totals != 0
    return keys[starts][kept], totals[kept]


def summed_over_time(units: Ints, low: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
    """Sort by what is counted (see ``pack``), then by time in any unit, and add up what is equal.

    So what is counted in a pane of any length stands together. What comes to zero is left out.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    if not units.size:
        return _EMPTY, _EMPTY, _EMPTY
    first = units.min()
    span = int(units.max() - first) + 1
    if span < _MOST_UNITS:
        # One sort of packed keys takes half the time of two.
        order = np.argsort(low * span + (units - first), kind="stable")
    else:
        order = np.lexsort((units, low))
    return _runs_added_up(units[order], low[order], values[order])


def _runs_added_up(times: Ints, low: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
    """What is equal and stands together added up, and left out where it comes to zero."""
    is_new = (times[1:] != times[:-1]) | (low[1:] != low[:-1])
    starts, totals = _added_up(np.concatenate(([True], is_new)), values)
    kept = totals != 0
    starts = starts[kept]
    return times[starts], low[starts], totals[kept]


def _added_up(is_start: NDArray[np.bool_], values: Ints) -> tuple[Ints, Ints]:
    """Where runs start, and the sums of the runs."""
    starts = np.flatnonzero(is_start)
    # Floats are too coarse for the sums but good enough to see one leave the range.
    if np.add.reduceat(np.abs(values.astype(np.float64)), starts).max() >= SUM_LIMIT:
        raise CounterOverflow("a counter's sum is beyond ±2^62")
    return starts, np.add.reduceat(values, starts)


def add_at(sums: Ints, places: Ints, values: Ints) -> None:
    """Add values at places of ``sums``, which were zero there; a place may be named repeatedly.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    sizes = np.abs(values.astype(np.float64))
    # As long as all together are within the range, so is each sum.
    if sizes.sum() >= SUM_LIMIT and np.bincount(places, sizes).max() >= SUM_LIMIT:
        raise CounterOverflow("a counter's sum is beyond ±2^62")
    np.add.at(sums, places, values)


class Cells:
    """Sorted counters, slot by slot, so that a change costs as much as the slots that it touches.

    Cells that are zero are not kept, so taking all back leaves nothing but an empty slot. It stays
    until it is dropped, as whoever has written it down must be told.
    """

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        #: What is counted (see ``pack``), sorted, and how many of it, by slot.
        self._slots: dict[int, tuple[Ints, Ints]] = {}

    def __len__(self) -> int:
        return sum(low.size for low, _ in self._slots.values())

    @property
    def nbytes(self) -> int:
        """The bytes that the cells take."""
        return sum(low.nbytes + values.nbytes for low, values in self._slots.values())

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
        starts = np.flatnonzero(np.concatenate(([True], slots[1:] != slots[:-1])))
        ends = [*starts[1:].tolist(), slots.size]
        changed: list[int] = slots[starts].tolist()
        for slot, start, end in zip(changed, starts.tolist(), ends, strict=True):
            self._add(slot, low[start:end], values[start:end])
        return changed

    def _add(self, slot: int, low: Ints, values: Ints) -> None:
        known = self._slots.get(slot)
        added = (low.copy(), values.copy()) if known is None else _merged(*known, low, values)
        self._slots[slot] = added

    def between(self, first_slot: int, last_slot: int) -> tuple[Ints, Ints]:
        """Keys and values of the slots from ``first_slot`` to ``last_slot``, both included.

        Keys count their slots from the first that there is.
        """
        slots = sorted(slot for slot in self._slots if first_slot <= slot <= last_slot)
        if not slots:
            return _EMPTY, _EMPTY
        found = [self._slots[slot] for slot in slots]
        keys = [
            low | ((slot - slots[0]) << LOW_BITS)
            for slot, (low, _) in zip(slots, found, strict=True)
        ]
        return np.concatenate(keys), np.concatenate([values for _, values in found])

    def slots(self) -> list[int]:
        """The slots that hold anything, in order."""
        return sorted(slot for slot, (low, _) in self._slots.items() if low.size)

    def drop_before(self, slot: int) -> list[int]:
        """Forget all slots before ``slot``; those that were forgotten, empty ones too, in order."""
        gone = sorted(old for old in self._slots if old < slot)
        for old in gone:
            del self._slots[old]
        return gone

    def replace_slot(self, slot: int, low: Ints, values: Ints) -> None:
        """Put these cells, sorted by ``low``, in the place of all that the slot holds."""
        self._slots[slot] = (low, values.copy())


def _merged(low: Ints, values: Ints, more_low: Ints, more: Ints) -> tuple[Ints, Ints]:
    """Sorted cells with more sorted cells added; ``values`` may be changed in place."""
    places = np.searchsorted(low, more_low)
    known = np.zeros(more_low.size, dtype=bool)
    inside = places < low.size
    known[inside] = low[places[inside]] == more_low[inside]
    # Both parts are within ±2⁶², so the sum can't wrap before it is looked at.
    sums = values[places[known]] + more[known]
    if sums.size and np.abs(sums).max() >= SUM_LIMIT:
        raise CounterOverflow("a counter's sum is beyond ±2^62")
    values[places[known]] = sums
    new = ~known
    if new.any():
        low = np.insert(low, places[new], more_low[new])
        values = np.insert(values, places[new], more[new])
    if not sums.all():
        kept = values != 0
        low, values = low[kept], values[kept]
    return low, values
