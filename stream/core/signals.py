"""The latest signals of customers as columns, and the health scores that follow from them.

A health score is no sum of counters: it is worked out anew for each window and rollup from the
latest value of each customer and signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from stream.core.integers import NO_INTS, Ints, with_counts
from stream.core.kpi import Column
from stream.core.memory import Memory
from stream.core.settings import Window
from stream.core.table import ABSENT, KeyTable, Slots, digest, grown

#: A customer whose score is below this is at risk.
AT_RISK_BELOW: Final = 40


class LatestSignals:
    """The latest signals in a window: parallel arrays, one entry per customer and signal.

    ``customers`` are small numbers, from 0.
    """

    def __init__(self, segments: Ints, customers: Ints, weights: Column, weighted: Column) -> None:
        self._segments = segments
        self._customers = customers
        self._weights = weights
        self._weighted = weighted
        #: Of all signals of each customer, in whatever series they are.
        self._scores = weighted_means(customers, weights, weighted)

    def scores(self, series: Ints) -> tuple[Ints, Column]:
        """The series and score of every customer; ``series`` has the one of each segment, or −1.

        A customer has a score in each series that holds one of the latest signals, made of these
        alone.
        """
        numbers = series[self._segments]
        # Nearly all customers have all their signals in one series, so nothing need be sorted.
        only = np.full(self._scores.size, -1, dtype=np.int64)
        only[self._customers] = numbers
        elsewhere = only[self._customers] != numbers
        if elsewhere.any():
            is_split = np.zeros(only.size, dtype=bool)
            is_split[self._customers[elsewhere]] = True
            only[is_split] = -1
            chosen = np.flatnonzero(is_split[self._customers] & (numbers >= 0))
            found, scores = self._by_series(numbers, chosen)
        else:
            found, scores = NO_INTS, _NO_NUMBERS
        whole = np.flatnonzero(only >= 0)
        return np.concatenate((only[whole], found)), np.concatenate((self._scores[whole], scores))

    def _by_series(self, numbers: Ints, chosen: Ints) -> tuple[Ints, Column]:
        """Series and scores of customers whose signals are in several series."""
        keys = (numbers[chosen] << 32) | self._customers[chosen]
        found, which = np.unique(keys, return_inverse=True)
        return found >> 32, weighted_means(which, self._weights[chosen], self._weighted[chosen])


def weighted_means(which: Ints, weights: Column, weighted: Column) -> Column:
    """The mean of each number in ``which``; NaN where it has no entry."""
    sums, totals = np.bincount(which, weights), np.bincount(which, weighted)
    means = np.full(sums.size, np.nan)
    np.divide(totals, sums, out=means, where=sums != 0)
    return means


class SignalTable:
    """What customers' signals said last: a view of the records that are remembered of them.

    A record is of one customer and signal; its fields are those of ``FIELDS``. Signals of weight 0
    are not there.
    """

    #: The digest of the customer's id, that of the signal's name, the row of the labels.
    FIELDS: Final[Mapping[str, type[np.generic]]] = {
        "customer": np.int64,
        "signal": np.int64,
        "row": np.int32,
        "value": np.float64,
    }

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = {digest(name): weight for name, weight in weights.items()}
        self._memory: Memory | None = None
        #: Customers by number, and how many signals are remembered of each.
        self._customers = KeyTable({"signals": np.int32})
        #: The number of the customer, by the slot of the record.
        self._number = np.zeros(0, dtype=np.int32)

    def __len__(self) -> int:
        """How many customers there are."""
        return len(self._customers)

    @property
    def forgotten(self) -> int:
        """How many signals were forgotten before their time."""
        return 0 if self._memory is None else self._memory.forgotten

    def watch(self, memory: Memory) -> None:
        """Show what a memory holds."""
        self._memory = memory

    def counts(self, customers: Ints) -> Ints:
        """How many signals are remembered of each customer."""
        numbers = self._customers.find(customers)
        return np.where(numbers == ABSENT, 0, self._customers.fields["signals"][numbers])

    def entered(self, slots: Slots, customers: Ints) -> None:
        """Note that records are new."""
        distinct, which, counts = np.unique(customers, return_inverse=True, return_counts=True)
        numbers = self._customers.find(distinct)
        new = numbers == ABSENT
        numbers[new] = self._customers.insert(distinct[new])
        self._customers.fields["signals"][numbers[new]] = 0
        self._customers.fields["signals"][numbers] += counts.astype(np.int32)
        if slots.size and int(slots.max()) >= self._number.size:
            self._number = grown(self._number, (int(slots.max()) + 1) * 5 // 4)
        self._number[slots] = numbers[which]

    def left(self, slots: Slots) -> None:
        """Note that records go; before ``recovered`` nobody was numbered."""
        if not len(self._customers):
            return
        numbers, counts = with_counts(self._number[slots])
        self._customers.fields["signals"][numbers] -= counts.astype(np.int32)
        self._customers.remove(numbers[self._customers.fields["signals"][numbers] == 0])

    def recovered(self) -> None:
        """The memory was loaded: number the customers anew."""
        if self._memory is not None:
            self._customers = KeyTable({"signals": np.int32})
            slots = self._memory.live()
            self.entered(slots, self._memory.field("customer")[slots])

    def within(self, window: Window, at: int, segments: Ints) -> LatestSignals:
        """What was said in the window at time ``at``; ``segments`` has the segment of each row."""
        if self._memory is None:
            return LatestSignals(NO_INTS, NO_INTS, _NO_NUMBERS, _NO_NUMBERS)
        slots, memory = self._memory.live(), self._memory
        times = memory.field("last")[slots]
        end = (at // window.pane_ms + 1) * window.pane_ms
        slots = slots[(times >= window.start(at)) & (times < end)]
        weights = self._weights_of(memory.field("signal")[slots])
        slots, weights = slots[weights != 0], weights[weights != 0]
        return LatestSignals(
            segments[memory.field("row")[slots]],
            self._number[slots].astype(np.int64),
            weights,
            weights * memory.field("value")[slots],
        )

    def _weights_of(self, signals: Ints) -> Column:
        weights = np.ones(signals.size)
        for signal, weight in self._weights.items():
            weights[signals == signal] = weight
        return weights


_NO_NUMBERS: Final = np.empty(0)
