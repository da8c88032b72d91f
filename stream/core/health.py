"""Customers' health scores, summed by series.

A health score is no sum of counters, but each customer's signals lie in one shard. So a shard works
the scores out for its customers, and these sums add up over shards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from stream.core.cells import add_at
from stream.core.formulas import roomy
from stream.core.groups import Key, Rollup
from stream.core.integers import Ints
from stream.core.kpi import Whole
from stream.core.settings import Window
from stream.core.signals import LatestSignals, Scores, SignalTable


class HealthSums(NamedTuple):
    """Parallel arrays: a series, the sum of its scores in fixed point, customers, those at risk."""

    series: Ints
    scores: Ints
    customers: Ints
    at_risk: Ints


class Health(Protocol):
    """What is known of the health of some customers."""

    def sums(
        self, window: Window, at: int, rollup: Rollup, find: Callable[[Key], int], series: Ints
    ) -> HealthSums:
        """The sums for a rollup in a window at time ``at``.

        ``find`` gives the number of a series; ``series`` has the one of each row, or −1.
        """


class LocalHealth:
    """Health of the customers of a shard, from their latest signals."""

    def __init__(self, signals: SignalTable) -> None:
        self._signals = signals
        self._within: tuple[str, int, LatestSignals] | None = None

    def sums(
        self, window: Window, at: int, rollup: Rollup, find: Callable[[Key], int], series: Ints
    ) -> HealthSums:
        """The sums for a rollup in a window at time ``at``."""
        if self._within is None or self._within[:2] != (window.label, at):
            rows = np.arange(series.size, dtype=np.int64)
            self._within = (window.label, at, self._signals.within(window, at, rows))
        return summed_scores(self._within[2].scores(series))


def summed_scores(found: Scores) -> HealthSums:
    """Sums of customers' scores by series.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    customers = np.bincount(found.series)
    totals = np.zeros(customers.size, dtype=np.int64)
    add_at(totals, found.series, found.scores)
    risks = np.bincount(found.series[found.at_risk], minlength=customers.size)
    series = np.flatnonzero(customers)
    return HealthSums(series, totals[series], customers[series], risks[series])


def health_columns(parts: list[HealthSums], n: int) -> dict[str, Whole]:
    """Sum of scores, customers, and customers at risk, for each of ``n`` series.

    Raises:
        CounterOverflow: a sum is beyond ±2⁶².
    """
    total, customers, at_risk = sums = [np.zeros(n, dtype=np.int64) for _ in range(3)]
    if parts:
        # All parts at once, since it is their sum that may be too large.
        series, *columns = map(np.concatenate, zip(*parts, strict=True))
        for column, values in zip(sums, columns, strict=True):
            add_at(column, series, values)
    named = {"health_sum": total, "customers": customers, "customers_at_risk": at_risk}
    return {name: roomy(column) for name, column in named.items()}
