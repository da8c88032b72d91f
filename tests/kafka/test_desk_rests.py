"""When a family's gauges are due, and that it lets go of alerts that nobody's rules look after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast
from unittest import mock

import pytest
from aiokafka.errors import KafkaConnectionError

from stream import desk
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change
from stream.core.merge import LEAD_MS, SILENCE_MS, Family
from stream.core.settings import SECOND, Rule, Settings
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.values import Values
from stream.kafka.topics import Names
from tests.kafka.test_desk import fired

NOW = 1_790_000_000_000
LOW = Rule("Low", "csat", "5m", below=0.5)


class Told:
    """A desk with two shards that tell their parts when the test says so."""

    def __init__(self) -> None:
        settings = Settings()
        self.desk = desk.Desk("cx.survey", settings, 2, KafkaConfig(), Names("", "g"))
        self._shards = [Shard(settings, Values(settings)) for _ in range(2)]
        self._telling = [Sharing(shard, n, "life") for n, shard in enumerate(self._shards)]

    def tell(self, now: int, *numbers: int, complete_to: int | None = None) -> None:
        for number in numbers:
            self._shards[number].fold(now)
            complete = now if complete_to is None else complete_to
            for key, value in self._telling[number].collect(now, complete)["cx.survey"]:
                self.desk.family.take(key, value, now)


def test_gauges_are_due_once_every_shard_has_told_more() -> None:
    told = Told()
    due: list[bool] = []
    for numbers in ((0, 1), (), (0,), (1,)):
        told.tell(NOW + len(due) * SECOND, *numbers)
        due.append(told.desk.is_due)
        told.desk.evaluate(NOW + len(due) * SECOND)
    assert due == [True, False, False, True]


def test_what_is_no_total_any_more_is_not_kept_for_one() -> None:
    told = Told()
    told.tell(NOW, 0, 1)
    told.desk.evaluate(NOW)
    assert told.desk.evaluation is not None
    told.tell(NOW + SILENCE_MS + SECOND, 0)
    told.desk.evaluate(NOW + SILENCE_MS + SECOND)
    assert told.desk.evaluation is None


def test_the_time_that_gauges_stand_for_never_goes_back() -> None:
    told = Told()
    told.tell(NOW, 0, 1, complete_to=NOW - 10 * SECOND)
    told.desk.evaluate(NOW)
    assert told.desk.evaluation is not None
    assert told.desk.evaluation.at == NOW
    # The shards have caught up, and say so of a time that is just over.
    told.tell(NOW + 100, 0, 1, complete_to=NOW - 300)
    told.desk.evaluate(NOW + 100)
    assert told.desk.evaluation.at == NOW


def test_a_shard_whose_lead_goes_to_and_fro_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watched = Told().desk
    leads = iter([LEAD_MS + 1, LEAD_MS - 1, LEAD_MS + 1, LEAD_MS // 2, LEAD_MS + 1])
    family = SimpleNamespace(lead=lambda _: next(leads), ahead=lambda _: "shard 0 is ahead")
    watched.family = cast("Family", family)
    said = []
    for _ in range(5):
        watched._note_lead(NOW)
        said.append(len(caplog.messages))
    assert said == [1, 1, 1, 1, 2]


# Alerts -----------------------------------------------------------------------------------------


class Alerts:
    """The alerts' states of a family, and who holds them."""

    def __init__(self, states: AlertStates) -> None:
        self.states = states
        self.holders = 0
        #: What asking for the states fails by, one after the other.
        self.errors: list[Exception] = []
        self.asked = 0

    def __call__(self, *_: object) -> Alerts:
        return self

    async def take_over(self) -> AlertStates:
        self.holders += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.states

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        self.states = states

    async def close(self) -> None:
        self.holders -= 1

    async def left(self, *_: object) -> AlertStates:
        self.asked += 1
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)
        return self.states


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> Alerts:
    """The alerts of a family, one of which fires."""
    found = Alerts(fired(LOW, NOW))
    monkeypatch.setattr(desk, "AlertLog", found)
    monkeypatch.setattr(desk, "states_left", found.left)
    return found


async def turns(watched: desk.Desk, count: int = 6) -> None:
    for turn in range(count):
        await watched.run_rules(NOW + SECOND + turn)
        await asyncio.sleep(0)


async def test_once_what_rules_have_left_is_ended_nobody_holds_it(alerts: Alerts) -> None:
    await turns(Told().desk)
    assert alerts.states.alerts == ()
    assert alerts.holders == 0
    assert alerts.asked == 1


async def test_a_family_that_was_away_is_looked_at_again(alerts: Alerts) -> None:
    """A worker of another configuration may have had rules for it meanwhile."""
    watched = Told().desk
    await turns(watched)
    alerts.states = fired(LOW, NOW)
    await turns(watched)
    assert alerts.asked == 1
    await watched.let_go_of_alerts()
    await turns(watched)
    assert alerts.asked == 2
    assert alerts.states.alerts == ()


async def test_a_look_that_was_cut_short_is_begun_anew(alerts: Alerts) -> None:
    watched = Told().desk
    await watched.run_rules(NOW + SECOND)
    await watched.let_go_of_alerts()
    await turns(watched)
    assert alerts.states.alerts == ()


async def test_a_mistake_in_looking_for_what_is_left_is_not_hidden(alerts: Alerts) -> None:
    alerts.errors = [KeyError("a mistake")]
    with pytest.raises(KeyError, match="a mistake"):
        await turns(Told().desk)


async def test_a_take_over_that_can_not_be_made_now_is_not_tried_again_at_once(
    alerts: Alerts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    paused = mock.AsyncMock()
    monkeypatch.setattr(asyncio, "sleep", paused)
    alerts.errors = [KafkaConnectionError("gone")]
    watched = desk.Desk("cx.survey", Settings(rules=(LOW,)), 1, KafkaConfig(), Names("", "g"))
    await watched.run_rules(NOW)
    paused.assert_awaited_once_with(desk._RETRY_SECONDS)
    assert len(caplog.messages) == 1
    assert alerts.holders == 0
