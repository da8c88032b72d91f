"""What a shard goes by while it is behind."""

from __future__ import annotations

import pytest

from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.values import Values
from stream.kafka.shards import settled_until, time_of

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    ("complete_to", "seen", "until"),
    [
        pytest.param(NOW - 100, NOW - 50, NOW - 100, id="caught up: by the clock"),
        pytest.param(NOW - 100, NOW - DAY, NOW - 100, id="caught up, and carts are quiet"),
        pytest.param(0, NOW - 7 * DAY, NOW - 7 * DAY, id="a week behind: by the events"),
        pytest.param(0, NOW + 30 * SECOND, NOW, id="never beyond the clock"),
        pytest.param(NOW - MINUTE, NOW - DAY, NOW - MINUTE, id="a broker away: nothing is undone"),
        pytest.param(NOW - MINUTE, NOW - SECOND, NOW - SECOND, id="a little behind"),
    ],
)
def test_carts_are_abandoned_by_the_clock_or_while_behind_by_their_events(
    complete_to: int, seen: int, until: int
) -> None:
    assert settled_until(NOW, complete_to, seen) == until


def test_a_shard_s_time_stands_still_while_the_clock_is_set_back() -> None:
    settings = Settings()
    shard = Shard(settings, Values(settings))
    shard.fold(NOW)
    assert [time_of(shard, NOW + by) for by in (-HOUR, -1, 0, 1)] == [NOW, NOW, NOW, NOW + 1]
