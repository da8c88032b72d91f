"""What a worker logs of its own life."""

from __future__ import annotations

import logging

import pytest

from stream.kafka.readiness import Readiness, Standing
from stream.metrics.view import Timing

ONCE = Timing(1, 2.34, 2.34)
TWICE = Timing(2, 2.84, 0.5)
AWAY = "no Kafka broker answers at kafka:9092"


def at(shards: int, recovery: Timing = ONCE, outage: str = "", ready: bool = True) -> Standing:
    words = f"ready: {shards} of 4 shards" if ready else "recovering"
    return Standing(ready, words, outage, shards, recovery)


READY = "ready: 4 of 4 shards, recovered in 2.3 s"


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        pytest.param([at(0, ready=False)], [], id="not ready yet"),
        pytest.param([at(2, ready=False), at(4), at(4)], [READY], id="ready, once"),
        pytest.param([at(0, Timing())], ["ready: 0 of 4 shards"], id="standing by"),
        pytest.param(
            [at(4), at(0, ready=False), at(4)], [READY], id="a hiccup that changed nothing"
        ),
        pytest.param(
            [at(4), at(0, ready=False), at(2, TWICE)],
            [READY, "ready: 2 of 4 shards, recovered in 0.5 s"],
            id="a rebalance",
        ),
        pytest.param([at(4), at(2)], [READY, "ready: 2 of 4 shards"], id="kept what it had"),
        pytest.param(
            [at(4), at(4, outage=AWAY), at(0, outage=AWAY, ready=False), at(4)],
            [READY, "Kafka answers again; ready: 4 of 4 shards"],
            id="an outage",
        ),
        pytest.param(
            [at(4), at(4, outage=AWAY), at(0, ready=False), at(4, TWICE), at(4, TWICE)],
            [READY, "Kafka answers again; ready: 4 of 4 shards, recovered in 0.5 s"],
            id="an outage that needed a recovery",
        ),
        pytest.param(
            [at(0, Timing(), outage=AWAY, ready=False), at(4)], [READY], id="away at the start"
        ),
    ],
)
def test_each_change_that_an_operator_waits_for_is_told_once(
    looks: list[Standing], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stream")
    readiness = Readiness()
    for look in looks:
        readiness.note(look)
    assert [record.getMessage() for record in caplog.records] == said
