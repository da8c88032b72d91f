"""When a family's rules are evaluated, and when their changes are written, without a broker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from stream import desk
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change
from stream.core.settings import Rule, Settings
from stream.core.shard import Shard
from stream.core.sharing import Sharing
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


async def test_a_change_whose_write_fails_is_written_at_the_next_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 0
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    rule = Rule("Low", "nps", "5m", below=50, min_samples=10)
    settings = Settings(rules=(rule,), evaluate_ms=200)
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    start = time.time_ns() // 10**6
    shard.ingest("cx.survey", [v for _, _, v in answers(0, 50)], start)
    for now in range(start, start + 1000, 100):
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.survey"]:
            watched.family.take(key, value)
        await watched.run_rules(now)
    assert FailsOnce.tries >= 2
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "firing")]


async def test_no_rule_is_evaluated_before_all_shards_have_told_all_up_to_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    rule = Rule("Low", "nps", "5m", below=50, min_samples=10)
    settings = Settings(rules=(rule,), evaluate_ms=1000)
    shards = [Shard(settings, Values(settings)) for _ in range(2)]
    told = [Sharing(shard, number, "life") for number, shard in enumerate(shards)]
    watched = desk.Desk("cx.survey", settings, 2, KafkaConfig(), Names("", "g"))
    start = time.time_ns() // 10**6 // 1000 * 1000
    shards[0].ingest("cx.survey", [v for _, _, v in answers(0, 50)], start)

    async def tell(now: int, *complete_to: int) -> None:
        for shard, telling, complete in zip(shards, told, complete_to, strict=False):
            shard.fold(now)
            for key, value in telling.collect(now, complete)["cx.survey"]:
                watched.family.take(key, value)
        await watched.run_rules(now)

    await tell(start, start)
    assert not FailsOnce.changes, "the second shard has told nothing"
    await tell(start + 1000, start + 1000, start - 1)
    assert not FailsOnce.changes, "the second shard is behind"
    await tell(start + 7500, start + 7500, start + 1500)
    assert watched.skipped == 3, "what can't be evaluated within 5 s is left out"
    assert not FailsOnce.changes
    await tell(start + 8000, start + 8000, start + 8000)
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "firing")]
