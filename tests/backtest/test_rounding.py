"""Steps are round numbers, and the smallest that will do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.backtest.rounding import round_step


@pytest.mark.parametrize(
    ("least", "step"),
    [
        (1, 1),
        (1.01, 2),
        (2.1, 2.5),
        (2.6, 5),
        (5.1, 10),
        (0.0301, 0.05),
        (12_000, 20_000),
        (0.1 + 0.1 + 0.1 - 0.1, 0.2),
    ],
)
def test_a_step_is_the_next_round_number(least: float, step: float) -> None:
    assert round_step(least) == pytest.approx(step, rel=1e-12)


@given(st.floats(1e-9, 1e12))
def test_a_step_is_not_below_what_is_asked_for_nor_twice_as_much(least: float) -> None:
    assert least * (1 - 1e-9) <= round_step(least) <= 2 * least
