"""Quantiles from logarithmic bucket counters, which merge and can be taken back.

With γ = 1.01/0.99 every bucket's middle is within 1% of all that falls into it. Source: C. Masson,
J. E. Rim and H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", PVLDB 12 (2019).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(GAMMA)
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


#: The value that stands for each bucket: zero, or the middle in relative terms.
MIDDLES: NDArray[np.float64] = np.array(
    [0.0] + [2 * GAMMA**k / (GAMMA + 1) for k in range(BUCKETS - 1)]
)
# One is the least whole number above zero and has its bucket to itself.
MIDDLES[1] = 1.0


def quantile(buckets: NDArray[np.int64], counts: NDArray[np.int64], q: float) -> float | None:
    """The value of rank q·(n−1), to within 1%; None where nothing was counted.

    ``buckets`` are ascending; ``counts`` their counters.
    """
    cumulative = np.cumsum(counts)
    if not cumulative.size or cumulative[-1] <= 0:
        return None
    # A rank between two values may be answered by either; the lower one needs no float comparison.
    rank = math.floor(q * (int(cumulative[-1]) - 1))
    position = int(np.searchsorted(cumulative, rank, side="right"))
    return float(MIDDLES[int(buckets[position])])
