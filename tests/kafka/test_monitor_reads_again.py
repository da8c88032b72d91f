"""What a family waits for after its parts could not be read: for more of each of its shards."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from stream import monitor
from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES
from stream.core.settings import SECOND, Rule, Settings
from stream.core.shard import Shard
from stream.core.sharing import ShareRecord, Sharing
from stream.core.values import Values
from stream.desk import Desk
from stream.kafka.shards import time_of
from stream.kafka.shares import SharesUnread
from stream.kafka.topics import Names
from stream.monitor import Monitor
from tests.kafka.test_monitor import Clock, Following

LOST = SharesUnread("it has lost records")
#: What comes of some families, by their numbers.
News = dict[int, list[ShareRecord]]


class Telling(Following):
    """The parts of families, as the test says what comes, or that nothing can be read.

    One is at the end with the last of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.news: list[News | SharesUnread] = []

    async def read(self) -> News:
        await asyncio.sleep(0)
        news = self.news.pop(0) if self.news else {}
        if isinstance(news, SharesUnread):
            raise news
        self.is_at_end = self.is_at_end or not self.news
        return news

    async def close(self) -> None:
        self.families = frozenset()


class Site:
    """Two shards, and a worker that owns families.

    The clock of the second shard's worker is ahead of its clock by ``lead`` ms, or behind.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lead: int = 0) -> None:
        monkeypatch.setattr(monitor, "_RETRY_SECONDS", 0.0)
        monkeypatch.setattr(monitor, "REST", 0.0)
        self._rules = mock.AsyncMock(return_value=True)
        monkeypatch.setattr(Desk, "_run_rules_at", self._rules)
        monkeypatch.setattr(Desk, "_taken_over", mock.AsyncMock())
        self.clock = Clock(monkeypatch)
        self._leads = (0, lead)
        rule = Rule("Low", "csat", "5m", below=0.5)
        settings = replace(Settings(), rules=(rule,), evaluate_ms=SECOND)
        self._shards = [Shard(settings, Values(settings)) for _ in self._leads]
        self._telling = [Sharing(s, number, "life") for number, s in enumerate(self._shards)]
        owner: Any = SimpleNamespace(is_assigned=True, total=2, shards={})
        reader: Any = Telling()
        self.monitor = Monitor(settings, KafkaConfig(), Names("", "g"), owner)
        self.monitor._reader = reader
        self._owner, self._reader = owner, reader
        self.own(0)

    def own(self, *families: int) -> None:
        """The group gives these families to the worker."""
        self._owner.families, self._owner.assigned_at = frozenset(families), time.monotonic()

    def tell(self, *numbers: int) -> News:
        """What shards tell of the first two families."""
        news: News = {0: [], 1: []}
        for number in numbers:
            shard, now = self._shards[number], self.clock.now + self._leads[number]
            at = time_of(shard, now)
            shard.fold(at)
            told = self._telling[number].collect(at, now)
            for family, records in news.items():
                records += told[FAMILIES[family]]
        return news

    async def shown(self, *news: News | SharesUnread) -> list[str]:
        """The families that are shown when so much has come of those that the worker owns."""
        owned = self._owner.families
        for some in news:
            if not isinstance(some, SharesUnread):
                some = {number: told for number, told in some.items() if number in owned}
            self._reader.news.append(some)
        following = asyncio.create_task(self.monitor.run_gauges())
        for _ in range(20):
            await asyncio.sleep(0)
        following.cancel()
        assert not self._reader.news
        return [desk.topic for desk in self.monitor._shown()]

    async def evaluates_rules(self) -> bool:
        self._rules.reset_mock()
        await self.monitor._take_turn(0, self.monitor._desks[0])
        return bool(self._rules.await_count)


SURVEYS = [FAMILIES[0]]


@pytest.mark.parametrize("lead", [0, -15 * SECOND, 5 * SECOND], ids=["right", "behind", "ahead"])
async def test_after_the_parts_could_not_be_read_nothing_is_shown_until_each_shard_has_told_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lead: int
) -> None:
    """What is left of a log that has lost its latest records was true once.

    What is more than that is told by the order of the log, wherever the clocks of workers are.
    """
    site = Site(monkeypatch, lead)
    whole = site.tell(0, 1)
    assert await site.shown(whole) == SURVEYS
    former = site.monitor._desks[0]
    site.clock.now += 2 * SECOND
    assert await site.shown(LOST, whole) == []
    assert site.monitor._desks[0] is not former
    assert former in site.monitor._retired
    for told, shown in (((), []), ((0,), []), ((0,), []), ((1,), SURVEYS)):
        site.clock.now += SECOND // 4
        assert await site.shown(site.tell(*told)) == shown
    (said,) = (r.getMessage() for r in caplog.records if r.name == monitor.__name__)
    assert said == "the parts of KPIs can't be read now: it has lost records"


async def test_no_rule_is_evaluated_before_each_shard_has_told_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch)
    whole = site.tell(0, 1)
    await site.shown(whole)
    assert await site.evaluates_rules()
    for news, evaluates in (((LOST, whole), False), ((site.tell(0),), False), ((), False)):
        await site.shown(*news)
        assert await site.evaluates_rules() is evaluates
    site.clock.now += SECOND
    await site.shown(site.tell(0, 1))
    assert await site.evaluates_rules()


async def test_what_is_read_up_to_the_end_of_the_log_was_left_in_it_in_however_many_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch)
    left = [site.tell(0, 1) for _ in range(3)]
    assert await site.shown(LOST, *left) == []
    assert await site.shown(LOST, LOST, *left) == []
    assert await site.shown(site.tell(0, 1)) == SURVEYS


async def test_a_family_that_comes_before_each_shard_has_told_more_waits_for_that_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who had it before may have shown more than what is left."""
    site = Site(monkeypatch)
    whole = site.tell(0, 1)
    assert await site.shown(LOST, whole) == []
    site.own(0, 1)
    assert await site.shown({0: [], 1: whole[1]}) == []
    assert await site.shown(site.tell(0)) == []
    assert await site.shown(site.tell(1)) == [*FAMILIES[:2]]


async def test_a_family_that_comes_after_each_shard_has_told_more_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shard tells of all families at once."""
    site = Site(monkeypatch)
    whole = site.tell(0, 1)
    assert await site.shown(LOST, whole) == []
    assert await site.shown(site.tell(0, 1)) == SURVEYS
    site.own(0, 1)
    assert await site.shown({0: [], 1: whole[1]}) == [*FAMILIES[:2]]
