"""Commands run against the shared broker, with topics of the test's own, and what they wrote."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click import Command
from click.testing import CliRunner, Result

from stream.broker import Broker

PARTITIONS = 3
_numbers = itertools.count(1)


class Read(NamedTuple):
    """A record as it lies in its topic."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Kafka:
    """The shared broker as seen by one test."""

    def __init__(self, broker: Broker) -> None:
        self.bootstrap = broker.bootstrap
        self.prefix = f"send-{next(_numbers)}-"
        self.env = {
            "CXKPI_KAFKA__BOOTSTRAP": self.bootstrap,
            "CXKPI_KAFKA__TOPIC_PREFIX": self.prefix,
            "CXKPI_KAFKA__PARTITIONS": str(PARTITIONS),
        }

    def run(self, command: Command, *args: object, stdin: bytes | None = None) -> Result:
        """Run a command in this process."""
        return CliRunner().invoke(command, list(map(str, args)), input=stdin, env=self.env)

    def records(self) -> list[Read]:
        """All records of this test's topics, without the prefix, partition by partition."""
        return asyncio.run(self._records())

    async def _records(self) -> list[Read]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            topics = sorted(t for t in await consumer.topics() if t.startswith(self.prefix))
            parts = [
                TopicPartition(topic, partition)
                for topic in topics
                for partition in range(PARTITIONS)
            ]
            consumer.assign(parts)
            found: list[Read] = []
            for part, end in (await consumer.end_offsets(parts)).items():
                while await consumer.position(part) < end:
                    for message in (await consumer.getmany(part, timeout_ms=1000)).get(part, []):
                        name = part.topic.removeprefix(self.prefix)
                        found.append(Read(name, part.partition, message.key, message.value))
            return found
        finally:
            await consumer.stop()


@pytest.fixture
def kafka(broker: Broker) -> Kafka:
    return Kafka(broker)


@pytest.fixture
def hanging(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """A broker that answers for a few batches and then no longer; Ctrl-C comes twice then."""
    send_batch = AIOKafkaProducer.send_batch
    calls = 0

    async def hang(self: AIOKafkaProducer, *args: Any, **options: Any) -> asyncio.Future[Any]:
        nonlocal calls
        calls += 1
        if calls <= 5:
            sent: asyncio.Future[Any] = await send_batch(self, *args, **options)
            await asyncio.wait({sent})
            return sent
        loop = asyncio.get_running_loop()

        def interrupt(times: int) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            # Of two that come while the loop does something else only one is heard.
            if times > 1:
                loop.call_later(0.5, interrupt, times - 1)

        if calls == 6:
            loop.call_later(0.5, interrupt, 2)
        return loop.create_future()

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", hang)
    return kafka


@pytest.fixture
def offline() -> Callable[..., Result]:
    """Run a command where no broker listens."""

    def run(command: Command, *args: object) -> Result:
        env = {"CXKPI_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
        return CliRunner().invoke(command, list(map(str, args)), env=env)

    return run
