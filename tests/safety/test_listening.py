"""What listens, where, and what it takes from strangers."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from stream.broker import Broker
from stream.core.catalogue import KPIS
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView
from tests.kafka.conftest import Sites
from tests.metrics.serving import serving

LISTENING = "0A"


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(lambda: WorkerView(ready=True), KPIS) as found:
        yield found


def asked(server: MetricsServer, request: bytes) -> bytes:
    """What the server answers to raw bytes, until it hangs up."""
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


def status(server: MetricsServer, request: bytes) -> int:
    return int(asked(server, request).split(b" ", 2)[1])


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]
)
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/healthz", "/"])
def test_nothing_can_be_written(server: MetricsServer, method: str, path: str) -> None:
    target = "127.0.0.1:80" if method == "CONNECT" else path
    request = (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert status(server, request.encode()) in (400, 404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/metrics/../../etc/passwd",
        "//etc/passwd",
        "/static/..%2fetc/passwd",
        "/metrics%00",
        "/pyproject.toml",
        "/.env",
        "/table/",
        "/router/",
        "file:///etc/passwd",
    ],
)
def test_no_file_is_served(server: MetricsServer, path: str) -> None:
    answer = asked(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert int(answer.split(b" ", 2)[1]) in (400, 404)
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"\0" * 10_000,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500 + b"\r\n\r\n",
    ],
    ids=["header", "path", "noise", "length", "TLS"],
)
def test_what_is_no_sound_request_is_refused(server: MetricsServer, request_: bytes) -> None:
    with suppress(ConnectionError):  # It may hang up before all was sent.
        assert asked(server, request_).split(b" ", 2)[1].startswith(b"4")
    with urllib.request.urlopen(server.url + "/readyz", timeout=60) as answer:
        assert answer.status == 200


def test_clients_that_never_end_their_request_hold_up_nobody(server: MetricsServer) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            slow = stack.enter_context(socket.create_connection((server.host, server.port)))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        with urllib.request.urlopen(server.url + "/metrics", timeout=60) as answer:
            assert answer.status == 200


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses and ports that a process listens on."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It may be closed meanwhile.
            sockets.add(link.readlink().name)
    found = set()
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        table = Path(f"/proc/{pid}/net/{name}")
        # A kernel may be without IPv6.
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            parts = line.split()
            if parts[3] == LISTENING and f"socket:[{parts[9]}]" in sockets:
                address, port = parts[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="needs /proc")
def test_a_worker_listens_on_its_one_port_of_loopback_only(sites: Sites, broker: Broker) -> None:
    worker = sites(broker.bootstrap).worker()
    worker.until_ready()
    port = int(worker.url.rsplit(":", 1)[1])
    assert listening(worker.pid) == {("127.0.0.1", port)}


async def test_a_host_that_is_not_configured_is_loopback() -> None:
    async with MetricsServer(WorkerView, KPIS, unready=lambda: None, port=0) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert writer.get_extra_info("peername")[0] == "127.0.0.1"
        writer.close()
        assert server.host == "127.0.0.1"
