"""The Prometheus that tests query is a real one, and goes when the test ends."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fixtures.prometheus import NewPrometheus, QueryRefused


class Page(BaseHTTPRequestHandler):
    """A page of metrics."""

    def do_GET(self) -> None:
        body = b'# TYPE answers gauge\nanswers{to="all"} 42\n'
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def target() -> Iterator[str]:
    """The address of a server with one metric."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_prometheus_scrapes_the_targets_and_answers_queries(
    new_prometheus: NewPrometheus, target: str
) -> None:
    prometheus = new_prometheus(target)
    (series,) = prometheus.wait_for("answers")
    assert series.value == 42
    assert series.labels == {
        "__name__": "answers",
        "to": "all",
        "instance": target,
        "job": "cxkpi",
    }
    assert [one.value for one in prometheus.query("scalar(answers) / 2")] == [21]
    assert prometheus.query("questions") == []


def test_a_query_that_is_none_is_refused_and_nobody_answers_after_the_end(
    new_prometheus: NewPrometheus, target: str
) -> None:
    with new_prometheus(target) as prometheus, pytest.raises(QueryRefused, match="parse error"):
        prometheus.query("sum(")
    with pytest.raises(OSError, match="refused"):
        prometheus.query("answers")


def test_a_target_that_is_down_is_named_when_waiting_was_in_vain(
    new_prometheus: NewPrometheus,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        prometheus = new_prometheus(f"127.0.0.1:{port}")
        prometheus.wait_for("up == 0")
        with pytest.raises(TimeoutError, match=rf"127\.0\.0\.1:{port}/metrics"):
            prometheus.wait_for("answers", seconds=0.2)
