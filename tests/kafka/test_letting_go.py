"""What is given back where a client can't be started, or can't be ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerFenced

from stream.config import KafkaConfig
from stream.core.settings import Settings
from stream.kafka import alert_reader, renewal
from stream.kafka.alert_reader import AlertReader
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, Outgoing, TransactionalWriter
from stream.kafka.topics import Names
from tests.fixtures.clock import in_no_time


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
        self.client = self._sender = self
        self._conns: dict[str, object] = {}
        Unstartable.made.append(self)

    async def _metadata_update(self) -> bool:
        return False

    async def bootstrap(self) -> None: ...
    async def send(self, *_: object) -> None: ...

    async def start(self) -> None:
        raise KafkaConnectionError("no broker")

    async def close(self) -> None:
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


class Uncoordinated:
    """A writer whose transactions nobody coordinates; the one that is asked first says so."""

    made: list[Uncoordinated]

    def __init__(self, *_: object) -> None:
        self.stopped = False
        Uncoordinated.made.append(self)

    async def start(self) -> None:
        raise BrokerUnreachable("no transaction coordinator")

    async def stop(self) -> None:
        self.stopped = True


async def test_a_renewal_that_can_t_begin_leaves_no_writer_behind_also_none_that_was_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client would say of each that nobody has closed it, after the line that says why."""

    async def plan(*_: object) -> Any:
        return SimpleNamespace(shards=3)

    monkeypatch.setattr(renewal, "TransactionalWriter", Uncoordinated)
    monkeypatch.setattr(renewal, "administration", lambda _: nullcontext())
    monkeypatch.setattr(renewal, "plan", plan)
    Uncoordinated.made = []
    with pytest.raises(BrokerUnreachable, match="no transaction coordinator"):
        await renewal.renew(KafkaConfig(), Settings(), "reset")
    assert len(Uncoordinated.made) > 3
    assert all(writer.stopped for writer in Uncoordinated.made)


class Fenced(TransactionalWriter):
    """A writer whose client reaches no broker, and is fenced when somebody says so."""

    def __init__(self) -> None:
        super().__init__(KafkaConfig(), "g-shard-0", 1_000_000)
        self.fence = asyncio.Event()
        producer: Any = self._producer
        producer._txn_manager.set_pid_and_epoch(1, 0)
        producer._partition = lambda *_: 0
        producer.client.bootstrap = self._at_once
        producer.client._wait_on_metadata = self._at_once
        producer._sender._sender_routine = self._routine
        self.producer = producer

    async def _at_once(self, *_: object) -> None: ...

    async def _routine(self) -> None:
        try:
            await self.fence.wait()
        finally:
            # Also where it is told to end: the client waits for the requests that are under way.
            raise ProducerFenced


_RECORDS = [Outgoing("t", 0, b"k", bytes(1_000))]


async def _waiting_for_records(writer: Fenced) -> None:
    writing = asyncio.ensure_future(writer.write(_RECORDS))
    await asyncio.sleep(0.01)
    writer.fence.set()
    with pytest.raises(FlushFailed):
        await writing


async def _while_a_batch_waits_to_be_sent(writer: Fenced) -> None:
    writer.producer._message_accumulator._batch_size = 1_500
    writing = asyncio.ensure_future(writer.write(_RECORDS * 3))
    await asyncio.sleep(0.01)
    writer.fence.set()
    with pytest.raises(FlushFailed):
        await writing


async def _after_the_end_was_given_up(writer: Fenced) -> None:
    writing = asyncio.ensure_future(writer.write([]))
    await asyncio.sleep(0.01)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    writer.fence.set()
    await asyncio.sleep(0.01)


async def _when_it_is_let_go_of(writer: Fenced) -> None:
    writing = asyncio.ensure_future(writer.write(_RECORDS))
    await asyncio.sleep(0.01)
    await writer.stop()
    await asyncio.gather(writing, return_exceptions=True)


@pytest.mark.parametrize(
    "fenced",
    [
        _waiting_for_records,
        _while_a_batch_waits_to_be_sent,
        _after_the_end_was_given_up,
        _when_it_is_let_go_of,
    ],
)
@in_no_time
async def test_nothing_is_logged_of_what_a_fenced_producer_leaves(
    fenced: Callable[[Fenced], Awaitable[None]],
) -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    writer = Fenced()
    await writer.start()
    await fenced(writer)
    await writer.stop()
    del writer
    await asyncio.sleep(0)
    gc.collect()
    assert logged == []
