"""Integer counters in sorted arrays: one packed key, one value.

A key packs (slot, row, counter): the slot is a pane, the row a segment, the counter a position in
the catalogue's layout. A pane is a pair of sorted arrays, so a window is some of them joined,
expiry drops whole ones, and a sum over panes or shards is sort-and-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from stream.core.errors import StopError
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
#: Beyond so many sorted runs they are sorted as if they were not.
_FEW_RUNS: Final = 3


class CounterOverflow(StopError, ArithmeticError):
    """A sum has left the range of 64-bit integers; going on would show wrong numbers."""


def pack(row: int, counter: int) -> int:
    """The part of a cell's key that says what is counted."""
    return (row << COUNTER_BITS) | counter


def summed(keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Sort by key and add up equal keys; cells that come to zero are left out.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    return _equal_added_up(order_of(keys), keys, values)


def _runs_joined(runs: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """``summed`` of keys and values that are each in order already."""
    keys, values = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    # A stable sort finds the runs and merges them, which is quickest as long as they are few.
    few = len(runs) <= _FEW_RUNS
    return _equal_added_up(np.argsort(keys, kind="stable") if few else order_of(keys), keys, values)


def _equal_added_up(order: Ints, keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Keys in this order, each once, and the sums of their values other than zero."""
    keys, values = keys[order], values[order]
    starts, totals = _added_up(starts_of_runs(keys), values)
    return (keys if starts.size == keys.size else keys[starts]), totals


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
    if starts.size == values.size:
        return times, low, totals
    return times[starts], low[starts], totals


def _added_up(is_start: Mask, values: Ints) -> tuple[Ints, Ints]:
    """Where runs start, and the sums of the runs; those that come to zero are left out."""
    starts = np.flatnonzero(is_start)
    totals = values if starts.size == values.size else np.add.reduceat(values, starts)
    if _largest(values) * values.size >= SUM_LIMIT:
        # Floats are too coarse for the sums but tell those that have left 64 bits.
        about = np.add.reduceat(values.astype(np.float64), starts)
        if _largest(totals) >= SUM_LIMIT or np.abs(about - totals).max() >= SUM_LIMIT:
            raise CounterOverflow(_BEYOND)
    if not totals.all():
        kept = totals != 0
        starts, totals = starts[kept], totals[kept]
    return starts, totals


def _largest(values: Ints) -> int:
    """The largest value without its sign; 0 of none."""
    # All that is counted goes through here, so no column of absolute values is made for it.
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
            # At once, so that whoever adds to a sum is told that it leaves the range.
            self._low, self._values = _runs_joined((self.cells(), (low, values)))
            self._most = _largest(self._values)
            return
        self._lately.append((low, values))
        waiting = sum(piece.size for piece, _ in self._lately)
        if waiting > self._low.size or len(self._lately) > _MOST_PIECES:
            self.cells()

    def cells(self) -> tuple[Ints, Ints]:
        """All cells, in order; those that are zero are left out."""
        if self._lately:
            held = (self._low, self._values)
            self._low, self._values = _runs_joined((held, *self._lately))
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
        self._slots[slot] = _Slot(low, values)
