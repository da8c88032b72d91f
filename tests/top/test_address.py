"""What is fetched from a worker's page, and how much of it at most."""

from __future__ import annotations

import gzip
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
        assert there.fetch(5.0).encode() == PAGE


def test_no_more_of_a_page_is_unpacked_than_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_MOST_BYTES", 800)
    with answering(gzip.compress(PAGE)) as there:
        assert there.fetch(5.0).encode() == PAGE[:800]


@pytest.mark.parametrize(
    "body",
    [gzip.compress(PAGE)[:-20], b"\x1f\x8b\x08 no gzip", PAGE],
    ids=["cut off", "damaged", "not compressed"],
)
def test_a_page_that_is_damaged_or_cut_off_is_no_answer(body: bytes) -> None:
    with answering(body) as there, pytest.raises(Unreachable, match="no readable answer"):
        there.fetch(5.0)
