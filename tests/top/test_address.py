"""What is fetched from a worker's page, and how much of it at most."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stream.top import address
from stream.top.address import Address, Unreachable

PAGE = b"cx_up 1\n" * 1_000


@contextmanager
def answering(body: bytes) -> Iterator[Address]:
    """A server that answers with a compressed page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield Address.parse(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_a_compressed_page_is_read_whole() -> None:
    with answering(gzip.compress(PAGE)) as there:
        assert there.fetch(60.0).encode() == PAGE


def test_no_more_of_a_page_is_unpacked_than_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_MOST_BYTES", 800)
    with answering(gzip.compress(PAGE)) as there:
        assert there.fetch(60.0).encode() == PAGE[:800]


@pytest.mark.parametrize(
    "body",
    [gzip.compress(PAGE)[:-20], b"\x1f\x8b\x08 no gzip", PAGE],
    ids=["cut off", "damaged", "not compressed"],
)
def test_a_page_that_is_damaged_or_cut_off_is_no_answer(body: bytes) -> None:
    with answering(body) as there, pytest.raises(Unreachable, match="no readable answer"):
        there.fetch(60.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9470", Address("127.0.0.1", 9470)),
        ("worker", Address("worker", 9464)),
        ("worker:80", Address("worker", 80)),
        ("[::1]", Address("::1", 9464)),
        ("[::1]:9470", Address("::1", 9470)),
        ("http://worker", Address("worker", 80)),
        ("https://worker", Address("worker", 443, secure=True)),
        ("http://worker:9464/", Address("worker", 9464)),
        ("https://worker:9464/kpis/metrics/", Address("worker", 9464, True, "/kpis/metrics")),
    ],
)
def test_an_address_without_a_port_has_its_schemes_or_else_a_workers(
    text: str, expected: Address
) -> None:
    assert Address.parse(text) == expected


def test_a_connection_is_closed_though_the_answer_is_of_no_use_and_that_is_remembered() -> None:
    came: list[bytes] = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            connection.recv(65_536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nno"
            )
            came.append(connection.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        with pytest.raises(Unreachable) as remembered:
            Address("127.0.0.1", server.getsockname()[1]).fetch(60.0)
        thread.join(60)
    assert came == [b""]
    assert "no readable answer" in str(remembered.value)
