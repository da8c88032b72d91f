"""What slow and silent readers of the pages cost."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from stream.metrics import connections
from stream.metrics.answer import SLICE, send
from stream.metrics.connections import MOST
from stream.metrics.exposition import Exposition
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView
from tests.metrics.kpis import KPIS

#: More than the buffers of a connection take.
PAGE = b"a 1\n" * 6_000_000
REST = b"z 1\n"
READERS = 20
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
def until() -> Until:
    async def wait(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def largest_in_cycles() -> int:
    """The length of the longest text that only the collector would free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        held = gc.get_referents(*gc.garbage)
        return max((len(one) for one in held if isinstance(one, bytes | bytearray)), default=0)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.fixture
def transports(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Transport]:
    """All that were opened."""
    opened: list[asyncio.Transport] = []
    made = connections.Connection.connection_made

    def connection_made(self: connections.Connection, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        opened.append(transport)
        made(self, transport)

    monkeypatch.setattr(connections.Connection, "connection_made", connection_made)
    return opened


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MetricsServer]:
    """One with a large page."""
    monkeypatch.setattr(Exposition, "parts", lambda *_: (PAGE, REST))
    async with MetricsServer(WorkerView, KPIS, unready=lambda: None, port=0) as running:
        yield running


@asynccontextmanager
async def asking(server: MetricsServer, sent: bytes = GET) -> AsyncIterator[socket.socket]:
    """One who asks and does not read."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setblocking(False)
        await asyncio.get_running_loop().sock_connect(reader, (server.host, server.port))
        await asyncio.get_running_loop().sock_sendall(reader, sent)
        yield reader


async def test_who_does_not_read_holds_no_more_than_two_slices(
    server: MetricsServer, transports: list[asyncio.Transport], until: Until
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(READERS):
            await stack.enter_async_context(asking(server))
        await until(lambda: sum(t.get_write_buffer_size() > 0 for t in transports) == READERS)
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert max(t.get_write_buffer_size() for t in transports) <= 2 * SLICE


async def test_who_asks_again_and_again_and_does_not_read_holds_no_more_than_two_slices(
    transports: list[asyncio.Transport], until: Until
) -> None:
    asked = 20_000
    answered = 0

    def look() -> WorkerView:
        nonlocal answered
        answered += 1
        return WorkerView()

    async with (
        MetricsServer(look, KPIS, unready=lambda: None, port=0) as server,
        asking(server, b"") as reader,
    ):
        sending = asyncio.ensure_future(
            asyncio.get_running_loop().sock_sendall(reader, asked * GET)
        )
        await until(lambda: any(t.get_write_buffer_size() for t in transports))
        before, looks = -1, 0
        # A stall of a busy machine is no end.
        while looks < 5:
            looks = looks + 1 if before == answered else 0
            before = answered
            await asyncio.sleep(0.2)
            assert max(t.get_write_buffer_size() for t in transports) <= 2 * SLICE
        assert answered < asked
        sending.cancel()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("read", [0, 100_000])
async def test_an_answer_that_is_broken_off_leaves_no_page_behind(
    monkeypatch: pytest.MonkeyPatch, transports: list[asyncio.Transport], until: Until, read: int
) -> None:
    page = PAGE + b"b 1\n"
    monkeypatch.setattr(Exposition, "parts", lambda *_: (page, REST))
    async with MetricsServer(WorkerView, KPIS, unready=lambda: None, port=0) as server:
        before = sys.getrefcount(page)
        for _ in range(READERS):
            async with asking(server) as reader:
                await until(
                    lambda: any(
                        not t.is_closing() and t.get_write_buffer_size() for t in transports
                    )
                )
                assert sys.getrefcount(page) > before
                for _ in range(read // 1000):
                    await asyncio.get_running_loop().sock_recv(reader, 1000)
        await until(lambda: all(t.is_closing() for t in transports))
        await until(lambda: sys.getrefcount(page) == before)
        assert largest_in_cycles() < SLICE


@pytest.mark.usefixtures("without_collector")
async def test_an_answer_that_nobody_takes_is_cut_off(
    transports: list[asyncio.Transport], until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    page = PAGE + b"b 1\n"

    async def answer(request: web.Request) -> web.StreamResponse:
        return await send(request, [page, REST], {}, within=0.2)

    async with MetricsServer(WorkerView, KPIS, unready=lambda: None, port=0) as server:
        server._metrics = answer  # type: ignore[method-assign]
        await server.stop()
        await server.start()
        before = sys.getrefcount(page)
        async with asking(server) as reader:
            await until(lambda: bool(transports) and transports[0].is_closing())
            got, more = 0, b"x"
            with suppress(ConnectionError):
                while more:
                    more = await asyncio.get_running_loop().sock_recv(reader, 1 << 20)
                    got += len(more)
        assert got < len(page)
        await until(lambda: sys.getrefcount(page) == before)
        assert largest_in_cycles() < SLICE
    assert caplog.records == []


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
async def test_who_reads_gets_all_of_a_large_page(server: MetricsServer, accepted: str) -> None:
    headers = {"Accept-Encoding": accepted}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        for _ in range(2):
            async with session.get("/metrics") as response:
                assert await response.read() == PAGE + REST
        async with session.head("/metrics") as response:
            assert await response.read() == b""
        async with session.get("/healthz") as response:
            assert response.status == 200


async def test_beyond_the_most_connections_that_heard_of_longest_ago_is_closed(
    transports: list[asyncio.Transport], until: Until
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            MetricsServer(WorkerView, KPIS, unready=lambda: None, port=0)
        )
        session = await stack.enter_async_context(aiohttp.ClientSession(server.url))
        for _ in range(2 * MOST):
            slow = stack.enter_context(socket.create_connection((server.host, server.port)))
            slow.sendall(b"GET /metrics HTTP/1.1\r\n")
            async with session.get("/healthz") as response:
                assert response.status == 200
        await until(lambda: sum(not t.is_closing() for t in transports) <= MOST)
        # All but the one in use came in this order.
        in_use, *silent = [t for t in transports if not t.is_closing()]
        assert in_use in transports[:2], "who goes on asking is not cut off"
        assert silent == transports[-len(silent) :]
        assert len(silent) == MOST - 1
