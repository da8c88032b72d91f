"""The latest signals of customers as columns, and the health scores that follow from them.

A health score is no sum of counters: it is worked out anew for each window and rollup from the
latest value of each customer and signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Final, NamedTuple

import numpy as np

from stream.core.formulas import FIXED, fixed, fixed_columns
from stream.core.integers import NO_INTS, Ints, Mask, distinct, with_counts
from stream.core.memory import Memory
from stream.core.settings import Window
from stream.core.table import ABSENT, Digests, KeyTable, Slots, grown

#: A customer whose score is below this is at risk.
AT_RISK_BELOW: Final = 40
#: A value in fixed point, 100 at most, has so many bits; a sum, and twice as much, is to have no
#: more than so many.
_VALUE_BITS: Final = (100 * FIXED).bit_length()
_SUM_BITS: Final = 61


class Scores(NamedTuple):
    """Customers' scores, one entry per customer and series."""

    series: Ints
    #: In fixed point, rounded once.
    scores: Ints
    at_risk: Mask


class LatestSignals:
    """The latest signals in a window: parallel arrays, one entry per customer and signal.

    ``customers`` are small numbers, from 0; ``weights`` are whole numbers, ``values`` in fixed
    point.
    """

    def __init__(self, segments: Ints, customers: Ints, weights: Ints, values: Ints) -> None:
        self._segments = segments
        self._customers = customers
        self._weights = weights
        self._values = values
        #: Of all signals of each customer, in whatever series they are.
        self._scores, self._at_risk = scores_of(customers, weights, values)

    def scores(self, series: Ints) -> Scores:
        """The score of every customer by series; ``series`` has the one of each segment, or −1.

        A customer has a score in each series that holds one of the latest signals, made of these
        alone.
        """
        numbers = series[self._segments]
        # Nearly all customers have all their signals in one series, so nothing need be sorted.
        only = np.full(self._scores.size, -1, dtype=np.int64)
        only[self._customers] = numbers
        elsewhere = only[self._customers] != numbers
        split = Scores(NO_INTS, NO_INTS, NO_INTS.astype(bool))
        if elsewhere.any():
            is_split = np.zeros(only.size, dtype=bool)
            is_split[self._customers[elsewhere]] = True
            only[is_split] = -1
            split = self._by_series(
                numbers, np.flatnonzero(is_split[self._customers] & (numbers >= 0))
            )
        kept = np.flatnonzero(only >= 0)
        return Scores(
            np.concatenate((only[kept], split.series)),
            np.concatenate((self._scores[kept], split.scores)),
            np.concatenate((self._at_risk[kept], split.at_risk)),
        )

    def _by_series(self, numbers: Ints, chosen: Ints) -> Scores:
        """The scores of customers whose signals are in several series."""
        keys = (numbers[chosen] << 32) | self._customers[chosen]
        found, which = np.unique(keys, return_inverse=True)
        scores = scores_of(which, self._weights[chosen], self._values[chosen])
        return Scores(found >> 32, *scores)


def scores_of(which: Ints, weights: Ints, values: Ints) -> tuple[Ints, Mask]:
    """The weighted mean of each number in ``which``, rounded once, and whether it is at risk.

    ``weights`` are whole numbers and not 0, ``values`` in fixed point. A number that has no entry
    has the mean 0.
    """
    # Sums of whole numbers are the same in whatever order signals are remembered.
    n = int(which.max(initial=-1)) + 1
    divisors = _summed(n, which, weights)
    most = int(divisors.max(initial=0))
    divisors[divisors == 0] = 1
    # As many digits of the values at a time as a sum of 64 bits has room for.
    bits = min(_VALUE_BITS, _SUM_BITS - most.bit_length())
    means, rests = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for shift in reversed(range(0, _VALUE_BITS, bits)):
        digits = (values >> shift) & ((1 << bits) - 1)
        digit, rests = np.divmod((rests << bits) + _summed(n, which, weights * digits), divisors)
        means = (means << bits) + digit
    at_risk = means < AT_RISK_BELOW * FIXED
    # Halves go to the even number, as everywhere.
    twice = 2 * rests
    means += (twice > divisors) | ((twice == divisors) & (means % 2 == 1))
    return means, at_risk


def _summed(n: int, which: Ints, values: Ints) -> Ints:
    sums = np.zeros(n, dtype=np.int64)
    np.add.at(sums, which, values)
    return sums


