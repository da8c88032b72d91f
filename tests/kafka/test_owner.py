"""What the owner of shards does when one of them fails, without a broker."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.settings import Settings
from stream.kafka.owner import CountingFailed, ShardOwner
from stream.kafka.shards import OwnedShard
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk


class HalfCounted:
    """A shard that fails in the middle of a chunk."""

    number = 0
    epoch = 1
    overfull = False

    def __init__(self) -> None:
        self.positions = dict.fromkeys(TOPICS, 0)
        self.flushed = False
        self.closed = False

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
