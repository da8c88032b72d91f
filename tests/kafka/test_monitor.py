"""When a worker evaluates its families, and how it shows them together."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from stream import monitor
from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES
from stream.core.memory import Memory
from stream.core.series import Evaluation, Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.timestamps import format_ms, parse
from stream.core.values import Values
from stream.desk import Desk
from stream.kafka.owner import ShardOwner
from stream.kafka.shards import OwnedShard, time_of
from stream.kafka.topics import Names
from stream.monitor import GAUGES_SECONDS, REST, Joined, Monitor, from_zero, is_time
from tests.kafka.clients import topic_map
from tests.safety.shards import event
from tests.strategies import NOW


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


def of(kpi: str, value: float) -> tuple[Sample, ...]:
    return (Sample(kpi, "1h", (), value), Sample(f"{kpi}_quantile", "1h", (), value))


def test_families_are_joined_anew_only_where_one_of_them_has_other_samples() -> None:
    joined = Joined()
    art, nps, other = of("art", 1.0), of("nps", 2.0), of("nps", 3.0)
    first = joined.of([Evaluation(1000, art), Evaluation(1000, nps)])
    assert first == Evaluation(1000, (*art, *nps))
    assert joined.times == {"art": 1000, "nps": 1000}
    later = joined.of([Evaluation(2000, art), Evaluation(3000, nps)])
    assert later == Evaluation(3000, (*art, *nps))
    assert first is not None
    assert later.samples is first.samples
    assert joined.times == {"art": 2000, "nps": 3000}
    assert joined.of([Evaluation(4000, art), Evaluation(4000, other)]) == Evaluation(
        4000, (*art, *other)
    )
    assert joined.of([Evaluation(5000, other)]) == Evaluation(5000, other)
    assert joined.times == {"nps": 5000}


def test_where_no_family_is_shown_there_is_nothing_to_join() -> None:
    joined = Joined()
    joined.of([Evaluation(1, of("nps", 1.0))])
    assert joined.of([]) is None
    assert joined.times == {}


def test_what_is_counted_by_topic_starts_at_zero() -> None:
    assert from_zero({}) == dict.fromkeys(FAMILIES, 0)
    assert from_zero({"cx.cart": 2}) == dict.fromkeys(FAMILIES, 0) | {"cx.cart": 2}


def test_a_worker_shows_what_it_lost_itself_not_the_history_of_its_shards() -> None:
    settings = Settings()
    owner = ShardOwner(settings, KafkaConfig(), topic_map())
    shard = Shard(settings, Values(settings))
    shard.progress.gaps["cx.visit"] = 500
    for store in shard.stores():
        if isinstance(store, Memory):
            store.forgotten = 20
    owner.shards[0] = cast("OwnedShard", SimpleNamespace(shard=shard, partitions=dict))
    watching = Monitor(settings, KafkaConfig(), Names("", "g"), owner)
    assert watching.view().gaps == dict.fromkeys(FAMILIES, 0)
    assert watching.view().forgotten == dict.fromkeys(shard.forgotten(), 0)
    owner.counts.gaps["cx.cart"] = 3
    owner.counts.forgotten["carts"] = 4
    for _ in range(2):
        assert watching.view().gaps == dict.fromkeys(FAMILIES, 0) | {"cx.cart": 3}
        assert watching.view().forgotten["carts"] == 4
        owner.shards.clear()  # They go to others, and the counts stay.


def test_a_worker_shows_the_segments_that_are_left_not_the_most_there_ever_were() -> None:
    """Its alert compares them with the limit, which is one on those that are left."""
    settings = replace(Settings(), dimensions=("channel",))
    owner = ShardOwner(settings, KafkaConfig(), topic_map())
    shard = Shard(settings, Values(settings))
    owner.shards[0] = cast("OwnedShard", SimpleNamespace(shard=shard, partitions=dict))
    watching = Monitor(settings, KafkaConfig(), Names("", "g"), owner)
    for shown, at in ((9, NOW), (1, NOW + 30 * DAY)):
        visits = [
            event("visit.ended", format_ms(at), visit_id="v", labels={"channel": str(n)})
            for n in range(shown)
        ]
        shard.ingest("cx.visit", visits, at)
        shard.settle(at)
        assert watching.view().segments == shown


def test_a_worker_shows_the_segments_of_its_fullest_shard_too() -> None:
    owner = ShardOwner(Settings(), KafkaConfig(), topic_map())
    watching = Monitor(Settings(), KafkaConfig(), Names("", "g"), owner)
    assert (watching.view().segments, watching.view().most_segments) == (0, 0)
    for number, segments in enumerate((3, 7, 5)):
        shard = Shard(replace(Settings(), dimensions=("channel",)), Values(Settings()))
        visits = [
            event("visit.ended", format_ms(NOW), visit_id="v", labels={"channel": str(n)})
            for n in range(segments)
        ]
        shard.ingest("cx.visit", visits, NOW)
        shard.settle(NOW)
        owner.shards[number] = cast("OwnedShard", SimpleNamespace(shard=shard, partitions=dict))
    assert (watching.view().segments, watching.view().most_segments) == (15, 7)


class Following:
    """The parts of families, at whose end one is when the test says so."""

    def __init__(self) -> None:
        self.families: frozenset[int] = frozenset()
        self.is_at_end = True

    async def follow(self, families: frozenset[int]) -> None:
        self.families, self.is_at_end = frozenset(families), False

    def is_caught_up(self, family: int) -> bool:
        return self.is_at_end


async def test_after_a_rebalance_nothing_is_shown_until_what_was_told_meanwhile_is_read() -> None:
    settings = Settings()
    owner: Any = SimpleNamespace(
        is_assigned=True, assigned_at=time.monotonic(), families=frozenset({0}), total=1
    )
    watching = Monitor(settings, KafkaConfig(), Names("", "g"), owner)
    reader: Any = Following()
    watching._reader = reader
    told = Sharing(Shard(settings, Values(settings)), 0, "life")

    async def shown(*, at_end: bool) -> list[str]:
        await watching._follow()
        reader.is_at_end = at_end
        now = time.time_ns() // 10**6
        watching._take(0, told.collect(now, now)[FAMILIES[0]], now)
        watching._evaluated_at = 0.0
        watching._evaluate_gauges()
        return [desk.topic for desk in watching._shown()]

    assert await shown(at_end=False) == []
    assert await shown(at_end=True) == [FAMILIES[0]]
    owner.assigned_at = time.monotonic()
    assert list(watching._shown()) == [], "another may have shown more in between"
    assert await shown(at_end=False) == []
    assert await shown(at_end=True) == [FAMILIES[0]]


def test_a_process_that_was_stopped_in_an_evaluation_does_not_rest_for_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner: Any = SimpleNamespace()
    looked = Monitor(Settings(), KafkaConfig(), Names("", "g"), owner)
    reader: Any = Following()
    looked._reader = reader
    now = [100.0]

    def evaluate(_: int) -> None:
        now[0] += 20.0

    family = SimpleNamespace(beats=list)
    desk: Any = SimpleNamespace(is_due=True, evaluate=evaluate, family=family)
    looked._desks = {0: desk}
    clock = SimpleNamespace(
        monotonic=lambda: now[0], thread_time=lambda: now[0] / 1000, time_ns=time.time_ns
    )
    monkeypatch.setattr(monitor, "time", clock)
    looked._evaluate_gauges()
    assert looked._evaluated.last == pytest.approx(10 * 20.0 / 1000)


async def test_alerts_of_all_families_are_let_go_of_side_by_side() -> None:
    owner = ShardOwner(Settings(), KafkaConfig(), topic_map())
    letting_go = Monitor(Settings(), KafkaConfig(), Names("", "group"), owner)
    barrier = asyncio.Barrier(len(FAMILIES))
    letting_go._desks = {
        number: cast("Desk", SimpleNamespace(let_go_of_alerts=barrier.wait))
        for number in range(len(FAMILIES))
    }
    await asyncio.wait_for(letting_go.close(), 60)


class Waiting:
    """A family's desk whose turn ends when the test says so."""

    family, rules_skipped = SimpleNamespace(damaged=(), beats=list), 0

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.begun, self.goes_on, self.is_let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run_rules(self, _: int) -> None:
        assert not self.is_let_go.is_set()
        self.begun.set()
        await self.goes_on.wait()
        self.rules_skipped += 1

    async def let_go_of_alerts(self) -> None:
        assert self.goes_on.is_set()
        self.is_let_go.set()


