"""Quantiles from logarithmic buckets."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.quantiles import BUCKETS, MIDDLES, QUANTILES, bucket, quantiles

HUNDRED_YEARS_MS = 100 * 366 * 86_400_000


def sketches(of: list[list[int]], q: float) -> dict[int, float]:
    """The quantile of each list, by its number."""
    cells = [
        (series, found, n)
        for series, values in enumerate(of)
        for found, n in sorted(Counter(bucket(v) for v in values).items())
    ]
    names, buckets, counts = np.array(cells, dtype=np.int64).reshape(-1, 3).T
    series, found = quantiles(names, buckets, counts, q)
    return dict(zip(series.tolist(), found.tolist(), strict=True))


def sketch(values: list[int], q: float) -> float | None:
    """The quantile of a list that stands between others."""
    return sketches([[5, 9], values, [1]], q).get(1)


@given(st.integers(1, HUNDRED_YEARS_MS))
def test_a_buckets_middle_is_within_one_percent_of_what_falls_into_it(value: int) -> None:
    assert math.isclose(MIDDLES[bucket(value)], value, rel_tol=0.01)


def test_zero_is_exactly_zero_and_one_exactly_one() -> None:
    assert sketch([0, 0], 0.5) == 0
    assert sketch([1], 0.99) == 1


def test_what_is_beyond_the_last_bucket_shares_it() -> None:
    assert bucket(10**30) == BUCKETS - 1


def test_nothing_has_no_quantile() -> None:
    assert sketch([], 0.5) is None
    assert sketches([], 0.5) == {}


@given(
    st.lists(st.integers(0, HUNDRED_YEARS_MS) | st.integers(0, 20), min_size=1),
    st.sampled_from(QUANTILES),
)
def test_a_quantile_is_near_one_of_the_two_values_around_its_rank(
    values: list[int], q: float
) -> None:
    values.sort()
    rank = q * (len(values) - 1)
    found = sketch(values, q)
    assert found is not None
    around = {values[math.floor(rank)], values[math.ceil(rank)]}
    assert any(math.isclose(found, v, rel_tol=0.01) for v in around)


@pytest.mark.parametrize(("q", "value"), [(0.5, 3), (0.9, 5), (0.99, 5)])
def test_ranks_count_from_zero_to_n_less_one(q: float, value: int) -> None:
    found = sketch([1, 2, 3, 4, 5, 5], q)
    assert found is not None
    assert found == pytest.approx(value, rel=0.01)
