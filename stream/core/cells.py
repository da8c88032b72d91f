"""Integer counters in sorted arrays: one packed key, one value.

A key packs (slot, row, counter): the slot is a pane, counted from the cells' origin, the row a
segment, the counter a position in the catalogue's layout. Sorted keys make a pane one contiguous
run, so a window is a slice, expiry drops a prefix, and a sum over panes or shards is sort-and-add.
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
#: Slots of one key are within so many of the origin, so that the key has 63 bits.
SLOT_LIMIT = 1 << (62 - LOW_BITS)
MAX_COUNTERS = 1 << COUNTER_BITS
MAX_ROWS = 1 << ROW_BITS
COUNTER_MASK = MAX_COUNTERS - 1
ROW_MASK = MAX_ROWS - 1
#: Sums beyond this raise: one more addition of two such sums still fits in 64 bits.
SUM_LIMIT = 1 << 62

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


def summed_by_time(units: Ints, low: Ints, values: Ints) -> tuple[Ints, Ints, Ints]:
    """``summed`` where the time, in any unit, is apart from the rest of the key.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    if not units.size:
        return _EMPTY, _EMPTY, _EMPTY
    order = np.lexsort((low, units))
    units, low, values = units[order], low[order], values[order]
    is_new = (units[1:] != units[:-1]) | (low[1:] != low[:-1])
    starts, totals = _added_up(np.concatenate(([True], is_new)), values)
    kept = totals != 0
    return units[starts][kept], low[starts][kept], totals[kept]


def _added_up(is_start: NDArray[np.bool_], values: Ints) -> tuple[Ints, Ints]:
    """Where runs start, and the sums of the runs."""
    starts = np.flatnonzero(is_start)
    # Floats are too coarse for the sums but good enough to see one leave the range.
    if np.add.reduceat(np.abs(values.astype(np.float64)), starts).max() >= SUM_LIMIT:
        raise CounterOverflow("a counter's sum is beyond ±2^62")
    return starts, np.add.reduceat(values, starts)


class Cells:
    """Sorted counters. Cells that are zero are not kept, so taking all back leaves nothing.

    ``keys`` count their slots from an origin that depends on what was added first: any time of the
    calendar fits, whatever a slot's length.
    """

    __slots__ = ("_origin", "keys", "values")

    def __init__(self) -> None:
        self._origin = 0
        self.keys = _EMPTY
        self.values = _EMPTY

    def __len__(self) -> int:
        return int(self.keys.size)

    def _moved(self, slots: Ints) -> None:
        """See that the slots, not empty, are in reach of the origin.

        Far away only what is nearer to them than ``SLOT_LIMIT`` is of use: a window is shorter.
        """
        first = int(slots.min())
        if not self.keys.size:
            self._origin = first
        elif max(abs(first - self._origin), abs(int(slots.max()) - self._origin)) >= SLOT_LIMIT:
            self.drop_before(first - SLOT_LIMIT // 2)
            moved = (self.keys >> LOW_BITS) + (self._origin - first)
            self.keys = (moved << LOW_BITS) | (self.keys & LOW_MASK)
            self._origin = first

    def _key(self, slot: int) -> int:
        """The least key of a slot; one out of reach is before or after all keys."""
        return min(max(slot - self._origin, -SLOT_LIMIT), SLOT_LIMIT) << LOW_BITS

    def add(self, slots: Ints, low: Ints, values: Ints) -> None:
        """Add values to the cells of ``slots`` and ``low`` (see ``pack``), in any order.

        Raises:
            CounterOverflow: a sum is beyond ±2⁶².
        """
        if not slots.size:
            return
        self._moved(slots)
        keys, values = summed(((slots - self._origin) << LOW_BITS) | low, values)
        if not keys.size:
            return
        places = np.searchsorted(self.keys, keys)
        known = np.zeros(keys.size, dtype=bool)
        inside = places < self.keys.size
        known[inside] = self.keys[places[inside]] == keys[inside]
        # Both parts are within ±2⁶², so the sum can't wrap before it is looked at.
        sums = self.values[places[known]] + values[known]
        if sums.size and np.abs(sums).max() >= SUM_LIMIT:
            raise CounterOverflow("a counter's sum is beyond ±2^62")
        self.values[places[known]] = sums
        new = ~known
        if new.any():
            self.keys = np.insert(self.keys, places[new], keys[new])
            self.values = np.insert(self.values, places[new], values[new])
        if not sums.all():
            kept = self.values != 0
            self.keys, self.values = self.keys[kept], self.values[kept]

    def between(self, first_slot: int, last_slot: int) -> tuple[Ints, Ints]:
        """Keys and values of the slots from ``first_slot`` to ``last_slot``, both included."""
        low, high = np.searchsorted(self.keys, (self._key(first_slot), self._key(last_slot + 1)))
        return self.keys[low:high], self.values[low:high]

    def slots(self) -> list[int]:
        """The slots that hold anything, in order."""
        return [int(x) for x in (np.unique(self.keys >> LOW_BITS) + self._origin).tolist()]

    def drop_before(self, slot: int) -> list[int]:
        """Forget all slots before ``slot``; the slots that were forgotten, in order."""
        end = int(np.searchsorted(self.keys, self._key(slot)))
        if not end:
            return []
        gone = (np.unique(self.keys[:end] >> LOW_BITS) + self._origin).tolist()
        self.keys, self.values = self.keys[end:].copy(), self.values[end:].copy()
        return [int(x) for x in gone]

    def replace_slot(self, slot: int, low: Ints, values: Ints) -> None:
        """Put these cells, sorted by ``low``, in the place of all that the slot holds."""
        self._moved(np.array([slot], dtype=np.int64))
        first, end = np.searchsorted(self.keys, (self._key(slot), self._key(slot + 1)))
        keys = self._key(slot) | low
        self.keys = np.concatenate((self.keys[:first], keys, self.keys[end:]))
        self.values = np.concatenate((self.values[:first], values, self.values[end:]))
