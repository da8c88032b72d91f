"""What the owner of shards lets be read, tells the group of, and takes over anew; and what not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.settings import Settings
from stream.core.state import StateRefused
from stream.kafka import owner as owning
from stream.kafka.log import FlushFailed
from stream.kafka.owner import ShardOwner
from stream.kafka.shards import OwnedShard
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import ChunkThread

SHARDS = 4


class Kept:
    """A shard that does at once what it is asked for, and whose flush fails where it ``fails``."""

    overfull = False

    def __init__(self, number: int, *_: object) -> None:
        self.number = number
        self.epoch = 0
        self.epochs: list[int] = []
        self.positions = dict.fromkeys(TOPICS, 10 * number)
        self.flushing = asyncio.Lock()
        self.in_doubt = False
        self.fails = False
        self.closed = False
        self.flushes = 0
        #: Up to when families were told that all is applied; None where they were told nothing.
        self.told: list[int | None] = []
        self.log = SimpleNamespace(facts=("max_segments is another",), sequence=1)
        self.shard = SimpleNamespace(progress=SimpleNamespace(now=0))

    def partitions(self) -> dict[TopicPartition, str]:
        return {TopicPartition(topic, self.number): topic for topic in TOPICS}

    async def recover(self) -> None: ...

    async def find_positions(self, thread: object, counts: object) -> dict[TopicPartition, int]:
        return dict.fromkeys(self.partitions(), 0)

    def take_waiting(self) -> list[object]:
        return []

    def complete_to(self, caught_up: object) -> int:
        return 7

    async def flush(self, counts: object, complete_to: int | None = None) -> None:
        self.flushes += 1
        self.told.append(complete_to)
        if self.fails:
            raise FlushFailed("no answer within 15 s")

    async def close(self) -> None:
        self.closed = True


class Thread:
    """The thread that reads: what it was told to read, and to tell the group."""

    def __init__(self) -> None:
        self.heartbeat_at = math.inf
        self.caught_up: dict[TopicPartition, object] = {}
        self.entered: list[int] = []
        self.told: list[Mapping[TopicPartition, int]] = []
        self.has_told = asyncio.Event()
        #: Called while it goes to positions.
        self.meanwhile: Callable[[], object] = lambda: None

    async def enter(self, positions: object, epoch: int) -> None:
        self.meanwhile()
        self.entered.append(epoch)

    async def commit_for_tools(self, positions: Mapping[TopicPartition, int]) -> None:
        self.told.append(positions)
        self.has_told.set()


class Owning:
    """An owner of some of four shards, which are live."""

    def __init__(self) -> None:
        topics = TopicMap(
            Names("", "group"), dict.fromkeys(TOPICS, SHARDS), dict.fromkeys(TOPICS, 1_000_000)
        )
        kafka = KafkaConfig().model_copy(update={"flush_ms": 250})
        self.owner = ShardOwner(Settings(), kafka, topics)
        self.thread = Thread()
        self.owner.thread = cast("ChunkThread", self.thread)

    async def own(self, *numbers: int) -> None:
        self.assign(*numbers)
        await self.until_done()

    def assign(self, *numbers: int, shared_out: frozenset[str] = frozenset()) -> None:
        partitions = {TopicPartition(topic, n) for n in numbers for topic in TOPICS}
        self.owner.assigned(partitions, shared_out)

    async def until_done(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.owner._tasks), 60)

    def shard(self, number: int) -> Kept:
        return cast("Kept", self.owner.shards[number])

    @property
    def read(self) -> set[int]:
        """The partitions that are read."""
        return {tp.partition for tp in self.owner.live()}


@pytest.fixture
async def owning_some(monkeypatch: pytest.MonkeyPatch) -> Owning:
    monkeypatch.setattr(owning, "OwnedShard", Kept)
    return Owning()


# Reading ----------------------------------------------------------------------------------------


async def test_nothing_is_read_while_a_flush_is_overdue_which_is_made_at_once(
    owning_some: Owning, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owning_some.own(0, 1)
    assert owning_some.read == {0, 1}
    owning_some.shard(1).overfull = True
    assert owning_some.read == set()
    monkeypatch.setattr(owning_some.owner._rounds, "until_next", lambda: 3600.0)
    await asyncio.wait_for(owning_some.owner._rounds.next(), 60)
    owning_some.shard(1).overfull = False
    assert owning_some.read == {0, 1}


async def test_nothing_is_read_while_new_values_come_faster_than_they_are_decided(
    owning_some: Owning,
) -> None:
    await owning_some.own(0)
    owning_some.owner._registry.is_behind = True
    assert owning_some.read == set()
    assert not owning_some.owner._rounds._hurry.is_set()


@pytest.mark.parametrize("end", ["revoked", "stop"])
async def test_nothing_is_read_of_shards_that_are_about_to_go(
    owning_some: Owning, end: str
) -> None:
    await owning_some.own(0, 1)
    kept = owning_some.shard(0)
    await (owning_some.owner.revoked() if end == "revoked" else owning_some.owner.stop(within=60))
    assert owning_some.read == set()
    assert kept.flushes == 1


async def test_what_was_fetched_before_a_shard_is_read_again_is_of_an_epoch_that_is_over(
    owning_some: Owning,
) -> None:
    await owning_some.own(0)
    before = owning_some.shard(0).epoch
    owning_some.owner._read_again(cast("OwnedShard", owning_some.shard(0)))
    await owning_some.until_done()
    assert owning_some.shard(0).epoch not in {0, before}
    assert owning_some.thread.entered == [before, owning_some.shard(0).epoch]


async def test_a_shard_that_is_dropped_while_the_thread_goes_to_its_positions_is_not_read(
    owning_some: Owning,
) -> None:
    owning_some.thread.meanwhile = owning_some.owner._parked.clear
    await owning_some.own(0)
    assert owning_some.thread.entered == [1]
    assert owning_some.owner.shards == {}
    assert owning_some.read == set()


# What a worker is said to own -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "families"),
    [
        pytest.param((), set[int](), id="none"),
        pytest.param((0,), {0, 4}, id="there are more families than shards"),
        pytest.param((1, 3), {1, 3, 5}, id="some"),
        pytest.param((0, 1, 2, 3), set(range(len(FAMILIES))), id="all"),
    ],
)
async def test_each_family_goes_with_one_of_the_shards(
    owning_some: Owning, numbers: tuple[int, ...], families: set[int]
) -> None:
    await owning_some.own(*numbers)
    assert owning_some.owner.families == families


async def test_a_worker_is_settled_once_all_of_its_shards_are_live(owning_some: Owning) -> None:
    owning_some.assign(0, 1)
    settled = [owning_some.owner.settled]
    await owning_some.until_done()
    settled.append(owning_some.owner.settled)
    del owning_some.owner.shards[1]
    settled.append(owning_some.owner.settled)
    assert settled == [False, True, False]


async def test_a_worker_that_got_shards_is_not_excluded_whatever_others_read(
    owning_some: Owning,
) -> None:
    """It was given them by one that reads the same; the next to share out may not."""
    owning_some.assign(0, shared_out=frozenset({"p.cx.cart"}))
    await owning_some.until_done()
    assert owning_some.owner.excluded == ""
    assert owning_some.owner.settled


async def test_a_take_over_of_shards_is_timed_and_other_settings_are_told(
    owning_some: Owning, caplog: pytest.LogCaptureFixture
) -> None:
    await owning_some.own()
    assert owning_some.owner.counts.recovery.count == 0
    await owning_some.own(0, 1)
    assert owning_some.owner.counts.recovery.count == 1
    assert caplog.messages[0] == (
        "the state was written with other settings: max_segments is another"
    )


def test_what_ended_the_worker_is_what_failed_first(owning_some: Owning) -> None:
    first = StateRefused("damaged")
    for error in (first, KeyError("what followed")):
        owning_some.owner._fail(error)
    assert owning_some.owner.fatal is first


# Taking over anew -------------------------------------------------------------------------------


async def test_after_a_failed_flush_a_shard_is_taken_over_once_the_group_still_knows_us(
    owning_some: Owning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has fenced us may be the new owner, and would be fenced in turn."""
    await owning_some.own(0)
    former = owning_some.shard(0)
    former.fails, owning_some.thread.heartbeat_at = True, 0.0
    looks: list[float] = []

    async def wait(seconds: float) -> None:
        assert owning_some.owner.shards == {}
        looks.append(seconds)
        if len(looks) == 3:
            owning_some.thread.heartbeat_at = math.inf

    await owning_some.owner._flush_all()
    monkeypatch.setattr(asyncio, "sleep", wait)
    await owning_some.until_done()
    assert len(looks) == 3
    assert former.closed
    assert owning_some.shard(0) is not former