@pytest.fixture
async def two_families(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Monitor, Waiting, Waiting]]:
    monkeypatch.setattr(monitor, "_TICK_SECONDS", 0.0)
    owner = ShardOwner(Settings(), KafkaConfig(), topic_map())
    owner._assigned = set(range(owner.total))
    made = Monitor(Settings(), KafkaConfig(), Names("", "group"), owner)
    made._reader = cast("Any", Following())
    one, other = Waiting("cx.visit"), Waiting("cx.ticket")
    made._desks = cast("dict[int, Desk]", {0: one, 1: other})
    turns = asyncio.create_task(made.run_rules())
    yield made, one, other
    turns.cancel()
    await asyncio.wait({turns})
    assert turns.cancelled()


async def test_a_family_that_waits_to_be_taken_over_holds_up_no_other(
    two_families: tuple[Monitor, Waiting, Waiting],
) -> None:
    """What it waits for may be that the transaction of another is ended by its take-over."""
    _, waiting, other = two_families
    await asyncio.wait_for(waiting.begun.wait(), 60)
    await asyncio.wait_for(other.begun.wait(), 60)
    for _ in range(2):
        other.begun.clear()
        other.goes_on.set()
        await asyncio.wait_for(other.begun.wait(), 60)
    assert not waiting.goes_on.is_set()


