"""``cxkpi top``: a worker's KPIs, live in the terminal."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.values import Duration
from stream.core.catalogue import KPIS
from stream.core.settings import DAY, SECOND
from stream.top.address import Address, BadAddress, Unreachable
from stream.top.snapshot import NotExposed, NoWorker

if TYPE_CHECKING:
    from rich.console import Console

    from stream.top.session import Session
    from stream.top.trends import Change

#: Hosts that a worker listens on, but that nobody connects to, and what to take for them.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
_LIVE_MS = 2_000
_PLAIN_MS = 10_000


@click.command()
@click.argument("address", required=False)
@click.option("--window", metavar="WINDOW", help="The window to show, such as 5m; by default 1h.")
@click.option("--by", metavar="LABELS", help="Segments by this label, or several with commas.")
@config_option
@click.option(
    "--every",
    "every_ms",
    type=Duration(least_ms=100, most_ms=DAY),
    help="How often to look: 2s, or 10s without a terminal.",
)
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each look.")
def top(
    address: str | None,
    window: str | None,
    by: str | None,
    config_path: Path | None,
    every_ms: int | None,
    *,
    once: bool,
    as_json: bool,
) -> None:
    """Watch the KPIs of the worker at ADDRESS: host:port or URL, by default that of [http] in the
    configuration.

    Shows each KPI with its 95% bounds and its trend since the start, the segments that are worst
    beside the total, alerts as they change, and how records come in. Without a terminal it prints
    plain lines. Ctrl-C ends it.
    """
    # rich is slow to import, and --help must come at once.
    from rich.console import Console

    from stream.top.session import Session
    from stream.top.until import Until

    labels = tuple(label.strip() for label in by.split(",")) if by else None
    console = Console(highlight=False, soft_wrap=True)
    try:
        session = Session(_address(address, config_path), KPIS, window=window, by=labels)
        changes = session.poll()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        live = console.is_terminal and not console.is_dumb_terminal and not as_json
        interval = (every_ms or (_LIVE_MS if live else _PLAIN_MS)) / SECOND
        if live and not once:
            session.live(console, interval, Until())
        else:
            _follow(session, console, changes, None if once else interval, as_json=as_json)
    except (BadAddress, Unreachable, NoWorker, NotExposed) as error:
        raise CommandFailed.of(error) from error
    except KeyboardInterrupt:
        if once:
            raise


def _address(text: str | None, config_path: Path | None) -> Address:
    if text is not None:
        return Address.parse(text)
    http = configuration(config_path, needs=()).http
    return Address(_ANY.get(http.host, http.host), http.port)


def _follow(
    session: Session,
    console: Console,
    changes: list[Change],
    interval: float | None,
    *,
    as_json: bool,
) -> None:
    """Print what each look shows; without an interval the first look only."""
    while True:
        if as_json:
            click.echo(json.dumps(session.document(), ensure_ascii=False))
        elif console.is_terminal and not console.is_dumb_terminal:
            for line in session.screen.lines(console.width, None):
                console.print(line)
        else:
            for text in session.lines(changes):
                click.echo(text)
        if interval is None:
            return
        while True:
            time.sleep(interval)
            try:
                changes = session.poll()
                break
            except (Unreachable, NoWorker, NotExposed) as error:
                click.echo(f"{error}; trying again", err=True)