async def test_at_the_end_no_shard_is_taken_over_anew(owning_some: Owning) -> None:
    await owning_some.own(0)
    owning_some.shard(0).fails = True
    await owning_some.owner.stop(within=60)
    assert not [*owning_some.owner._tasks]
    assert owning_some.owner.shards == {}


async def test_a_shard_that_went_to_another_worker_is_not_taken_over_anew(
    owning_some: Owning,
) -> None:
    await owning_some.own(0)
    gone = cast("OwnedShard", Kept(3))
    await owning_some.owner._drop(gone)
    assert not [*owning_some.owner._tasks]
    assert owning_some.owner.shards.keys() == {0}


async def test_a_take_over_that_is_under_way_ends_where_the_group_calls_its_shards_back(
    owning_some: Owning, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def recover(_: Kept) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Kept, "recover", recover)
    owning_some.assign(0)
    await asyncio.wait_for(begun.wait(), 60)
    await asyncio.wait_for(owning_some.owner.revoked(), 60)
    assert not [*owning_some.owner._tasks]


# Telling ----------------------------------------------------------------------------------------


async def test_the_group_is_told_the_positions_of_shards_that_have_a_state_and_no_others(
    owning_some: Owning,
) -> None:
    """By offsets of another the next start would take its state for lost."""
    await owning_some.own(0, 1, 2)
    owning_some.shard(0).log.sequence = 0
    owning_some.shard(1).in_doubt = True
    flushing = asyncio.create_task(owning_some.owner.flush_forever())
    owning_some.owner._rounds.hurry()
    await asyncio.wait_for(owning_some.thread.has_told.wait(), 60)
    flushing.cancel()
    await asyncio.wait({flushing})
    (told,) = owning_some.thread.told
    assert told == {TopicPartition(topic, 2): 20 for topic in TOPICS}


