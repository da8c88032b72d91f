"""Confidence bounds, against worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.bounds import adjusted_wald, wilson


@pytest.mark.parametrize(
    ("numerator", "denominator", "lower", "upper"),
    [
        (111, 146, 0.685, 0.822),
        (78, 122, 0.551, 0.719),
        (3296, 4894, 0.660, 0.686),
        (1, 1, 0.207, 1.0),
        (0, 1, 0.0, 0.793),
        (0.5, 1, 0.0546, 0.9454),
    ],
)
def test_wilson_is_as_worked(
    numerator: float, denominator: float, lower: float, upper: float
) -> None:
    low, high = wilson(np.array([numerator]), np.array([float(denominator)]))
    assert low[0] == pytest.approx(lower, abs=6e-4)
    assert high[0] == pytest.approx(upper, abs=6e-4)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 0), (2, 1), (-1, 5), (0, -3), (-2, -2)])
def test_what_is_no_share_has_no_wilson_bounds(numerator: int, denominator: int) -> None:
    low, high = wilson(np.array([float(numerator)]), np.array([float(denominator)]))
    assert np.isnan(low[0])
    assert np.isnan(high[0])


@pytest.mark.parametrize("n", [1, 3, 7, 1000, 10**9])
def test_wilson_ends_exactly_at_zero_and_one(n: int) -> None:
    low, high = wilson(np.array([0.0, n]), np.array([float(n), n]))
    assert (low[0], high[1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("promoters", "detractors", "answers", "lower", "upper"),
    [(50, 20, 100, 14.1, 44.2), (3, 0, 3, -6.6, 100.0), (0, 3, 3, -100.0, 6.6)],
)
def test_the_bounds_of_a_promoter_score_are_as_worked(
    promoters: int, detractors: int, answers: int, lower: float, upper: float
) -> None:
    columns = (np.array([float(x)]) for x in (promoters, detractors, answers))
    low, high = adjusted_wald(*columns)
    assert low[0] == pytest.approx(lower, abs=0.06)
    assert high[0] == pytest.approx(upper, abs=0.06)


def test_no_answers_have_no_bounds() -> None:
    low, high = adjusted_wald(*(np.array([0.0]) for _ in range(3)))
    assert np.isnan(low[0])
    assert np.isnan(high[0])
