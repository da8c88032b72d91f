"""``cxkpi alerts backtest``: what the rules would have done over recorded events."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import click
import orjson
from rich.console import Console

from stream import collector
from stream.backtest.incidents import Incident, IncidentsRefused, read_incidents
from stream.backtest.recording import MOST_SAMPLES, Recording, TooMuch
from stream.backtest.report import Rehearsing, Report, as_json
from stream.cli.configured import config_option, configuration, files_of
from stream.cli.failure import CommandFailed, Problems
from stream.cli.progress import bar
from stream.cli.values import Moment
from stream.cli.written import refuse_overwriting, replacing
from stream.config.errors import suggestion
from stream.core.alerts import rfc3339
from stream.core.settings import Settings
from stream.replay.files import InputError, Reader
from stream.replay.run import Replay


class PerWeek(click.ParamType):
    """A number of alerts a week: ``2`` or ``2/week``."""

    name = "n/week"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error where the text is none."""
        text = str(value).removesuffix("/week")
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1e6:
            self.fail(f"{value!r} is no number of alerts a week, such as 2/week", param, ctx)
        return number


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@config_option
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule; repeatable.")
@click.option(
    "--incidents",
    "incidents_path",
    type=click.Path(readable=False, path_type=Path),
    help="Marked incidents: [[incident]] in a .toml file, or JSON lines.",
)
@click.option(
    "--from",
    "since",
    type=Moment(),
    help="Count alerts from here on; what is before fills the windows. [default: first event]",
)
@click.option("--suggest", "wanted", type=PerWeek(), help="Look for thresholds that give so many.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the report as one page.",
)
@click.option(
    "--max-samples",
    type=click.IntRange(1),
    default=MOST_SAMPLES,
    show_default=True,
    help="Most samples that are kept in memory, about 100 bytes each.",
)
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def backtest(
    files: tuple[str, ...],
    config_path: Path | None,
    names: tuple[str, ...],
    incidents_path: Path | None,
    since: int | None,
    wanted: float | None,
    page: Path | None,
    max_samples: int,
    as_json_: bool,
) -> None:
    """Run the rules over recorded events, and tell what they, and other thresholds, would give.

    FILE is as for replay: JSON lines, - is standard input, .gz and .zst too. With --incidents each
    alert is judged: what it found and how soon, what was false, what was missed.
    """
    # Nothing is sent anywhere, so no secret is needed.
    config = configuration(config_path, needs=())
    settings = _chosen(config.core(), names)
    read: list[str | Path] = [*files, *files_of(config_path, config)]
    read += filter(None, [incidents_path])
    refuse_overwriting(read, {"--html": page})
    collector.tune()
    # That a page can't be written is said before minutes of reading, not after.
    with nullcontext() if page is None else replacing(page) as file:
        try:
            incidents = None
            if incidents_path is not None:
                incidents = read_incidents(incidents_path, settings.dimensions)
            report = _rehearsed(files, settings, incidents, since, wanted, max_samples)
        except IncidentsRefused as error:
            raise Problems(str(error)) from error
        except (InputError, TooMuch) as error:
            raise CommandFailed(str(error)) from error
        _print(report, as_json_=as_json_)
        if file is not None:
            file.write(_page(report).encode())


def _page(report: Report) -> str:
    from stream.backtest.page import page

    return page(report)


def _print(report: Report, *, as_json_: bool) -> None:
    if as_json_:
        click.echo(orjson.dumps(as_json(report)).decode())
        return
    from stream.backtest.screen import show

    console = Console()
    show(report, console if console.is_terminal else Console(width=160, file=sys.stdout))


def _chosen(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings with the named rules only."""
    known = [rule.name for rule in settings.rules]
    if not known:
        raise CommandFailed("there is no [[alert]] in the configuration")
    for name in names:
        if name not in known:
            raise CommandFailed(f"--rule {name!r}: no such rule; {suggestion(name, known)}")
    if not names:
        return settings
    return replace(settings, rules=tuple(r for r in settings.rules if r.name in names))


def _rehearsed(
    files: Sequence[str],
    settings: Settings,
    incidents: Sequence[Incident] | None,
    since: int | None,
    wanted: float | None,
    most: int,
) -> Report:
    """Read all files and judge the rules; bars on a terminal show how far it is."""
    recording = Recording(settings, most)
    run = Replay(settings, alerts=True, watch=recording.take)
    with Reader(files) as reader, bar("Reading", reader.size) as advance:
        for batch in reader.batches():
            run.feed(batch)
            advance(reader.consumed, "")
        changes = run.finish_alerts()
    for limit in run.limits_reached():
        click.echo(limit, err=True)
    span = _span(run.span, since)
    rehearsing = Rehearsing(settings, recording, changes, span, incidents)
    done = count(1)
    with bar("Trying thresholds", rehearsing.work) as advance:
        return rehearsing.report(wanted, lambda: advance(next(done), ""))


def _span(whole: tuple[int, int] | None, since: int | None) -> tuple[int, int]:
    """The time in which alerts count."""
    if whole is None:
        raise CommandFailed("there is no accepted event in the input")
    if since is None or since < whole[0]:
        return whole
    if since >= whole[1]:
        raise CommandFailed(f"--from is not before the last event, {rfc3339(whole[1])}")
    return since, whole[1]
