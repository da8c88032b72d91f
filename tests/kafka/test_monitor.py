"""What the monitor does when the alerts' state can't be written, without a broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from stream import monitor
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change
from stream.core.settings import Rule, Settings
from stream.core.shard import Shard
from stream.core.values import Values
from stream.kafka.log import FlushFailed
from stream.kafka.topics import Names
from tests.kafka.test_outages import answers


class FailsOnce:
    """A log of alerts, shared by all who take it over, whose first write fails."""

    states: ClassVar[AlertStates]
    changes: ClassVar[list[Change]]
    tries: ClassVar[int]

    def __init__(self, *_: object) -> None: ...

    async def take_over(self) -> AlertStates:
        return FailsOnce.states

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        FailsOnce.tries += 1
        if FailsOnce.tries == 1:
            raise FlushFailed("the broker is gone")
        FailsOnce.states = states
        FailsOnce.changes += changes

    async def close(self) -> None: ...


@pytest.fixture
def owner() -> Any:
    """All shards of a worker: one, with answers whose NPS is low."""
    rule = Rule("Low", "nps", "5m", below=50, min_samples=10)
    settings = Settings(rules=(rule,), evaluate_ms=200)
    shard = Shard(settings, Values(settings))
    shard.ingest("cx.survey", [v for _, _, v in answers(0, 50)], time.time_ns() // 10**6)
    owned = SimpleNamespace(shard=shard, complete_to=lambda _: 1 << 60)
    return SimpleNamespace(shards={0: owned}, complete=True, thread=None, settings=settings)


async def test_a_change_whose_write_fails_is_written_at_the_next_evaluation(
    owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 0
    monkeypatch.setattr(monitor, "AlertLog", FailsOnce)
    watched = monitor.Monitor(owner.settings, KafkaConfig(), Names("", "g"), owner)
    rules = asyncio.ensure_future(watched.run_rules())
    async with asyncio.timeout(20):
        while not FailsOnce.changes:  # noqa: ASYNC110 - a fake sets no event.
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    rules.cancel()
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "firing")]
