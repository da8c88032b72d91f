"""Writes events to their topics: in large batches, each exactly once, entities in their order."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_lz4
from aiokafka.errors import KafkaError, KafkaTimeoutError

from stream.config import KafkaConfig
from stream.core.errors import DeadLetterError, StopError
from stream.kafka.admin import AdminClient
from stream.kafka.administration import USUAL_LIMIT, TopicsUnfit, create, largest_batch
from stream.kafka.connection import calm
from stream.kafka.ending import say_goodbye
from stream.kafka.partitions import partitions
from stream.kafka.refusal import client_is_quiet, connecting, readable_options
from stream.kafka.wording import in_words
from stream.sizes import batch_bytes

#: Topic (without the prefix), key (None: any partition), value.
Message = tuple[str, bytes | None, bytes]

_BATCH_BYTES: Final = 256 * 1024
#: How long brokers may be away, in seconds, as ``delivery.timeout.ms`` of Kafka's own producer.
DELIVERY_SECONDS: Final = 120.0


class NotDelivered(StopError):
    """The broker did not take what was sent, or went away; the message says why."""


class RecordTooLarge(DeadLetterError):
    """A record is larger than its topic takes."""


class _Topic:
    """A topic that is written to: its batches in the making, one for each partition."""

    def __init__(self, name: str, count: int, limit: int) -> None:
        self.name = name
        self.count = count
        self.limit = limit
        self.builders: list[Any] = [None] * count
        self.turn = cycle(range(count))

    def is_full(self, builder: Any, key: bytes | None, value: bytes) -> bool:
        """Whether a batch with one more record is larger than the topic takes."""
        if self.limit > _BATCH_BYTES:
            return False  # The batch says so itself, earlier.
        return int(builder.size()) + batch_bytes(key, value) > self.limit


class EventProducer:
    """An idempotent producer; an async context manager that delivers everything on leaving.

    Topics are created when missing, with the configuration's partitions and replication. Records
    carry the time at which they are written, not that of their event: a broker that deletes by age
    would drop old recordings at once.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        self._kafka = kafka
        self._topics: dict[str, _Topic] = {}
        self._underway: set[asyncio.Future[Any]] = set()
        #: The first refusal, and the topic and partition that it is of.
        self._failure: tuple[BaseException, str] | None = None
        self._producer: Any = None
        self._admin: Any = None
        #: Records that the broker has acknowledged, by topic without prefix.
        self.delivered: Counter[str] = Counter()
        #: Whether no more than that can have been written: what was taken is acknowledged.
        self.is_settled = True

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerUnreachable: no broker answers.
        """
        options = readable_options(self._kafka)
        self._producer = AIOKafkaProducer(
            **options,
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            compression_type="lz4" if has_lz4() else None,
        )
        # Else batches whose partition has no leader are given up after the time of a request.
        self._producer._message_accumulator._batch_ttl = DELIVERY_SECONDS  # noqa: SLF001
        calm(self._producer.client)
        self._admin = AdminClient(**options)
        async with connecting(self._kafka, self._stop):
            with client_is_quiet():
                await self._producer.start()
                await self._admin.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Deliver what was taken, unless an error ends it, and disconnect."""
        try:
            if kind is None or issubclass(kind, asyncio.CancelledError):
                await self.flush()
        finally:
            await self._stop()

    async def write(self, messages: Sequence[Message]) -> None:
        """Take records and send what makes full batches; waits while the broker is behind.

        Raises:
            NotDelivered: the broker refused what was sent before, or is gone.
            RecordTooLarge: a record is larger than its topic takes; nothing is taken.
        """
        self._check()
        self.is_settled = False
        by_topic: dict[str, list[tuple[bytes | None, bytes]]] = {}
        for name, key, value in messages:
            by_topic.setdefault(name, []).append((key, value))
        ready = [(await self._topic(name), records) for name, records in by_topic.items()]
        for topic, records in ready:
            for key, value in records:
                if batch_bytes(key, value) > topic.limit:
                    raise RecordTooLarge(
                        f"{len(value)} bytes, and topic {topic.name} takes up to {topic.limit}"
                    )
        for topic, records in ready:
            await self._write(topic, records)

    async def fits(self, name: str, key: bytes | None, value: bytes) -> bool:
        """Whether the topic takes a record of this size."""
        return batch_bytes(key, value) <= (await self._topic(name)).limit

    async def submit(self) -> None:
        """Send what has been taken, without waiting for the broker's word."""
        for topic in self._topics.values():
            for partition in range(topic.count):
                await self._submit(topic, partition)
        self._check()

    async def flush(self) -> None:
        """Send what has been taken and wait until the broker has acknowledged everything.

        Raises:
            NotDelivered: it did not.
        """
        await self.submit()
        if self._underway:
            await asyncio.wait(self._underway)
        # The callbacks run in the loop's next round.
        await asyncio.sleep(0)
        self._check()
        self.is_settled = True

    async def _write(self, topic: _Topic, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        keyed = list(records)
        homes = partitions([key or b"" for key, _ in keyed], topic.count).tolist()
        for of_key, (key, value) in zip(homes, keyed, strict=True):
            home = next(topic.turn) if key is None else of_key
            builder = topic.builders[home]
            if builder is not None and topic.is_full(builder, key, value):
                await self._submit(topic, home)
                builder = None
            if builder is None:
                builder = topic.builders[home] = self._producer.create_batch()
            if builder.append(timestamp=None, key=key, value=value) is None:
                await self._submit(topic, home)
                builder = topic.builders[home] = self._producer.create_batch()
                builder.append(timestamp=None, key=key, value=value)

    async def _submit(self, topic: _Topic, partition: int) -> None:
        builder = topic.builders[partition]
        if builder is None:
            return
        topic.builders[partition] = None
        count = builder.record_count()
        builder.close()
        try:
            future = await self._handed_over(builder, topic.name, partition)
        except asyncio.CancelledError:
            topic.builders[partition] = builder  # What is delivered on leaving is what was taken.
            raise
        except KafkaError as error:
            raise self._not_delivered(error) from error
        self._underway.add(future)

        def done(future: asyncio.Future[Any]) -> None:
            self._underway.discard(future)
            gone = asyncio.CancelledError()
            error = gone if future.cancelled() else future.exception()
            if error is not None:
                where = f" for topic {topic.name} partition {partition}"
                self._failure = self._failure or (error, where)
            else:
                self.delivered[topic.name.removeprefix(self._kafka.topic_prefix)] += count

        future.add_done_callback(done)

    async def _handed_over(self, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        """Give a batch to the client, which waits for the one before it a request's time only."""
        end = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                return await self._producer.send_batch(  # type: ignore[no-any-return]
                    batch, topic, partition=partition
                )
            except KafkaTimeoutError:
                if time.monotonic() >= end:
                    raise

    async def _topic(self, name: str) -> _Topic:
        """The topic, created where it is missing."""
        topic = self._topics.get(name)
        if topic is None:
            full = self._kafka.topic_prefix + name
            try:
                await create(self._admin, self._kafka, {full: self._kafka.partitions}, {})
                count = len(await self._producer.partitions_for(full))
                limit = await largest_batch(self._admin, full) or USUAL_LIMIT
            except TopicsUnfit as error:
                raise NotDelivered(str(error)) from error
            except KafkaError as error:
                raise self._not_delivered(error) from error
            topic = self._topics[name] = _Topic(full, count, limit)
        return topic

    def _check(self) -> None:
        if self._failure is not None:
            error, where = self._failure
            raise self._not_delivered(error, where) from error

    def _not_delivered(self, error: BaseException, where: str = "") -> NotDelivered:
        said = in_words(error, "write to")
        return NotDelivered(
            f"Kafka at {self._kafka.bootstrap} did not take the events: {said}{where}"
        )

    async def _stop(self) -> None:
        # What counts was raised before.
        await say_goodbye(self._admin.close, self._producer.stop)
