"""``cxkpi replay``: recorded events through the same core, without Kafka."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream import collector
from stream.cli.configured import config_option, configuration
from stream.core.event import Refused
from stream.core.series import Sample
from stream.core.timestamps import parse
from stream.replay.files import InputError, Reader
from stream.replay.run import Reject, Replay


class ReplayFailed(click.ClickException):
    """The input can't be used; one line, exit code 2."""

    exit_code = 2


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@config_option
@click.option(
    "--at", "at_text", metavar="RFC3339", help="Time of the windows. [default: last event]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and the outcomes as JSON too.")
@click.option("--alerts", is_flag=True, help="Print the changes of alerts instead of the KPIs.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a JSON line for each record that was not accepted.",
)
def replay(
    files: tuple[str, ...],
    config_path: Path | None,
    at_text: str | None,
    as_json: bool,
    alerts: bool,
    rejects: Path | None,
) -> None:
    """Run recorded events (JSON lines; - is standard input; .gz and .zst too) through the core.

    Prints every KPI series at the time of the last event, or at --at.
    """
    # Nothing is sent anywhere, so no secret is needed.
    config = configuration(config_path, needs=())
    at = _moment(at_text)
    collector.tune()
    try:
        with ExitStack() as stack:
            reject = stack.enter_context(_rejects(rejects)) if rejects else None
            run = Replay(config.core(), at, alerts=alerts, reject=reject)
            _read(files, run)
    except InputError as error:
        raise ReplayFailed(str(error)) from error
    if alerts:
        if not config.alerts:
            click.echo("There is no [[alert]] in the configuration.", err=True)
        _print_alerts(run.alert_rows(), as_json)
    else:
        _print_samples(run.samples(), as_json)
    outcomes = {o: n for o, n in run.outcomes().items() if n}
    if as_json:
        click.echo(json.dumps({"outcomes": outcomes}), err=True)
    else:
        said = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()) or "no records"
        click.echo(said, err=True)


def _moment(text: str | None) -> int | None:
    try:
        return None if text is None else parse(text)
    except Refused as error:
        raise ReplayFailed(f"--at {text!r} {error}") from error


@contextmanager
def _rejects(path: Path) -> Iterator[Callable[[Reject], None]]:
    try:
        file = path.open("wb")
    except OSError as error:
        raise ReplayFailed(f"{path}: {(error.strerror or str(error)).lower()}") from error
    with file:
        yield lambda reject: _write(file.write, reject)


def _write(write: Callable[[bytes], Any], reject: Reject) -> None:
    write(orjson.dumps(reject.row()) + b"\n")


def _read(files: tuple[str, ...], run: Replay) -> None:
    """Feed all files; a bar on a terminal shows how far it is."""
    console = Console(stderr=True)
    columns = (TextColumn("Reading"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with (
        Reader(files) as reader,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("", total=reader.size)
        for batch in reader.batches():
            run.feed(batch)
            bar.update(task, completed=reader.consumed)


def _print_samples(samples: list[Sample], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps([s.row() for s in samples]).decode())
        return
    if not samples:
        return
    table = Table("KPI", "window", "labels", box=None, pad_edge=False)
    for name in ("value", "lower", "upper", "numerator", "denominator"):
        table.add_column(name, justify="right")
    for s in samples:
        labels = ",".join(f"{k}={v}" for k, v in s.labels)
        numbers = (s.value, s.lower, s.upper, s.numerator, s.denominator)
        table.add_row(s.kpi, s.window, labels, *map(_number, numbers))
    _console().print(table)


def _print_alerts(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(rows).decode())
        return
    if not rows:
        return
    table = Table("at", "rule", "severity", "labels", "change", box=None, pad_edge=False)
    for name in ("value", "threshold"):
        table.add_column(name, justify="right")
    for r in rows:
        labels = ",".join(f"{k}={v}" for k, v in r["labels"].items())
        change = f"{r['from']} → {r['to']}"
        numbers = (_number(r["value"]), _number(r["threshold"]))
        table.add_row(r["at"], r["rule"], r["severity"], labels, change, *numbers)
    _console().print(table)


def _console() -> Console:
    """Standard output; a table in a file or a pipe is as wide as it needs to be."""
    console = Console()
    return console if console.is_terminal else Console(width=200, file=sys.stdout)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.6g}"
