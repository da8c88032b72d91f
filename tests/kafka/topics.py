"""What lies in topics, read as any consumer would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest

from stream.config import KafkaConfig
from stream.kafka.producer import EventProducer, Message

#: How long a broker on a loaded machine may take for what it has said that it does, in seconds.
_PATIENCE = 180.0


@dataclass(frozen=True)
class Read:
    """A record as it lies in its topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def reasons(self) -> dict[str, str]:
        """The headers as texts."""
        return {name: (value or b"").decode() for name, value in self.headers}


def records(bootstrap: str, topics: Sequence[str]) -> list[Read]:
    """All committed records of topics, in order within each partition."""
    return asyncio.run(_records(bootstrap, topics))


async def places(bootstrap: str, topics: Sequence[str]) -> list[TopicPartition]:
    """The partitions of those topics that exist."""
    return [
        TopicPartition(topic, partition)
        for topic, count in (await _counts(bootstrap, topics)).items()
        for partition in range(count)
    ]


async def until_closed(bootstrap: str, topics: Sequence[str]) -> None:
    """Wait until all that was committed can be read.

    The broker answers a commit once it is certain, and tells the partitions after that.
    """
    parts = await places(bootstrap, topics)
    async with asyncio.timeout(_PATIENCE):
        for tp in parts:
            while await _is_open(bootstrap, tp):  # noqa: ASYNC110 - it is Kafka's.
                await asyncio.sleep(0.05)


async def until_empty(bootstrap: str, tp: TopicPartition) -> None:
    """Wait until the broker has done with a topic that was made anew what it said it would."""
    async with asyncio.timeout(_PATIENCE):
        while await _end(bootstrap, tp, "read_uncommitted"):  # noqa: ASYNC110 - it is Kafka's.
            await asyncio.sleep(0.05)


async def _is_open(bootstrap: str, tp: TopicPartition) -> bool:
    """Whether a transaction holds up who reads what is committed."""
    return await _end(bootstrap, tp) < await _end(bootstrap, tp, "read_uncommitted")


async def _end(bootstrap: str, tp: TopicPartition, isolation: str = "read_committed") -> int:
    """Where what may be read of a partition ends."""
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation) as consumer:
        return int((await consumer.end_offsets([tp]))[tp])


async def _counts(bootstrap: str, topics: Sequence[str]) -> dict[str, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.describe_topics(list(topics))
        return {t["topic"]: len(t["partitions"]) for t in found if not t["error_code"]}
    finally:
        await admin.close()


def await_topics(bootstrap: str, wanted: Mapping[str, int]) -> None:
    """Wait until a broker tells of topics with so many partitions; with 0 they are gone.

    It says that a topic is made, grown or deleted before it tells others so.
    """
    there = {topic: count for topic, count in wanted.items() if count}

    async def told() -> None:
        async with asyncio.timeout(60):
            while await _counts(bootstrap, [*wanted]) != there:  # noqa: ASYNC110 - no event.
                await asyncio.sleep(0.05)

    asyncio.run(told())


async def _records(bootstrap: str, topics: Sequence[str]) -> list[Read]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    try:
        parts = await places(bootstrap, topics)
        consumer.assign(parts)
        found: list[Read] = []
        for part, end in (await consumer.end_offsets(parts)).items():
            while await consumer.position(part) < end:
                batch = (await consumer.getmany(part, timeout_ms=1000)).get(part, [])
                found += [
                    Read(r.topic, r.partition, r.offset, r.key, r.value, tuple(r.headers))
                    for r in batch
                ]
        return found
    finally:
        await consumer.stop()


def send(kafka: KafkaConfig, messages: Sequence[Message]) -> None:
    """Write records to their topics and wait until all are there."""

    async def sending() -> None:
        async with EventProducer(kafka) as producer:
            await producer.write(messages)

    asyncio.run(sending())


def append(bootstrap: str, topic: str, batch: bytes, partition: int = 0) -> None:
    """Write a batch to a topic as it is, which no client of ours would have made."""

    async def appending() -> None:
        client = AIOKafkaClient(bootstrap_servers=bootstrap)
        await client.bootstrap()
        try:
            await client.set_topics([topic])
            leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            request = ProduceRequest(
                transactional_id=None,
                required_acks=-1,
                timeout=10_000,
                topics=[(topic, [(partition, batch)])],
            )
            answer = await client.send(leader, request)
            [(_, [(_, error, *_)])] = answer.topics
            assert error == 0, for_code(error)
        finally:
            await client.close()

    asyncio.run(appending())


def delete(bootstrap: str, topic: str, key: bytes) -> None:
    """Delete a key of a compacted topic."""

    async def deleting() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
            await producer.send_and_wait(topic, key=key)

    asyncio.run(deleting())


def administer(bootstrap: str, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> None:
    """Do something with the topics of a broker."""

    async def administering() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            await work(admin)
        finally:
            await admin.close()

    asyncio.run(administering())
