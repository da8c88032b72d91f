"""The proxy that faults are made with does what a test asks of it, and nothing else."""

from __future__ import annotations

import asyncio
import socketserver
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import RequestTimedOutError

from stream.broker.properties import HOST
from tests.fixtures.proxy import Api, NewProxied, Proxy, Way
from tests.kafka.topics import records


class _Echo(socketserver.StreamRequestHandler):
    """Answers each frame with its number and its last byte, in order."""

    def handle(self) -> None:
        while head := self.rfile.read(4):
            body = self.rfile.read(int.from_bytes(head, "big"))
            self.server.heard.append(body[-1])  # type: ignore[attr-defined]
            self.wfile.write(struct.pack(">i", 5) + body[4:8] + body[-1:])
            self.wfile.flush()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Echo)
        self.heard: list[int] = []


class Client:
    """Sends requests of a kind, gets answers by their last byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._number = 0

    def ask(self, what: int, api: int = Api.PRODUCE) -> None:
        self._number += 1
        body = struct.pack(">hhi", api, 0, self._number) + bytes([what])
        self._writer.write(struct.pack(">i", len(body)) + body)

    async def answer(self, seconds: float = 60.0) -> int:
        """The next answer.

        Raises:
            TimeoutError: none came in time.
            EOFError: the connection was closed.
        """
        frame = await asyncio.wait_for(self._reader.readexactly(9), seconds)
        return frame[-1]


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


@pytest.fixture
def proxy(server: _Server) -> Iterator[Proxy]:
    with Proxy(server.server_address[1]) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    with ExitStack() as stack:

        async def connecting() -> Client:
            reader, writer = await asyncio.open_connection(HOST, proxy.port)
            stack.callback(writer.close)
            return Client(reader, writer)

        yield connecting


async def come_to(proxy: Proxy, way: Way, frames: int) -> None:
    """Wait until so many frames have come to the proxy, and so have met a fault of their way."""
    async with asyncio.timeout(60):
        while proxy.seen[way, Api.PRODUCE] < frames:  # noqa: ASYNC110 - it counts in its thread.
            await asyncio.sleep(0.01)


async def test_without_faults_all_passes_in_order(connect: Connect, proxy: Proxy) -> None:
    client = await connect()
    for n in range(200):
        client.ask(n)
    assert [await client.answer() for _ in range(200)] == list(range(200))
    assert proxy.seen == {(Way.REQUESTS, Api.PRODUCE): 200, (Way.ANSWERS, Api.PRODUCE): 200}


@pytest.mark.parametrize("way", Way)
async def test_delayed_frames_all_arrive_later_and_not_one_after_the_other(
    connect: Connect, proxy: Proxy, way: Way
) -> None:
    client = await connect()
    proxy.delay(0.4, way)
    began = time.monotonic()
    for n in range(200):
        client.ask(n)
    assert [await client.answer() for _ in range(200)] == list(range(200))
    # One after the other they would take 80 s, however fast the machine is.
    assert 0.4 <= time.monotonic() - began < 40


async def test_a_fault_of_one_kind_of_request_spares_others_and_ends_after_its_times(
    connect: Connect, proxy: Proxy
) -> None:
    proxy.cut(Way.ANSWERS, apis=[Api.END_TXN], times=1)
    client = await connect()
    client.ask(1, Api.HEARTBEAT)
    assert await client.answer() == 1
    client.ask(2, Api.END_TXN)
    with pytest.raises(EOFError):
        await client.answer()
    again = await connect()
    again.ask(3, Api.END_TXN)
    assert await again.answer() == 3


async def test_stalled_frames_and_those_behind_them_wait_until_it_is_healed(
    connect: Connect, proxy: Proxy
) -> None:
    client, other = await connect(), await connect()
    proxy.stall(Way.ANSWERS, times=1)
    client.ask(1)
    await come_to(proxy, Way.ANSWERS, 1)
    with pytest.raises(TimeoutError):
        await client.answer(0.3)
    client.ask(2)
    other.ask(3)
    assert await other.answer() == 3
    proxy.heal()
    assert [await client.answer(), await client.answer()] == [1, 2]


@pytest.mark.parametrize(("way", "heard"), [(Way.REQUESTS, []), (Way.ANSWERS, [1, 2])])
async def test_dropped_frames_and_later_ones_of_their_connection_never_arrive(
    connect: Connect, proxy: Proxy, server: _Server, way: Way, heard: list[int]
) -> None:
    client, other = await connect(), await connect()
    proxy.drop(way, times=1)
    client.ask(1)
    client.ask(2)
    await come_to(proxy, way, 2)
    with pytest.raises(TimeoutError):
        await client.answer(0.3)
    proxy.heal()
    with pytest.raises(TimeoutError):
        await client.answer(0.3)
    assert server.heard == heard
    other.ask(3)
    assert await other.answer() == 3


@pytest.mark.parametrize(("way", "heard"), [(Way.REQUESTS, []), (Way.ANSWERS, [1])])
async def test_a_cut_tells_the_client_whether_or_not_the_request_had_arrived(
    connect: Connect, proxy: Proxy, server: _Server, way: Way, heard: list[int]
) -> None:
    client = await connect()
    proxy.cut(way)
    client.ask(1)
    with pytest.raises(EOFError):
        await client.answer()
    assert server.heard == heard


async def test_a_proxy_that_refuses_closes_all_connections_until_it_is_healed(
    connect: Connect, proxy: Proxy
) -> None:
    client = await connect()
    client.ask(1)
    assert await client.answer() == 1
    proxy.refuse()
    assert proxy.connections == 0
    for refused in (client, await connect()):
        with pytest.raises((EOFError, ConnectionError)):
            await refused.answer()
    proxy.heal()
    again = await connect()
    again.ask(2)
    assert await again.answer() == 2


# On a real broker ----------------------------------------------------------------------------


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


def read(bootstrap: str, topic: str) -> list[bytes | None]:
    return [record.value for record in records(bootstrap, [topic])]


async def test_a_producer_sees_acknowledgements_that_are_slow_broken_off_or_lost(
    proxied: NewProxied,
) -> None:
    broker, [proxy] = proxied()
    await create(broker.bootstrap, "acks")
    producer = AIOKafkaProducer(bootstrap_servers=proxy.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait("acks", b"quick")
        assert proxy.seen[Way.ANSWERS, Api.PRODUCE] == 1

        proxy.delay(0.5, Way.ANSWERS, apis=[Api.PRODUCE])
        began = time.monotonic()
        await producer.send_and_wait("acks", b"slow")
        assert time.monotonic() - began >= 0.5
        proxy.heal()

        # The record is there, the producer does not know, and writes it a second time.
        proxy.cut(Way.ANSWERS, apis=[Api.PRODUCE], times=1)
        await producer.send_and_wait("acks", b"broken off")
    finally:
        proxy.heal()
        await producer.stop()
    # This one gives up, and does not know either.
    impatient = AIOKafkaProducer(bootstrap_servers=proxy.bootstrap, request_timeout_ms=5_000)
    await impatient.start()
    try:
        proxy.drop(Way.ANSWERS, apis=[Api.PRODUCE], times=1)
        with pytest.raises(RequestTimedOutError):
            await impatient.send_and_wait("acks", b"lost")
        # The broker may take longer than that.
        await come_to(proxy, Way.ANSWERS, 5)
    finally:
        proxy.heal()
        await impatient.stop()
    found = await asyncio.to_thread(read, broker.bootstrap, "acks")
    assert found == [b"quick", b"slow", b"broken off", b"broken off", b"lost"]


async def test_each_proxy_of_a_broker_has_faults_of_its_own(proxied: NewProxied) -> None:
    broker, [good, bad] = proxied(2)
    await create(broker.bootstrap, "ways")
    bad.refuse()
    producer = AIOKafkaProducer(bootstrap_servers=good.bootstrap)
    await producer.start()
    try:
        await producer.send_and_wait("ways", b"value")
    finally:
        await producer.stop()
    assert good.seen[Way.REQUESTS, Api.PRODUCE] == 1
    assert bad.seen[Way.REQUESTS, Api.PRODUCE] == 0
    assert await asyncio.to_thread(read, broker.bootstrap, "ways") == [b"value"]
