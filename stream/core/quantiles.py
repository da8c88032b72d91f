"""Quantiles from logarithmic bucket counters, which merge and can be taken back.

With γ = 1.01/0.99 every bucket's middle is within 1% of all that falls into it. Source: C. Masson,
J. E. Rim and H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", PVLDB 12 (2019).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream.core.integers import Ints, starts_of_runs
from stream.core.kpi import Column

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(GAMMA)
_NEAR_AN_EDGE = 1e-9
#: The largest value with a bucket of its own: ten thousand years in ms; what is above shares it.
LARGEST = 10_000 * 366 * 86_400_000
#: Bucket 0 is exactly zero, bucket k+1 holds (γ^(k−1), γ^k].
BUCKETS = math.ceil(math.log(LARGEST) / _LOG_GAMMA) + 2
QUANTILES = (0.5, 0.9, 0.99)


def bucket(value: int) -> int:
    """The bucket of a whole number ≥ 0."""
    if value <= 0:
        return 0
    return min(math.ceil(math.log(value) / _LOG_GAMMA), BUCKETS - 2) + 1


def buckets(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """``bucket`` of many."""
    places = np.log(np.maximum(values, 1)) / _LOG_GAMMA
    found = np.where(values <= 0, 0, np.minimum(np.ceil(places), BUCKETS - 2).astype(np.int64) + 1)
    # Logarithms of arrays may differ in the last digit, which matters next to an edge.
    for i in np.flatnonzero(np.abs(places - np.rint(places)) < _NEAR_AN_EDGE).tolist():
        found[i] = bucket(int(values[i]))
    return found


#: The value that stands for each bucket: zero, or the middle in relative terms.
MIDDLES: NDArray[np.float64] = np.array(
    [0.0] + [2 * GAMMA**k / (GAMMA + 1) for k in range(BUCKETS - 1)]
)
# One is the least whole number above zero and has its bucket to itself.
MIDDLES[1] = 1.0


def quantiles(series: Ints, buckets: Ints, counts: Ints, q: float) -> tuple[Ints, Column]:
    """The value of rank q·(n−1) of each series, to within 1%; series without counts are left out.

    The arguments are parallel, sorted by series and bucket; counters are above zero. Returns the
    series and their values.
    """
    if not series.size:
        return series, np.empty(0)
    starts = np.flatnonzero(starts_of_runs(series))
    cumulative = np.cumsum(counts)
    before = np.concatenate(([0], cumulative))[starts]
    totals = np.concatenate((before[1:], cumulative[-1:])) - before
    # A rank between two values may be answered by either; the lower one needs no float comparison.
    ranks = np.floor(q * (totals - 1)).astype(np.int64)
    places = np.searchsorted(cumulative, before + ranks, side="right")
    return series[starts], MIDDLES[buckets[places]]
