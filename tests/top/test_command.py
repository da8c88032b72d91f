"""The command ``cxkpi top``: in a pipe, in a real terminal, with and without a worker."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from stream.broker.ports import free_port
from stream.cli.top import top
from stream.core.catalogue import KPIS
from stream.core.series import Evaluation, Sample
from stream.metrics.server import MetricsServer
from stream.metrics.view import AlertGauge, WorkerView
from stream.top.until import Until
from tests.metrics.serving import serving
from tests.metrics.views import view

_TOP = (sys.executable, "-c", "from stream.cli import main; main()", "top")


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(lambda: view(KPIS, int(time.time() * 1000)), KPIS) as running:
        yield running


def test_without_a_terminal_it_prints_plain_lines(server: MetricsServer) -> None:
    done = CliRunner().invoke(top, [server.url, "--once"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\dZ \S", line) for line in lines)
    assert any(line.endswith(" csat 30.0% (20…40) n=100") for line in lines)
    assert any("alert ChurnSpike region=north firing severity=critical" in line for line in lines)
    assert any("worse" in line and "region=south" in line for line in lines)
    assert "\x1b" not in done.stdout


def test_json_has_every_series_of_the_window(server: MetricsServer) -> None:
    done = CliRunner().invoke(top, [str(server.port), "--once", "--json", "--window", "24h"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["window"] == "24h"
    assert document["ready"] is True
    assert document["covered"] == 0.25
    assert {row["kpi"] for row in document["kpis"]} >= set(KPIS)
    assert {"rule": "ChurnSpike", "severity": "critical", "labels": {"region": "north"},
            "firing": True} in document["alerts"]  # fmt: skip
    assert document["worst_segments"][0]["worse"] > 0


def _plain(worker: WorkerView, *arguments: str, reason: str = "") -> list[str]:
    """What is printed of a worker, without the time."""
    with serving(lambda: worker, KPIS, reason=reason) as running:
        done = CliRunner().invoke(top, [running.url, "--once", *arguments])
    assert (done.exit_code, done.stderr) == (0, "")
    return [line.partition("Z ")[2] for line in done.stdout.splitlines()]


def test_a_worker_that_is_not_ready_says_why_and_no_lag() -> None:
    reason = "no Kafka broker answers at 127.0.0.1:9092"
    worker = WorkerView(lag={("cx.cart", 0): 0})
    assert _plain(worker, reason=reason) == [f"not ready: {reason}"]
    with serving(lambda: worker, KPIS, reason=reason) as running:
        done = CliRunner().invoke(top, [running.url, "--once", "--json"])
        again = CliRunner().invoke(top, [f"{running.url}/other/metrics", "--once"])
    document = json.loads(done.stdout)
    assert (document["ready"], document["reason"], document["lag"]) == (False, reason, None)
    assert document["topics"] == []
    assert again.exit_code == 2


def test_a_worker_of_several_says_what_it_shows_and_what_has_no_data() -> None:
    samples = (
        Sample("cart_abandonment", "1h", (), 0.5, 0.4, 0.6, 50, 100),
        Sample("cart_recovered", "1h", (), None),
    )
    worker = WorkerView(
        evaluation=Evaluation(1, samples),
        evaluated_ms={"cart_abandonment": 1, "cart_recovered": 1},
        outcomes={("cx.cart", "late"): 0},
        ready=True,
    )
    assert _plain(worker) == [
        "this worker shows cx.cart; for the others see the other workers",
        "cart_abandonment 50.0% (40…60) n=100",
        "no data yet: cart_recovered",
    ]
    assert _plain(WorkerView(ready=True)) == [
        "this worker shows no topic; for the others see the other workers"
    ]


def test_a_worker_that_shows_all_has_nothing_to_explain(server: MetricsServer) -> None:
    done = CliRunner().invoke(top, [server.url, "--once"])
    assert "this worker" not in done.stdout
    assert "no data" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window", "2h"], "window 2h is not exposed; the worker has 5m, 1h, 24h, 7d"),
        (["--by", "shop"], "there are no series by shop; the worker has channel"),
        (["--every", "soon"], "'soon' is not a duration: a whole number and a unit"),
        (["--every", "1ms"], "'1ms' is not in the range 100ms to 24h"),
        (["--every", "999999999999d"], "'999999999999d' is not in the range 100ms to 24h"),
    ],
)
def test_what_the_worker_has_not_is_refused(
    server: MetricsServer, arguments: list[str], message: str
) -> None:
    done = CliRunner().invoke(top, [server.url, "--once", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize("address", ["ftp://x", "127.0.0.1:99999", "127.0.0.1:x", "http://", ":0"])
def test_what_is_no_address_is_refused_with_one_line(address: str) -> None:
    done = CliRunner().invoke(top, [address, "--once"])
    assert done.exit_code == 2
    assert "is no address" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_where_nobody_answers_is_told_in_one_line() -> None:
    port = free_port()
    done = CliRunner().invoke(top, [f"127.0.0.1:{port}"])
    assert done.exit_code == 2
    assert done.stderr == (
        f"Error: http://127.0.0.1:{port} cannot be reached: Connection refused; start"
        " `cxkpi worker`, or give the ADDRESS of one that runs\n"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [("/healthz", "is no cxkpi worker"), ("/nothing", "/nothing answers 404 Not Found")],
)
def test_another_page_is_told_in_one_line(server: MetricsServer, path: str, message: str) -> None:
    done = CliRunner().invoke(top, [server.url + path, "--once"])
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_address_is_that_of_the_configuration(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXKPI_HTTP__PORT", str(server.port))
    monkeypatch.setenv("CXKPI_HTTP__HOST", "0.0.0.0")
    done = CliRunner().invoke(top, ["--once", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["address"] == server.url


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("127.0.0.2", "127.0.0.2"),
    ],
)
def test_a_worker_that_listens_everywhere_is_looked_for_here(
    host: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("CXKPI_HTTP__PORT", str(port))
    monkeypatch.setenv("CXKPI_HTTP__HOST", host)
    done = CliRunner().invoke(top, ["--once"])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: http://{shown}:{port} cannot be reached: ")


@pytest.mark.parametrize(
    ("terminal", "options", "seconds"),
    [
        (True, [], 2),
        (True, ["--every", "3s"], 3),
        (True, ["--json"], 10),
        (False, [], 10),
        (False, ["--every", "100ms"], 0.1),
    ],
)
def test_a_terminal_is_drawn_more_often_than_lines_are_printed(
    server: MetricsServer, terminal: bool, options: list[str], seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    waited = []

    def wait(*arguments: object) -> None:
        waited.append(arguments[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Console, "is_terminal", terminal)
    monkeypatch.setattr(Console, "is_dumb_terminal", False)
    monkeypatch.setattr("stream.cli.top.time", SimpleNamespace(sleep=wait))
    monkeypatch.setattr(Until, "wait", wait)
    done = CliRunner().invoke(top, [server.url, *options])
    assert (done.exit_code, waited) == (0, [seconds])


def test_what_has_changed_since_the_look_before_is_printed_with_each_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = [["A"], ["A", "B"], ["B"], ["B"]]

    def shown() -> WorkerView:
        alerts = tuple(AlertGauge(rule, "warning", (), rule in looks[0]) for rule in "AB")
        return WorkerView(alerts=alerts, ready=True)

    def wait(_: float) -> None:
        if len(looks) == 1:
            raise KeyboardInterrupt
        del looks[0]
        click.echo("Z next")

    monkeypatch.setattr("stream.cli.top.time", SimpleNamespace(sleep=wait))
    with serving(shown, KPIS) as running:
        done = CliRunner().invoke(top, [running.url])
    assert done.exit_code == 0, done.output
    said = [line.partition("Z ")[2] for line in done.stdout.splitlines()]
    assert [
        " ".join(words.split()[:3]) for words in said if words.startswith(("alert", "next"))
    ] == [
        "alert A firing",
        *("next", "alert A firing", "alert B firing"),
        *("next", "alert B firing", "alert A resolved"),
        *("next", "alert B firing"),
    ]


@dataclass
class Terminal:
    """A process in a terminal of 80 columns and 24 rows, and all that it has written."""

    process: subprocess.Popen[bytes]
    fd: int
    seen: str = ""

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Read until the text was written since the last wait."""
        start = len(self.seen)
        deadline = time.monotonic() + seconds
        while text not in self.seen[start:]:
            assert time.monotonic() < deadline, f"{text!r} not in {self.seen[start:]!r}"
            self._read()

    def rest(self) -> str:
        """Read to the end; gives all that was ever written."""
        while self._read():
            pass
        return self.seen

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], 0.5)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # Linux's way to say that the other side is closed.
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [*_TOP, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(
    server: MetricsServer, sent: signal.Signals
) -> None:
    with terminal(server.url, "--every", "200ms") as running:
        running.wait_for("cart_abandonment")
        running.wait_for("events")
        running.process.send_signal(sent)
        written = running.rest()
        assert running.process.wait(timeout=60) == 0
    assert "\x1b[?1049h" in written
    assert "\x1b[?1049l" in written[-200:]
    assert "\x1b[?25h" in written[-200:]
    assert "Traceback" not in written


def test_a_worker_that_goes_and_comes_back_is_told_and_watched_again() -> None:
    port = free_port()
    with ExitStack() as stack:
        with serving(lambda: view(KPIS), KPIS, port=port):
            running = stack.enter_context(terminal(f"127.0.0.1:{port}", "--every", "200ms"))
            running.wait_for("cart_abandonment")
        running.wait_for("cannot be reached")
        running.wait_for("tried again since")
        with serving(lambda: view(KPIS, accepted=777_777), KPIS, port=port):
            running.wait_for("4,666,662")
