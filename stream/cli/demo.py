"""``cxkpi demo``: all of it in one command."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from stream.broker import BrokerError
from stream.cli.values import Duration
from stream.core.catalogue import KPIS
from stream.demo.demo import SPIKE_AFTER_SECONDS, Demo, DemoFailed
from stream.top.address import Address, Unreachable
from stream.top.session import Session
from stream.top.snapshot import NotExposed, NoWorker
from stream.top.trends import Change

_PLAIN_SECONDS = 10.0
_LIVE_SECONDS = 2.0
#: The first KPIs are there once the history was read.
_FIRST_SECONDS = 60


class CannotDemo(click.ClickException):
    """A part did not start; one line, exit code 2."""

    exit_code = 2


@click.command()
@click.option("--for", "lasting", type=Duration(), help="End after so long. [default: on Ctrl-C]")
@click.option(
    "--rate", type=click.FloatRange(1, 5000), default=100.0, show_default=True, help="Events/s."
)
def demo(lasting: int | None, rate: float) -> None:
    """Start a broker, a worker and generated events, and watch the KPIs; Ctrl-C ends it all.

    There is an hour of history. A churn spike comes in region eu, and its alert fires within two
    minutes.
    """
    console = Console(highlight=False, soft_wrap=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="cxkpi-demo-") as folder:
            with Demo(Path(folder), rate, lambda line: click.echo(line, err=True)) as running:
                _announce(running)
                timer = threading.Timer(lasting / 1000 if lasting else 1e6, stop.set)
                timer.daemon = True
                timer.start()
                _watch(running, console, stop)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except (BrokerError, DemoFailed) as error:
        raise CannotDemo(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Ended.", err=True)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _announce(running: Demo) -> None:
    click.echo(f"Metrics at {running.url}/metrics; logs in {running.folder}", err=True)
    click.echo(
        f"A churn spike begins in region eu in {SPIKE_AFTER_SECONDS} s; Ctrl-C ends everything.",
        err=True,
    )


def _watch(running: Demo, console: Console, stop: threading.Event) -> None:
    session = Session(Address.parse(running.url), KPIS, window="5m", by=("region",))
    changes = _first_look(session, running, stop)
    if console.is_terminal and not console.is_dumb_terminal:
        with suppress(KeyboardInterrupt):
            session.live(console, _LIVE_SECONDS, stop)
        return
    while True:
        for line in session.lines(changes):
            click.echo(line)
        sys.stdout.flush()
        if stop.wait(_PLAIN_SECONDS):
            return
        running.check()
        changes = session.poll()


def _first_look(session: Session, running: Demo, stop: threading.Event) -> list[Change]:
    """Wait until there is something to see."""
    deadline = time.monotonic() + _FIRST_SECONDS
    while True:
        running.check()
        try:
            return session.poll()
        except (NoWorker, NotExposed, Unreachable):
            if time.monotonic() > deadline or stop.wait(0.5):
                raise
