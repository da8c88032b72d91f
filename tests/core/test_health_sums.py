"""Sums of health scores that no number could hold."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.cells import SUM_LIMIT, CounterOverflow
from stream.core.formulas import FIXED
from stream.core.health import HealthSums, health_columns, summed_scores

HALF = SUM_LIMIT // 2
#: Here one customer has it; it is what 23 million have together who score 100 each.
SCORE = HALF / FIXED


def parts(*sums: int) -> list[HealthSums]:
    """What shards say of two series."""
    one, none = np.array([1]), np.array([0])
    return [HealthSums(one, np.array([s]), one, none) for s in sums]


def test_a_sum_of_scores_is_exact_as_long_as_it_is_within_the_range() -> None:
    found = health_columns(parts(HALF, HALF - 2**20), 2)
    assert found["health_sum"].tolist() == [0, SUM_LIMIT - 2**20]
    assert found["customers"].tolist() == [0, 2]


@pytest.mark.parametrize(
    "sums", [(HALF, HALF), (HALF,) * 4, (HALF,) * 8, (SUM_LIMIT - 1, SUM_LIMIT - 1)]
)
def test_shards_whose_sums_of_scores_are_too_large_together_are_refused(
    sums: tuple[int, ...],
) -> None:
    """Four halves would be a sum below zero, eight of them none at all."""
    with pytest.raises(CounterOverflow):
        health_columns(parts(*sums), 2)


def test_customers_of_a_shard_whose_sum_of_scores_is_too_large_are_refused() -> None:
    series = np.zeros(2, dtype=np.int64)
    assert summed_scores(series, np.array([SCORE, SCORE / 2])).scores > HALF
    with pytest.raises(CounterOverflow):
        summed_scores(series, np.array([SCORE, SCORE]))


def test_where_nobody_has_a_score_there_is_no_sum() -> None:
    found = summed_scores(np.zeros(0, dtype=np.int64), np.zeros(0))
    assert [column.size for column in found] == [0, 0, 0, 0]
    assert health_columns([], 1)["health_sum"].tolist() == [0]
