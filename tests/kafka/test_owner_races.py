"""What overlaps in the owner of shards: a flush that fails, a shard that is read again, an end."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.settings import Settings
from stream.kafka import owner as owning
from stream.kafka.log import FlushFailed
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk, ChunkThread

VISITS = TopicPartition("cx.visit", 0)


class Slow:
    """A shard whose recovery, look-up of positions and flush end when the test says so."""

    number = 0
    overfull = False
    made: list[Slow]
    #: What is awaited, by what a shard does; what is not named ends at once.
    recovers: asyncio.Event | None
    #: The epoch that the thread reads for.
    read_for: int

    def __init__(self, *_: object) -> None:
        self.epoch = 0
        self.positions = dict.fromkeys(TOPICS, 0)
        self.flushing = asyncio.Lock()
        self.in_doubt = False
        self.closed = False
        self.log = SimpleNamespace(facts=(), sequence=1)
        self.shard = SimpleNamespace(progress=SimpleNamespace(now=0))
        self.bounds: asyncio.Event | None = None
        #: Whether a flush is in doubt while it waits.
        self.writes = True
        self.flushed = asyncio.Event()
        self.lets_go: asyncio.Event | None = None
        Slow.made.append(self)

    async def recover(self) -> None:
        if Slow.recovers is not None and len(Slow.made) > 1:
            await Slow.recovers.wait()

    async def find_positions(self, thread: object, counts: object) -> dict[TopicPartition, int]:
        if self.bounds is not None:
            await self.bounds.wait()
        return {VISITS: 0}

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        return chunk

    def apply(self, topic: str, chunk: Chunk) -> None:
        raise ArithmeticError("a sum is too large")

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        return []

    def complete_to(self, caught_up: object) -> int:
        return 0

    async def flush(self, health: object, complete_to: int | None = None) -> None:
        self.in_doubt = self.writes
        await self.flushed.wait()
        if self.in_doubt == self.writes:
            raise FlushFailed("no answer within 15 s")

    async def close(self) -> None:
        self.in_doubt = True
        if self.lets_go is not None:
            await self.lets_go.wait()
        self.closed = True


@pytest.fixture
async def owner(monkeypatch: pytest.MonkeyPatch) -> ShardOwner:
    topics = TopicMap(
        Names("", "group"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 1_000_000)
    )
    Slow.made, Slow.recovers = [], None
    monkeypatch.setattr(owning, "OwnedShard", Slow)
    monkeypatch.setattr(owning, "_REBALANCE_FLUSH_SECONDS", 0.05)

    async def enter(positions: object, epoch: int) -> None:
        Slow.read_for = epoch

    found = ShardOwner(Settings(), KafkaConfig(), topics)
    thread: Any = SimpleNamespace(enter=enter, heartbeat_at=math.inf, caught_up={})
    found.thread = cast("ChunkThread", thread)
    assign(found)
    await asyncio.gather(*found._tasks)
    return found


def assign(owner: ShardOwner) -> None:
    owner.assigned({TopicPartition(topic, 0) for topic in TOPICS})


def first() -> Slow:
    return Slow.made[0]


async def a_moment() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def is_live_anew(owner: ShardOwner) -> None:
    """Another shard has taken the first one's place, and what is read is meant for it."""
    await asyncio.gather(*owner._tasks)
    assert owner.fatal is None
    assert first().closed
    (live,) = cast("dict[int, Slow]", owner.shards).values()
    assert live is Slow.made[1]
    assert owner._live == {VISITS: live.epoch}
    assert Slow.read_for == live.epoch
    assert owner._parked == {}
    assert len(Slow.made) == 2


@pytest.mark.parametrize("is_recovered_first", [False, True])
async def test_a_shard_that_is_dropped_while_it_is_read_again_is_not_entered(
    owner: ShardOwner, is_recovered_first: bool
) -> None:
    flushing = asyncio.ensure_future(owner._flush_all())
    await a_moment()
    asked = first().bounds = asyncio.Event()
    owner.apply(Chunk("cx.visit", 0, first().epoch, 7, 9, []))
    await a_moment()
    assert owner._parked, "a hole: it is read again"
    Slow.recovers = None if is_recovered_first else asyncio.Event()
    first().flushed.set()
    await flushing
    await a_moment()
    asked.set()
    await a_moment()
    if Slow.recovers is not None:
        Slow.recovers.set()
    await is_live_anew(owner)


async def test_a_shard_whose_flush_fails_after_it_came_back_is_taken_over_anew(
    owner: ShardOwner,
) -> None:
    first().writes = False
    flushing = asyncio.ensure_future(owner._flush_all())
    await a_moment()
    await owner.revoked()
    assert owner._parked, "the flush waits, nothing was written, the last one gave up"
    asked = first().bounds = asyncio.Event()
    assign(owner)
    await a_moment()
    first().flushed.set()
    await flushing
    asked.set()
    await is_live_anew(owner)


async def test_of_a_dropped_shard_whose_positions_come_late_nothing_is_read(
    owner: ShardOwner,
) -> None:
    """Or the thread would read for an epoch that nobody lives in, and so nothing at all."""
    flushing = asyncio.ensure_future(owner._flush_all())
    await a_moment()
    asked = first().bounds = asyncio.Event()
    owner.apply(Chunk("cx.visit", 0, first().epoch, 7, 9, []))
    await a_moment()
    first().flushed.set()
    await flushing
    await a_moment()
    assert owner.shards, "another is live by now"
    asked.set()
    await is_live_anew(owner)


@pytest.mark.parametrize("is_recovered_first", [False, True])
async def test_a_shard_is_taken_over_once_where_the_group_rebalances_while_it_is_let_go_of(
    owner: ShardOwner, is_recovered_first: bool
) -> None:
    """A second take-over would fence the first, whose next flush fails, and so on without end."""
    lets_go = first().lets_go = asyncio.Event()
    flushing = asyncio.ensure_future(owner._flush_all())
    await a_moment()
    first().flushed.set()
    await a_moment()
    assert owner.shards == {}, "its flush has failed, and its broker hangs"
    recovers = Slow.recovers = asyncio.Event()
    await owner.revoked()
    assign(owner)
    await a_moment()
    for event in (recovers, lets_go) if is_recovered_first else (lets_go, recovers):
        event.set()
        await a_moment()
    await flushing
    await is_live_anew(owner)


async def test_a_half_counted_shard_is_in_doubt_even_if_its_end_is_cancelled(
    owner: ShardOwner,
) -> None:
    owner.apply(Chunk("cx.visit", 0, first().epoch, 0, 5, []))
    await owner.revoked()
    assert first().in_doubt
    assert owner._parked == {}


async def test_values_are_told_again_after_a_refresh_that_was_cancelled_before_it_began(
    owner: ShardOwner,
) -> None:
    owner._rounds.refresh_at = math.inf
    owner._tasks.spawn(owner._refresh())
    await owner.revoked()
    assert owner._rounds.refresh_at < math.inf