def whole_weights(weights: Mapping[str, float]) -> tuple[dict[str, int], int]:
    """Whole numbers in the ratio of weights, and of the weight 1 of signals that have none.

    They count up to the ninth decimal; only 0 is 0.
    """
    fixed_weights = {
        name: max(1, fixed(weight)) if weight else 0 for name, weight in weights.items()
    }
    divisor = gcd(FIXED, *fixed_weights.values())
    return {name: weight // divisor for name, weight in fixed_weights.items()}, FIXED // divisor


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

    def __init__(self, weights: Mapping[str, float], digests: Digests) -> None:
        self._by_name, self._usual_weight = whole_weights(weights)
        self._digests = digests
        self._memory: Memory | None = None
        #: Customers by number, and how many signals are remembered of each.
        self._customers = KeyTable({"signals": np.int32})
        #: The number of the customer, by the slot of the record.
        self._number = np.zeros(0, dtype=np.int32)
        #: The slots of the records of some customers, by number, until any record goes.
        self._gathered: dict[int, list[int]] = {}

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

    def gather(self, customers: Ints) -> None:
        """Look up the records of customers, which takes as long for many as for one."""
        numbers = distinct(self._customers.find(customers))
        lacking = [n for n in numbers.tolist() if n != ABSENT and n not in self._gathered]
        if not lacking or self._memory is None:
            return
        self._gathered.update((number, []) for number in lacking)
        slots = self._memory.live()
        is_asked = np.zeros(int(self._number[slots].max()) + 1, dtype=bool)
        is_asked[lacking] = True
        for slot in slots[is_asked[self._number[slots]]].tolist():
            self._gathered[self._number.item(slot)].append(slot)

    def has_room(self, customer: int, since: int, most: int) -> bool:
        """Whether a customer has fewer than so many signals since a time, in ms.

        That a record is too old counts from then on, whenever it goes.
        """
        number = self._customers.find_one(customer)
        if self._memory is None or number == ABSENT:
            return True
        if self._customers.fields["signals"].item(number) < most:
            return True
        if number not in self._gathered:
            self.gather(np.array([customer]))
        slots = self._gathered[number]
        return int(np.count_nonzero(self._memory.field("last")[slots] >= since)) < most

    def entered(self, slots: Slots, customers: Ints) -> None:
        """Note that records are new."""
        own, which, counts = np.unique(customers, return_inverse=True, return_counts=True)
        numbers = self._customers.find(own)
        new = numbers == ABSENT
        numbers[new] = self._customers.insert(own[new])
        self._customers.fields["signals"][numbers[new]] = 0
        self._customers.fields["signals"][numbers] += counts.astype(np.int32)
        if slots.size and int(slots.max()) >= self._number.size:
            self._number = grown(self._number, (int(slots.max()) + 1) * 5 // 4)
        self._number[slots] = numbers[which]
        if self._gathered:
            for slot, number in zip(slots.tolist(), numbers[which].tolist(), strict=True):
                if number in self._gathered:
                    self._gathered[number].append(slot)

    def left(self, slots: Slots) -> None:
        """Note that records go; before ``recovered`` nobody was numbered."""
        if not len(self._customers):
            return
        self._gathered.clear()
        numbers, counts = with_counts(self._number[slots])
        self._customers.fields["signals"][numbers] -= counts.astype(np.int32)
        self._customers.remove(numbers[self._customers.fields["signals"][numbers] == 0])

    def recovered(self) -> None:
        """The memory was loaded: number the customers anew."""
        if self._memory is not None:
            self._customers = KeyTable({"signals": np.int32})
            self._gathered.clear()
            slots = self._memory.live()
            self.entered(slots, self._memory.field("customer")[slots])

    def within(self, window: Window, at: int, segments: Ints) -> LatestSignals:
        """What was said in the window at time ``at``; ``segments`` has the segment of each row."""
        if self._memory is None:
            return LatestSignals(NO_INTS, NO_INTS, NO_INTS, NO_INTS)
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
            fixed_columns(memory.field("value")[slots]),
        )

    def _weights_of(self, signals: Ints) -> Ints:
        weights = np.full(signals.size, self._usual_weight)
        for name, weight in self._by_name.items():
            signal = self._digests.of(name)
            weights[signals == signal] = weight
        return weights
