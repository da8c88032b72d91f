"""The pages of a worker over real connections."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from stream.core.errors import StopError
from stream.metrics.exposition import parse
from stream.metrics.server import CannotListen, MetricsServer
from stream.metrics.view import WorkerView
from tests.metrics.kpis import KPIS
from tests.metrics.views import view


class Worker:
    """A worker of which the server knows only its view, and whether it is ready."""

    def __init__(self) -> None:
        self.view = view(KPIS)
        self.looks = 0
        self.reason: str | None = None

    def __call__(self) -> WorkerView:
        self.looks += 1
        return self.view

    def unready(self) -> str | None:
        return self.reason


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def server(worker: Worker) -> AsyncIterator[MetricsServer]:
    async with MetricsServer(worker, KPIS, unready=worker.unready, port=0) as running:
        yield running


@pytest.fixture
async def client(server: MetricsServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, auto_decompress=True) as session:
        yield session


async def test_metrics_are_the_view_of_the_moment(
    client: aiohttp.ClientSession, worker: Worker
) -> None:
    for shift in (0.0, 0.2):
        worker.view = view(KPIS, shift=shift)
        async with client.get("/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            series = list(parse(await response.text()))
        value = next(s.value for s in series if s.name == "cx_csat_ratio")
        assert value == pytest.approx(0.3 + shift)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5, br", "gzip"),
        ("gzip;q=0, identity", None),
        ("gzip; q=0.000", None),
        ("gzip-of-another-kind", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_metrics_are_compressed_where_that_is_accepted(
    client: aiohttp.ClientSession, accepted: str, encoding: str | None
) -> None:
    async with client.get("/metrics", headers={"Accept-Encoding": accepted}) as response:
        assert response.headers.get("Content-Encoding") == encoding
        assert response.headers["Vary"] == "Accept-Encoding", "caches tell the two apart"
        assert "cx_nps{" in await response.text()


@pytest.mark.parametrize("reason", [None, "broker 127.0.0.1:9092 cannot be reached"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/"])
async def test_no_page_is_kept_by_whatever_lies_between(
    client: aiohttp.ClientSession, worker: Worker, path: str, reason: str | None
) -> None:
    worker.reason = reason
    for method in ("GET", "HEAD"):
        async with client.request(method, path) as response:
            assert response.headers.getall("Cache-Control") == ["no-store"]


async def test_health_is_not_readiness(client: aiohttp.ClientSession, worker: Worker) -> None:
    worker.reason = "broker 127.0.0.1:9092 cannot be reached"
    async with client.get("/healthz") as response:
        assert response.status == 200
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert "broker 127.0.0.1:9092 cannot be reached" in await response.text()
    worker.reason = None
    async with client.get("/readyz") as response:
        assert response.status == 200
    assert worker.looks == 0, "a view costs what a scrape does"


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_pages_can_only_be_read(client: aiohttp.ClientSession, path: str) -> None:
    async with client.head(path) as response:
        assert response.status == 200
        assert await response.read() == b""
    for method in ("POST", "PUT", "DELETE"):
        async with client.request(method, path) as response:
            assert response.status == 405


async def test_other_paths_are_not_found(client: aiohttp.ClientSession) -> None:
    async with client.get("/admin") as response:
        assert response.status == 404


async def test_the_server_listens_on_loopback_unless_told_otherwise(server: MetricsServer) -> None:
    assert server.host == "127.0.0.1"
    assert server.port > 0


async def test_a_port_in_use_is_refused_with_one_line(
    server: MetricsServer, worker: Worker
) -> None:
    second = MetricsServer(worker, KPIS, unready=worker.unready, port=server.port)
    with pytest.raises(CannotListen) as refusal:
        await second.start()
    assert str(refusal.value) == (
        f"port {server.port} on 127.0.0.1 is in use; choose another as [http] port"
    )
    assert isinstance(refusal.value, StopError)


async def test_a_host_that_is_not_ours_is_refused_with_one_line(worker: Worker) -> None:
    with pytest.raises(
        CannotListen, match=r"^cannot listen on 192\.0\.2\.1:0: [a-z ]+; see \[http\]"
    ):
        await MetricsServer(worker, KPIS, unready=worker.unready, host="192.0.2.1", port=0).start()


async def test_a_stopped_server_frees_its_port(worker: Worker) -> None:
    async with MetricsServer(worker, KPIS, unready=worker.unready, port=0) as first:
        port = first.port
    async with MetricsServer(worker, KPIS, unready=worker.unready, port=port):
        pass
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(("127.0.0.1", port))


async def test_a_client_that_does_not_read_holds_up_nobody(
    server: MetricsServer, worker: Worker
) -> None:
    series = tuple((("channel", f"c{number}"),) for number in range(2000))
    worker.view = view(KPIS, series=series)
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    async with aiohttp.ClientSession(server.url) as session, asyncio.timeout(30):
        for _ in range(3):
            async with session.get("/healthz") as response:
                assert response.status == 200
        await server.stop()
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ],
)
async def test_nobody_can_fill_the_log_with_requests_that_are_none(
    server: MetricsServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(sent)
    async with asyncio.timeout(60):
        await reader.readuntil(b" 400 ")
    writer.close()
    await server.stop()
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO] == []


async def test_an_error_of_our_own_is_logged_with_its_traceback(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    def unready() -> str | None:
        raise ArithmeticError("ours")

    async with (
        MetricsServer(worker, KPIS, unready=unready, port=0) as server,
        aiohttp.ClientSession(server.url) as session,
        session.get("/readyz") as answer,
    ):
        assert answer.status == 500
    (logged,) = caplog.records
    assert logged.levelno == logging.ERROR
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], ArithmeticError)
