"""``cxkpi replay``: recorded events through the same core, without Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from stream import collector
from stream.cli.configured import config_option, configuration
from stream.cli.replay_lines import LineOptions, Lines, open_lines
from stream.cli.replay_output import print_alerts, print_samples
from stream.cli.replay_reading import (
    ReplayFailed,
    opened,
    outcomes_said,
    reading,
    refuse_overwriting,
)
from stream.cli.values import Duration
from stream.cli.written import opened_for_writing
from stream.core.event import Refused
from stream.core.timestamps import parse
from stream.replay.rows import FORMATS, Format
from stream.replay.run import Reject, Replay
from stream.replay.timeline import TimeLine


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@config_option
@click.option(
    "--at", "at_text", metavar="RFC3339", help="Time of the windows. [default: last event]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and the outcomes as JSON too.")
@click.option("--alerts", is_flag=True, help="Print the changes of alerts instead of the KPIs.")
@click.option(
    "--every",
    type=Duration(),
    help="Print a time line: all series at every multiple of so long, such as 1h, and at the end.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="How rows are written. [default: as --output ends, else jsonl]",
)
@click.option("--output", metavar="FILE", help="Write rows to a file. [default: standard output]")
@click.option(
    "--openmetrics",
    metavar="FILE",
    help="Write the time line as OpenMetrics text, to fill a Prometheus with it; - prints it.",
)
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
    every: int | None,
    kind: Format | None,
    output: str | None,
    openmetrics: str | None,
    rejects: Path | None,
) -> None:
    """Run recorded events (JSON lines; - is standard input; .gz and .zst too) through the core.

    Prints every KPI series at the time of the last event, or at --at; with --every a time line.
    """
    # Nothing is sent anywhere, so no secret is needed.
    config = configuration(config_path, needs=())
    settings = config.core()
    at = moment(at_text)
    options = LineOptions(every, kind, output, openmetrics)
    options.check(alerts=alerts)
    refuse_overwriting(files, {"--rejects": rejects, **options.written()})
    collector.tune()
    with ExitStack() as stack:
        reader = stack.enter_context(opened(files))
        reject = stack.enter_context(_rejects(rejects)) if rejects else None
        lines = stack.enter_context(open_lines(options, settings.dimensions))
        line = None if every is None else TimeLine(settings, every, lines.write)
        run = Replay(settings, at, alerts=alerts, line=line, reject=reject)
        with reading(reader, run, quiet=lines.on_terminal):
            run.finish_line()
        evaluation = run.evaluation() if options.are_wanted and line is None else None
        if evaluation is not None:
            lines.take(evaluation)
    if alerts:
        if not config.alerts:
            click.echo("There is no [[alert]] in the configuration.", err=True)
        print_alerts(run.alert_rows(), as_json)
    elif not options.are_wanted:
        print_samples(run.samples(), as_json)
    _tell(run, lines if options.are_wanted else None, as_json)


def _tell(run: Replay, lines: Lines | None, as_json: bool) -> None:
    """Say on standard error what was read, and what was written of it."""
    if as_json:
        outcomes = {o: n for o, n in run.outcomes().items() if n}
        click.echo(json.dumps({"outcomes": outcomes}), err=True)
        return
    if lines is not None:
        click.echo(f"{lines.rows:,} rows at {lines.points:,} points in time", err=True)
    click.echo(outcomes_said(run), err=True)


def moment(text: str | None) -> int | None:
    """The time of ``--at`` in ms.

    Raises:
        ReplayFailed: it is no date-time.
    """
    try:
        return None if text is None else parse(text)
    except Refused as error:
        raise ReplayFailed(f"--at {text!r} {error}") from error


@contextmanager
def _rejects(path: Path) -> Iterator[Callable[[Reject], None]]:
    with opened_for_writing(path) as file:
        yield lambda reject: _write(file.write, reject)


def _write(write: Callable[[bytes], Any], reject: Reject) -> None:
    write(orjson.dumps(reject.row()) + b"\n")
