"""The numbers of a backtest's tables."""

from types import SimpleNamespace
from typing import Any

import pytest

from stream.backtest.judge import Verdict
from stream.backtest.tables import _verdict_cells


@pytest.mark.parametrize(
    ("per_week", "share", "shown"),
    [
        (1_600.0, 1.0, ["1,600", "100%"]),
        (144.2, 0.996, ["144", "100%"]),
        (0.5, 0.013, ["0.5", "1.3%"]),
    ],
)
def test_rates_and_shares_are_plain_numbers(
    per_week: float, share: float, shown: list[str]
) -> None:
    report: Any = SimpleNamespace(judged=False)
    verdict = Verdict((), per_week, (), (), None, frozenset(), share)
    _, rate, _, firing = _verdict_cells(report, verdict)
    assert [rate, firing] == shown
