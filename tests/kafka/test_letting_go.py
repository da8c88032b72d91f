"""What is given back where a client can't be started, or can't be ended."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from stream.config import KafkaConfig
from stream.kafka import alert_reader
from stream.kafka.alert_reader import AlertReader
from stream.kafka.log import _abandon, _look_at
from stream.kafka.topics import Names


class Record:
    """A change that a sink refused."""

    topic, partition, offset = "cx.alert", 0, 7
    key, value = b"k", b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()


class Unstartable:
    """A producer that finds no broker."""

    made: list[Unstartable]

    def __init__(self, **_: Any) -> None:
        self.stopped = False
        self.client = self
        Unstartable.made.append(self)

    async def _metadata_update(self) -> bool:
        return False

    async def start(self) -> None:
        raise KafkaConnectionError("no broker")

    async def stop(self) -> None:
        self.stopped = True


async def test_a_producer_of_dead_letters_that_can_t_start_is_let_go_of_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_reader, "AIOKafkaProducer", Unstartable)
    Unstartable.made = []
    reader = AlertReader(KafkaConfig(), Names("", "g"), "log")
    record: Any = Record()
    for tries in (1, 2):
        with pytest.raises(KafkaError):
            await reader._bury(record, "it is refused")
        assert [one.stopped for one in Unstartable.made] == [True] * tries


@pytest.mark.parametrize("is_fenced_before", [False, True])
async def test_nothing_is_logged_of_batches_that_a_fenced_producer_leaves(
    is_fenced_before: bool,
) -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    waiting = producer._message_accumulator
    sent = await waiting.add_message(TopicPartition("t", 0), None, b"v", 1.0)
    sent.add_done_callback(_look_at)
    if is_fenced_before:
        waiting.fail_all(ProducerFenced())

    async def close(accumulator: Any = waiting) -> None:
        accumulator.fail_all(ProducerFenced())

    producer._sender.close = close
    await _abandon(producer)
    await asyncio.sleep(0)
    del producer, waiting, sent
    gc.collect()
    assert logged == []
