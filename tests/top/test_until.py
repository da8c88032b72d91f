"""Waiting while a worker is watched: for a time, until an end, and without locks."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from stream.cli import cli
from stream.core.catalogue import KPIS
from stream.top.address import Address
from stream.top.session import Session
from stream.top.until import Until
from tests.metrics.serving import serving
from tests.metrics.views import view


def test_a_wait_is_no_longer_than_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 100 + sum(slept), sleep=slept.append)
    monkeypatch.setattr("stream.top.until.time", clock)
    until = Until(4)
    assert not until.wait(1)
    assert until.wait(60)
    assert until.is_over
    assert until.wait(60), "it is over at once"
    assert slept == [1, 3, 0]


def test_without_an_end_it_is_never_over() -> None:
    until = Until()
    assert not until.wait(0.001)
    assert not until.is_over


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A worker's address; whoever waits for a lock here meets what a signal may make of it."""
    wait, here = threading.Condition.wait, threading.get_ident()

    def waiting(self: threading.Condition, timeout: float | None = None) -> bool:
        if threading.get_ident() == here:
            raise RuntimeError("release unlocked lock")
        return wait(self, timeout)

    with serving(lambda: view(KPIS), KPIS) as running, monkeypatch.context() as patched:
        patched.setattr(threading.Condition, "wait", waiting)
        yield running.url


def test_the_live_view_waits_without_a_lock_that_ctrl_c_could_break(worker: str) -> None:
    written = io.StringIO()
    session = Session(Address.parse(worker), KPIS)
    session.poll()
    session.live(Console(file=written, force_terminal=True), 0.1, Until(0.3))
    assert "cart_abandonment" in written.getvalue()


def test_ctrl_c_between_two_looks_at_plain_lines_is_its_usual_end(
    worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, here = time.sleep, threading.get_ident()

    def sleeping(seconds: float) -> Any:
        if threading.get_ident() == here:
            raise KeyboardInterrupt
        sleep(seconds)

    with monkeypatch.context() as patched:
        patched.setattr(time, "sleep", sleeping)
        done = CliRunner().invoke(cli, ["top", worker])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "cart_abandonment" in done.stdout
