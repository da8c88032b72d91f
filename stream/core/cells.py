"""Integer counters in sorted arrays: one packed key, one value.

A key packs (slot, row, counter): the slot is a pane's index or a unit of time, the row a segment,
the counter a position in the catalogue's layout. Sorted keys make a pane one contiguous run, so a
window is a slice, expiry drops a prefix, and a sum over panes or shards is sort-and-add.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

COUNTER_BITS = 13
ROW_BITS = 18
LOW_BITS = COUNTER_BITS + ROW_BITS
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


def pack(slot: int, row: int, counter: int) -> int:
    """The key of a cell."""
    return (slot << LOW_BITS) | (row << COUNTER_BITS) | counter


def summed(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Sort by key and add up equal keys; cells that come to zero are left out.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    if not keys.size:
        return _EMPTY, _EMPTY
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    totals = np.add.reduceat(values, starts)
    # Floats are too coarse for the sums but good enough to see one leave the range.
    if np.add.reduceat(np.abs(values.astype(np.float64)), starts).max() >= SUM_LIMIT:
        raise CounterOverflow("a counter's sum is beyond ±2^62")
    kept = totals != 0
    return keys[starts][kept], totals[kept]


class Cells:
    """Sorted counters. Cells that are zero are not kept, so taking all back leaves nothing."""

    __slots__ = ("keys", "values")

    def __init__(self, keys: Ints = _EMPTY, values: Ints = _EMPTY) -> None:
        self.keys = keys
        self.values = values

    def __len__(self) -> int:
        return int(self.keys.size)

    def add(self, keys: Ints, values: Ints) -> None:
        """Add values to cells; ``keys`` may repeat and need not be sorted.

        Raises:
            CounterOverflow: a sum is beyond ±2⁶².
        """
        keys, values = summed(keys, values)
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
        low, high = np.searchsorted(
            self.keys, (first_slot << LOW_BITS, (last_slot + 1) << LOW_BITS)
        )
        return self.keys[low:high], self.values[low:high]

    def drop_before(self, slot: int) -> list[int]:
        """Forget all slots before ``slot``; the slots that were forgotten, in order."""
        end = int(np.searchsorted(self.keys, slot << LOW_BITS))
        if not end:
            return []
        gone = np.unique(self.keys[:end] >> LOW_BITS).tolist()
        self.keys, self.values = self.keys[end:].copy(), self.values[end:].copy()
        return [int(x) for x in gone]

    def replace_slot(self, slot: int, keys: Ints, values: Ints) -> None:
        """Put these sorted cells in the place of all that the slot holds."""
        low, high = np.searchsorted(self.keys, (slot << LOW_BITS, (slot + 1) << LOW_BITS))
        self.keys = np.concatenate((self.keys[:low], keys, self.keys[high:]))
        self.values = np.concatenate((self.values[:low], values, self.values[high:]))
