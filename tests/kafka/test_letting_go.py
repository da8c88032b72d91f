"""What is given back where a client can't be started, or can't be ended."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.config import KafkaConfig
from stream.kafka import alert_reader
from stream.kafka.alert_reader import AlertReader
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
