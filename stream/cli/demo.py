"""``cxkpi demo``: all of it in one command."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stream.cli.failure import CommandFailed
from stream.cli.signals import ended_by_signals
from stream.cli.values import Duration, Rate
from stream.core.settings import SECOND

if TYPE_CHECKING:
    from stream.demo.demo import Demo
    from stream.top.session import Session
    from stream.top.trends import Change
    from stream.top.until import Until

_PLAIN_SECONDS: Final = 10.0
_LIVE_SECONDS: Final = 2.0
#: The first KPIs are there once the history was read; a loaded machine takes its time.
_FIRST_SECONDS: Final = 120
_FIRST_POLL_SECONDS: Final = 0.5
#: More events than come in so long wait while the history is read, but not afterwards.
_BEHIND_SECONDS: Final = 5


@click.command()
@click.option(
    "--for", "lasting", type=Duration(least_ms=SECOND),
    help="End after so long. [default: on Ctrl-C]",
)  # fmt: skip
@click.option(
    "--rate",
    type=Rate(10, 5000),
    default=100.0,
    show_default=True,
    help="Events per second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each look.")
def demo(lasting: int | None, rate: float, *, as_json: bool) -> None:
    """Start a broker, a worker and generated events, and watch the KPIs.

    There is an hour of history. Soon a churn spike comes in one region, and its alert fires within
    two minutes. --for counts from when everything runs. Ctrl-C ends it all; nothing is kept.
    """
    from stream.broker import BrokerError
    from stream.demo.demo import Demo, DemoFailed
    from stream.top.session import LOST

    summary: list[str] = []
    try:
        with (
            ended_by_signals() as ignore,
            tempfile.TemporaryDirectory(prefix="cxkpi-demo-") as folder,
            Demo(Path(folder), rate, _tell) as running,
        ):
            _announce(running)
            try:
                seconds = math.inf if lasting is None else lasting / 1000
                summary = _watch(running, seconds, as_json=as_json)
            finally:
                ignore()
                _tell("Ending")
    except (BrokerError, DemoFailed, *LOST) as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        return
    for line in summary:
        click.echo(line, err=as_json)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _announce(running: Demo) -> None:
    from stream.top.screen import clock

    _tell(f"Metrics at {running.url}/metrics; logs in {running.folder}")
    at = clock(running.spike_at)
    _tell(f"A churn spike begins in region {running.region} at {at}; Ctrl-C ends everything")


def _watch(running: Demo, lasting: float, *, as_json: bool) -> list[str]:
    """Show the KPIs until the time is over or Ctrl-C; gives lines on what has happened."""
    # rich is slow to import, and --help must come at once.
    from rich.console import Console

    from stream.core.catalogue import KPIS
    from stream.top.address import Address
    from stream.top.session import Session
    from stream.top.until import Until

    console = Console(highlight=False, soft_wrap=True)
    until = Until(lasting)
    session = Session(Address.parse(running.url), KPIS, window="5m")
    session.screen.footer = lambda: _footer(running)
    with suppress(KeyboardInterrupt):
        changes = _first_look(session, running, until)
        if console.is_terminal and not console.is_dumb_terminal and not as_json:
            session.live(console, _LIVE_SECONDS, until, running.check)
        else:
            _print(session, changes, running, until, as_json=as_json)
    return [] if session.trends.latest is None else list(_summary(session, running))


def _first_look(session: Session, running: Demo, until: Until) -> list[Change]:
    """Wait until there is something to see: the history was read."""
    from rich.console import Console

    from stream.top.session import LOST
    from stream.top.trends import totals
    from stream.top.until import Until

    given_up = Until(_FIRST_SECONDS)
    errors = Console(stderr=True, highlight=False)
    status: Any = errors.status("Reading the history") if errors.is_terminal else nullcontext()
    with status:
        while True:
            running.check()
            try:
                changes = session.poll()
            except LOST:
                if given_up.is_over or until.is_over:
                    raise
            else:
                seen = session.latest
                # What is active is known from the first; the window's own events come last.
                known = [s.value is not None for s in totals(seen, session.kpis)]
                if sum(known) > len(known) / 2 or given_up.is_over or until.is_over:
                    return changes
                if errors.is_terminal:
                    counted = sum(seen.events.values())
                    status.update(f"Reading the history: {counted:,.0f} events")
            until.wait(_FIRST_POLL_SECONDS)


def _print(
    session: Session, changes: list[Change], running: Demo, until: Until, *, as_json: bool
) -> None:
    """Print lines, or a JSON object, for each look."""
    from stream.top.session import LOST

    while True:
        if waiting := _waiting(session.latest.lag, running.rate):
            _tell(waiting)
        if as_json:
            click.echo(json.dumps(session.document(), ensure_ascii=False))
        else:
            for line in session.lines(changes):
                click.echo(line)
        sys.stdout.flush()
        if until.wait(_PLAIN_SECONDS):
            with suppress(*LOST):  # An alert since the last look is among what is told at the end.
                session.poll()
            return
        running.check()
        try:
            changes = session.poll()
        except LOST as error:
            _tell(f"{error}; trying again")


def _waiting(lag: float | None, events_per_second: float) -> str | None:
    """Why the KPIs are not yet what they will be; None where all was read."""
    if lag is None or lag <= _BEHIND_SECONDS * events_per_second:
        return None
    return f"Catching up: {lag:,.0f} events still wait, so the KPIs are of a part of the history"


def _footer(running: Demo) -> str:
    """What to press, where the metrics are, and what is about to happen."""
    from stream.top.screen import clock

    what, when = ("up", "since") if time.time() >= running.spike_at else ("spike", "at")
    spike = f"churn {what} in {running.region} {when} {clock(running.spike_at)}"
    return f"Ctrl-C ends · {running.url}/metrics · {spike}"


def _summary(session: Session, running: Demo) -> Iterator[str]:
    """What stays on the screen: how much was counted, and which alerts changed when."""
    from stream.top.screen import clock, labels_text

    counted = sum(session.latest.events.values())
    yield f"{counted:,.0f} events were counted."
    changes = session.trends.changes
    for change in changes:
        rule, _, labels = change.alert
        what = "fired" if change.firing else "was resolved"
        line = f"{rule} {labels_text(labels)} {what} at {clock(change.seen)}"
        after = change.seen - running.spike_at
        if rule == running.SPIKE_RULE and change.firing:
            line += f", {after:.0f} s after the spike began"
        yield f"{line}."
    if not changes:
        began = "began" if time.time() >= running.spike_at else "begins"
        yield f"No alert has fired; the churn spike {began} at {clock(running.spike_at)}."
