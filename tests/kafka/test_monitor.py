"""When a worker evaluates its families."""

from __future__ import annotations

import pytest

from stream.monitor import GAUGES_SECONDS, REST, is_time


@pytest.mark.parametrize(
    ("since", "lasted", "is_due", "evaluates"),
    [
        pytest.param(10.0, None, False, True, id="first of all"),
        pytest.param(0.1, 0.02, True, True, id="all shards have told more"),
        pytest.param(0.5, 0.02, False, False, id="a shard has told nothing new"),
        pytest.param(GAUGES_SECONDS, 0.02, False, True, id="time moves on without news"),
        pytest.param(REST - 0.1, 1.0, True, False, id="other work comes first"),
        pytest.param(REST, 1.0, True, True, id="other work had its time"),
    ],
)
def test_an_evaluation_comes_with_news_or_time_but_leaves_room_for_other_work(
    since: float, lasted: float | None, is_due: bool, evaluates: bool
) -> None:
    assert is_time(since, lasted, is_due) is evaluates
