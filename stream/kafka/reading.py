"""Reading what was committed, from where the reader says: without a group, and so without its turn.

What is told of the client here holds for all such readers; those of a group are made elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream.config import KafkaConfig
from stream.core.errors import RetryError
from stream.kafka.connection import calm_reader, client_options
from stream.kafka.ending import say_goodbye

#: So much of a partition a fetch brings at most, in bytes; a batch that is larger comes alone.
_FETCH_BYTES: Final = 8 * 1024 * 1024


class Stalled(RetryError):
    """What a partition holds does not come any more."""


def reader(
    kafka: KafkaConfig, wait_ms: int = 50, reset: Literal["earliest", "none"] = "earliest"
) -> AIOKafkaConsumer:
    """A consumer, not started and without partitions.

    ``wait_ms`` is how long the broker holds a fetch that finds nothing. ``reset``: where it goes on
    if its position is not there any more; with "none" it raises OffsetOutOfRangeError.

    Raises:
        OSError, ssl.SSLError: a certificate can't be read.
    """
    consumer = AIOKafkaConsumer(
        **client_options(kafka),
        isolation_level="read_committed",
        auto_offset_reset=reset,
        enable_auto_commit=False,
        fetch_max_wait_ms=wait_ms,
        max_partition_fetch_bytes=_FETCH_BYTES,
        retry_backoff_ms=20,
    )
    calm_reader(consumer)
    return consumer


@asynccontextmanager
async def started(consumer: AIOKafkaConsumer) -> AsyncIterator[AIOKafkaConsumer]:
    """The consumer, while it is connected."""
    try:
        await consumer.start()
        yield consumer
    finally:
        await say_goodbye(consumer.stop)


async def begin_at(consumer: AIOKafkaConsumer, tp: TopicPartition, position: int = 0) -> None:
    """Read a partition from a position on, or from its first record where that stands later."""
    # Asked for before the assignment, or the answer would wait behind a fetch.
    first = (await consumer.beginning_offsets([tp]))[tp]
    consumer.assign([tp])
    consumer.seek(tp, max(first, position))


async def to_end(
    consumer: AIOKafkaConsumer, tp: TopicPartition, end: int, patience: float
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """What lies from where the consumer stands to ``end``, and what comes with the last of it.

    Markers of transactions and compacted records leave gaps, so it is the position that tells
    where the end is reached, not the last record. However long the whole takes, it goes on while
    the position does: who began again would have as much before them.

    Raises:
        Stalled: the position has stayed where it was for ``patience`` seconds.
    """
    loop = asyncio.get_running_loop()
    at, since = await consumer.position(tp), loop.time()
    while at < end:
        try:
            async with asyncio.timeout_at(since + patience):
                found = await consumer.getmany(tp, timeout_ms=500)
                position = await consumer.position(tp)
        except TimeoutError:
            raise Stalled(
                f"nothing has come for {patience:.0f} s, read up to offset {at} of {end}"
            ) from None
        yield found.get(tp, ())
        # What the caller does with it takes time that is nobody's silence.
        if position != at:
            at, since = position, loop.time()


def fold(latest: dict[bytes, bytes], records: Iterable[ConsumerRecord]) -> None:
    """Take in records of a compacted log: the latest value of each key, none for what is gone."""
    for record in records:
        if record.key is None:
            continue
        if record.value is None:
            latest.pop(record.key, None)
        else:
            latest[record.key] = record.value
