"""What the owner of shards does when one of them fails, without a broker."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.settings import Settings
from stream.kafka.log import FlushFailed, FlushStopped, TransactionalWriter
from stream.kafka.owner import CountingFailed, ShardOwner
from stream.kafka.shards import OwnedShard
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk
from tests.kafka.test_transport_mends import FakeProducer


class HalfCounted:
    """A shard that fails in the middle of a chunk."""

    number = 0
    epoch = 1
    overfull = False

    def __init__(self) -> None:
        self.positions = dict.fromkeys(TOPICS, 0)
        self.flushed = False
        self.closed = False

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        return chunk

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        return []

    def apply(self, topic: str, chunk: Chunk) -> None:
        raise ArithmeticError("a sum is too large")

    async def flush(self, health: object) -> None:
        self.flushed = True

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def owner() -> ShardOwner:
    topics = TopicMap(
        Names("", "group"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 1_000_000)
    )
    return ShardOwner(Settings(), KafkaConfig(), topics)


async def test_a_chunk_that_fails_halfway_is_never_written_and_stops_the_worker(
    owner: ShardOwner,
) -> None:
    shard = HalfCounted()
    owner.shards[0] = cast("OwnedShard", shard)
    owner.apply(Chunk("cx.visit", 0, 1, 0, 5, []))
    assert owner.shards == {}
    assert isinstance(owner.fatal, CountingFailed)
    assert "cx.visit partition 0, offsets 0 to 5" in str(owner.fatal)
    await asyncio.sleep(0)
    await owner.stop()
    assert shard.closed
    assert not shard.flushed


class HalfCountedLater(HalfCounted):
    """A shard that fails in the middle of what had to wait until a flush."""

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        self.waits = [(topic, chunk)]
        return None

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        return self.waits


async def test_what_has_waited_and_fails_is_never_written_either(owner: ShardOwner) -> None:
    shard = HalfCountedLater()
    owner.shards[0] = cast("OwnedShard", shard)
    owner.apply(Chunk("cx.visit", 0, 1, 0, 5, []))
    assert owner.fatal is None
    await owner._flush(cast("OwnedShard", shard))
    await asyncio.sleep(0)
    assert owner.shards == {}
    assert "cx.visit partition 0, offsets 0 to 5" in str(owner.fatal)
    await owner.stop()
    assert shard.closed
    assert not shard.flushed


class CutShort(HalfCounted):
    """A shard whose flush does not come to its end."""

    def __init__(self, error: FlushFailed) -> None:
        super().__init__()
        self.error = error

    async def flush(self, health: object, complete_to: int | None = None) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "level", "failures"),
    [
        (FlushStopped("it was let go of"), logging.INFO, 0),
        (FlushFailed("no answer within 15 s"), logging.WARNING, 1),
    ],
)
async def test_only_a_flush_that_failed_by_itself_is_a_warning_and_counts(
    owner: ShardOwner,
    error: FlushFailed,
    level: int,
    failures: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stream")
    shard = CutShort(error)
    owner.shards[0] = cast("OwnedShard", shard)
    await owner._flush(cast("OwnedShard", shard))
    assert shard.closed
    assert owner.shards == {}
    assert owner.health.flush_failures == failures
    (record,) = caplog.records
    assert record.levelno == level


async def test_a_writer_that_is_let_go_of_says_that_its_transaction_was_cut_short() -> None:
    producer = FakeProducer()
    producer.hang = "commit"
    writer = TransactionalWriter(KafkaConfig(), "id", 1_000_000)
    writer._producer = cast("Any", producer)
    writing = asyncio.ensure_future(writer.write([]))
    for _ in range(9):
        await asyncio.sleep(0)
    await writer.stop()
    with pytest.raises(FlushStopped):
        await writing


async def test_a_source_topic_that_is_gone_is_told_with_what_to_do(owner: ShardOwner) -> None:
    there = {TopicPartition(topic, 0) for topic in TOPICS if topic != "cx.survey"}
    owner.assigned(there)
    assert str(owner.fatal).startswith("partitions of cx.survey are gone; stop all workers")
    assert "cxkpi state rebuild" in str(owner.fatal)
