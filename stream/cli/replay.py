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
from stream.cli.configured import config_option, configuration, files_of
from stream.cli.failure import CommandFailed
from stream.cli.replay_lines import STANDARD_OUTPUT, LineOptions, Lines, open_lines
from stream.cli.replay_output import print_alerts, print_samples
from stream.cli.replay_reading import (
    at_option,
    opened,
    outcomes_said,
    reading,
)
from stream.cli.values import Duration
from stream.cli.written import opened_for_writing, refuse_overwriting
from stream.core.alerts.quantities import counted
from stream.core.settings import Settings
from stream.core.timestamps import format_ms
from stream.replay.rows import FORMATS, Format
from stream.replay.run import Reject, Replay
from stream.replay.timeline import TimeLine

#: Outcomes that need no hint at the reason.
_NO_SURPRISE = frozenset({"accepted", "duplicate"})


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@config_option
@at_option
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
    metavar="FILE",
    help="Write a JSON line for each record that was not accepted; - prints them, not the KPIs.",
)
def replay(
    files: tuple[str, ...],
    config_path: Path | None,
    at: int | None,
    as_json: bool,
    alerts: bool,
    every: int | None,
    kind: Format | None,
    output: str | None,
    openmetrics: str | None,
    rejects: str | None,
) -> None:
    """Run recorded events (JSON lines; - is standard input; .gz and .zst too) through the core.

    Prints every KPI series at the time of the last event, or at --at; with --every a time line.
    """
    # Nothing is sent anywhere, so no secret is needed.
    config = configuration(config_path, needs=())
    settings = config.core()
    options = LineOptions(every, kind, output, openmetrics)
    options.check(alerts=alerts)
    printed = rejects == STANDARD_OUTPUT
    if printed and (alerts or as_json or options.prints_rows or openmetrics == STANDARD_OUTPUT):
        raise CommandFailed("--rejects -: something else is printed already; name a file")
    rejected = None if rejects is None or printed else Path(rejects)
    read: list[str | Path] = [*files, *files_of(config_path, config)]
    refuse_overwriting(read, {"--rejects": rejected, **options.written()})
    collector.tune()
    with ExitStack() as stack:
        reader = stack.enter_context(opened(files))
        reject = stack.enter_context(_rejects(rejected)) if rejects else None
        lines = stack.enter_context(open_lines(options, settings.dimensions))
        line = None if every is None else TimeLine(settings, every, lines.write)
        run = Replay(settings, at, alerts=alerts, line=line, reject=reject)
        with reading(reader, run, quiet=lines.on_terminal or printed):
            run.finish_line()
        last = run.now
        evaluation = run.evaluation() if options.are_wanted and line is None else None
        if evaluation is not None:
            lines.take(evaluation)
    if alerts:
        if not config.alerts:
            click.echo("There is no [[alert]] in the configuration.", err=True)
        print_alerts(run.alert_rows(), as_json)
    elif not options.are_wanted and not printed:
        print_samples(run.samples(), as_json)
    _tell(run, lines if options.are_wanted else None, as_json)
    if not as_json:
        _hint(run, settings, last, has_rejects=rejects is not None)


def _hint(run: Replay, settings: Settings, last: int | None, *, has_rejects: bool) -> None:
    """Say on standard error what explains a result that is poorer than expected.

    ``last``: the time of the last event in ms.
    """
    longest = max(settings.windows, key=lambda window: window.size_ms)
    if run.at is not None and last is not None and run.at >= last + longest.size_ms:
        said = f"the last event, {format_ms(last)}, is older than the longest window"
        click.echo(f"All windows are empty at --at: {said}, {longest.label}", err=True)
    refused = sum(n for outcome, n in run.outcomes().items() if outcome not in _NO_SURPRISE)
    if refused and not has_rejects:
        click.echo("--rejects - lists what was not accepted, and why", err=True)


def _tell(run: Replay, lines: Lines | None, as_json: bool) -> None:
    """Say on standard error what was read, and what was written of it."""
    for limit in run.limits_reached():
        click.echo(limit, err=True)
    if as_json:
        outcomes = {o: n for o, n in run.outcomes().items() if n}
        click.echo(json.dumps({"outcomes": outcomes}), err=True)
        return
    if lines is not None:
        points = counted(lines.points, "point")
        click.echo(f"{counted(lines.rows, 'row')} at {points} in time", err=True)
    click.echo(outcomes_said(run), err=True)


@contextmanager
def _rejects(path: Path | None) -> Iterator[Callable[[Reject], None]]:
    """Writes rejects to a file, or without one to standard output."""
    if path is None:
        out = click.get_binary_stream("stdout")
        yield lambda reject: _write(out.write, reject)
        out.flush()
        return
    with opened_for_writing(path) as file:
        yield lambda reject: _write(file.write, reject)


def _write(write: Callable[[bytes], Any], reject: Reject) -> None:
    write(orjson.dumps(reject.row()) + b"\n")