async def test_a_family_that_went_to_another_worker_is_let_go_of_after_its_turn(
    two_families: tuple[Monitor, Waiting, Waiting],
) -> None:
    watching, retired, other = two_families
    other.goes_on.set()
    await asyncio.wait_for(retired.begun.wait(), 60)
    retired.rules_skipped = 7
    before = watching.view().rule_evaluations_skipped["cx.visit"]
    assert before == 7
    watching._retire(frozenset({1}))
    other.begun.clear()
    await asyncio.wait_for(other.begun.wait(), 60)
    assert not retired.is_let_go.is_set()
    assert watching.view().rule_evaluations_skipped["cx.visit"] == before, "no count goes back"
    retired.goes_on.set()
    await asyncio.wait_for(retired.is_let_go.wait(), 60)
    skipped = watching.view().rule_evaluations_skipped
    assert skipped["cx.visit"] == before + 1, "each topic's are counted by themselves"
    assert skipped["cx.ticket"] == other.rules_skipped
    assert set(skipped) == set(FAMILIES), "a counter that begins above 0 is not seen to rise"
    assert watching._retired == []


async def test_a_family_that_comes_back_waits_until_its_former_desk_has_let_go(
    two_families: tuple[Monitor, Waiting, Waiting],
) -> None:
    """Both write as the same one, so each would fence the other."""
    watching, former, other = two_families
    other.goes_on.set()
    await asyncio.wait_for(former.begun.wait(), 60)
    watching._retire(frozenset({1}))
    again = Waiting(former.topic)
    watching._desks[0] = cast("Any", again)
    for _ in range(2):
        other.begun.clear()
        await asyncio.wait_for(other.begun.wait(), 60)
    assert not again.begun.is_set()
    former.goes_on.set()
    await asyncio.wait_for(again.begun.wait(), 60)
    assert former.is_let_go.is_set()


NOON = parse("2026-03-02T12:00:00Z")


