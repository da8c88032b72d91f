"""The latest signals of customers as columns, and the health scores that follow from them.

A health score is no sum of counters: it is worked out anew for each window and rollup from the
latest value of each customer and signal.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from stream.core.cells import Ints
from stream.core.kpi import Column
from stream.core.settings import Window

#: A customer whose score is below this is at risk.
AT_RISK_BELOW: Final = 40
#: Fewer rows than this are not worth clearing up.
_MANY: Final = 10_000


class LatestSignals(NamedTuple):
    """The latest signals in a window, one entry per customer and signal."""

    segments: Ints
    customers: Ints
    weights: Column
    weighted: Column

    def scores(self, series: Ints) -> tuple[Ints, Column]:
        """The series and score of every customer; ``series`` has the one of each segment, or −1.

        A customer has a score in each series that holds one of the latest signals, made of these
        alone.
        """
        numbers = series[self.segments]
        inside = numbers >= 0
        keys = (numbers[inside] << 32) | self.customers[inside]
        found, which = np.unique(keys, return_inverse=True)
        sums = np.bincount(which, self.weights[inside], found.size)
        return found >> 32, np.bincount(which, self.weighted[inside], found.size) / sums


class SignalTable:
    """One row per customer and signal: when it was said, under which labels, its weight and value.

    Signals of weight 0 are not there.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._slots: dict[tuple[bytes, str], int] = {}
        self._customers: dict[bytes, int] = {}
        self.customer = array("q")
        self.at = array("q")
        self.row = array("q")
        self.weight = array("d")
        self.value = array("d")

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, customer: bytes, signal: str, at: int, row: int, value: float) -> None:
        """Set the latest value of a customer's signal."""
        weight = self._weights.get(signal, 1.0)
        if not weight:
            return
        slot = self._slots.get((customer, signal))
        if slot is None:
            self._slots[customer, signal] = len(self.at)
            number = self._customers.setdefault(customer, len(self._customers))
            self.customer.append(number)
            self.at.append(at)
            self.row.append(row)
            self.weight.append(weight)
            self.value.append(value)
        else:
            self.at[slot], self.row[slot], self.value[slot] = at, row, value

    def mostly_before(self, at: int) -> bool:
        """Whether most of many rows were said before ``at``."""
        if len(self.at) < _MANY:
            return False
        return int((np.array(self.at) < at).sum()) * 2 > len(self.at)

    def within(self, window: Window, at: int, segments: Ints) -> LatestSignals:
        """What was said in the window at time ``at``; ``segments`` has the segment of each row."""
        times = np.array(self.at, dtype=np.int64)
        end = (at // window.pane_ms + 1) * window.pane_ms
        kept = (times >= window.start(at)) & (times < end)
        weights = np.array(self.weight)[kept]
        return LatestSignals(
            segments[np.array(self.row, dtype=np.int64)[kept]],
            np.array(self.customer, dtype=np.int64)[kept],
            weights,
            weights * np.array(self.value)[kept],
        )