async def test_the_families_are_told_with_one_flush_of_each_second(
    owning_some: Owning, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owning_some.own(0)
    shares = [True, False, True]
    monkeypatch.setattr(owning_some.owner._rounds, "take_share", lambda: shares.pop(0))
    monkeypatch.setattr(owning_some.owner._rounds, "next", lambda: asyncio.sleep(0))
    with pytest.raises(IndexError):
        await owning_some.owner.flush_forever()
    assert owning_some.shard(0).told == [7, None, 7]


async def test_flushes_are_as_far_apart_as_is_configured(owning_some: Owning) -> None:
    assert 0 < owning_some.owner._rounds.until_next() <= 0.25


@pytest.mark.parametrize(
    ("error", "ends"), [(KafkaConnectionError("gone"), False), (KeyError("a mistake"), True)]
)
async def test_a_refresh_of_values_that_fails_comes_again_and_hides_no_mistake(
    owning_some: Owning, error: Exception, ends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    owner: Any = owning_some.owner
    owner._registry = SimpleNamespace(refresh=mock.AsyncMock(side_effect=error))
    owner._rounds.refresh_at = 0.0
    assert owner._rounds.take_refresh()
    owner._tasks.spawn(owner._refresh())
    await asyncio.wait({*owner._tasks})
    await asyncio.sleep(0)
    assert owner.fatal is (error if ends else None)
    assert len(caplog.messages) == (not ends)
    assert owner._rounds.refresh_at < math.inf
