"""State that an earlier version wrote is read to the same numbers, or refused with the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from stream.core.shard import Shard
from stream.core.state import FORMAT, READABLE, REMEDY, StateRefused
from tests.core.recorded_state import Log, read, recorded, recovered, told

#: Results of formulas, which may be rounded in another order than they were; counts may not.
_RESULTS = {"value", "lower", "upper"}


def rounded(found: Any, *, is_result: bool = False) -> Any:
    """Results to twelve digits, and counts as they are."""
    if isinstance(found, float) and is_result:
        return float(f"{found:.12g}")
    if isinstance(found, dict):
        return {k: rounded(value, is_result=k in _RESULTS) for k, value in found.items()}
    return [rounded(one) for one in found] if isinstance(found, list) else found


def shard_or_refusal(log: Log) -> tuple[Shard | None, str]:
    try:
        return recovered(log), ""
    except StateRefused as error:
        return None, str(error)


@pytest.mark.parametrize("number", list(recorded()))
def test_a_recorded_state_is_read_to_the_last_number_or_refused_with_the_remedy(
    number: int,
) -> None:
    log, corrections, wanted = read(number)
    shard, refusal = shard_or_refusal(log)
    if number not in READABLE:
        assert REMEDY in refusal
    else:
        assert shard is not None, refusal
        assert rounded(told(shard, corrections)) == rounded(wanted)


def test_a_state_of_the_present_format_is_recorded() -> None:
    """Where this fails the format is new: ``python -m tests.core.recorded_state`` records it."""
    log, _, wanted = read(FORMAT)
    kinds = {key.split(b"/")[0] for key in log}
    assert kinds == {b"header", b"delta", b"block"}
    assert wanted["totals"] != wanted["corrected"]
    kpis = {row["kpi"] for row in wanted["totals"]}
    assert {"nps", "art", "art_quantile", "cart_abandonment", "churn", "upsell", "health"} <= kpis