class Clock:
    """A wall clock that is set at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr(monitor, "now_ms", lambda: self.now)


class Alone:
    """A worker that owns the one shard there is, and so all families; its clock is set at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock(monkeypatch)
        settings = Settings()
        self.shard = Shard(settings, Values(settings))
        self._told = Sharing(self.shard, 0, "life")
        owned: Any = SimpleNamespace(shard=self.shard, partitions=dict)
        self.owner: Any = SimpleNamespace(
            is_assigned=True,
            assigned_at=0.0,
            families=frozenset({0}),
            total=1,
            shards={0: owned},
            settled=True,
            outage="",
            thread=SimpleNamespace(heartbeat_at=math.inf),
        )
        self.reader: Any = Following()
        self.start()

    def start(self) -> None:
        """Begin anew, as a process does."""
        self.monitor = Monitor(Settings(), KafkaConfig(), Names("", "g"), self.owner)
        self.monitor._reader = self.reader

    async def look(self) -> tuple[bool, str | None]:
        """Whether KPIs are shown, and why the worker is not ready."""
        self.reader.families = frozenset()
        await self.monitor._follow()
        self.reader.is_at_end = True
        at = time_of(self.shard, self.clock.now)
        self.shard.fold(at)
        records = self._told.collect(at, self.clock.now)[FAMILIES[0]]
        self.monitor._take(0, records, self.monitor._clock())
        self.monitor._evaluated_at = 0.0
        self.monitor._evaluate_gauges()
        unready = self.monitor.unready()
        trouble = self.monitor._trouble()
        return trouble is None and bool(list(self.monitor._shown())), unready


async def test_after_a_clock_was_far_ahead_nothing_is_shown_until_its_time_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shards have let go of what the right time needs, and that outlasts the process."""
    worker = Alone(monkeypatch)
    assert await worker.look() == (True, None)
    worker.clock.now = NOON + HOUR
    assert await worker.look() == (True, None), "nobody knows"
    worker.clock.now = NOON + MINUTE
    set_back = "this worker's clock was set back by 59 min: time stands at 2026-03-02T13:00:00Z"
    assert await worker.look() == (False, set_back)
    worker.start()
    worker.clock.now = NOON + 2 * MINUTE
    ahead = "shard 0 is 58 min ahead of this worker's clock"
    assert await worker.look() == (False, ahead)
    worker.clock.now = NOON + HOUR + 5 * SECOND
    was = "shard 0 was far ahead of this worker's clock until a moment ago"
    assert await worker.look() == (False, was)
    worker.clock.now += SECOND
    assert await worker.look() == (True, None)


async def test_a_clock_that_is_set_back_by_a_few_seconds_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Alone(monkeypatch)
    for clock in (0, 10, 5, 6, 15, 16):
        worker.clock.now = NOON + clock * SECOND
        assert await worker.look() == (True, None)


async def test_a_worker_with_some_shards_says_that_one_of_them_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others lack is not its trouble, but this one is what the owners of families miss."""
    worker = Alone(monkeypatch)
    worker.owner.total, worker.owner.families = 2, frozenset()
    await worker.monitor._follow()
    assert worker.monitor.unready() is None
    worker.shard.progress.now = NOON + 6 * SECOND
    assert worker.monitor.unready() == "shard 0 is 6 s ahead of this worker's clock"


async def test_it_is_said_once_that_the_clock_was_set_back_and_what_comes_due_then_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Alone(monkeypatch)
    passed: list[int] = []
    rules = mock.AsyncMock()
    monkeypatch.setattr(Desk, "run_rules", rules)
    monkeypatch.setattr(Desk, "pass_over", lambda _, clock: passed.append(clock))
    monkeypatch.setattr(monitor, "_TICK_SECONDS", 0.0)
    turns = asyncio.create_task(worker.monitor.run_rules())
    for clock in (HOUR, HOUR - 5 * SECOND, 0, SECOND, HOUR - 5 * SECOND, HOUR, 2 * HOUR):
        worker.clock.now = NOON + clock
        await worker.look()
        worker.monitor._note_set_back()
        rules.reset_mock()
        passed.clear()
        for _ in range(5):
            await asyncio.sleep(0)
        is_set_back = clock in (0, SECOND)
        assert set(passed) == ({NOON + clock} if is_set_back else set())
        assert bool(rules.await_count) is not is_set_back
    turns.cancel()
    (said,) = (r.getMessage() for r in caplog.records if r.name == monitor.__name__)
    assert said == (
        "the clock was set back by 60 min: until 2026-03-02T13:00:00Z KPIs are absent and no alert"
        " rule is evaluated; if it is wrong now, set it, as events that are more than a minute"
        " ahead of it are refused; if it was ahead before, wait, or"
        " `cxkpi state rebuild`"
    )
