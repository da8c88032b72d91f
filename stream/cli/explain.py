"""``cxkpi explain``: why a value is what it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click
import orjson

from stream import collector
from stream.cli.configured import config_option, configuration
from stream.cli.explain_output import show
from stream.cli.failure import CommandFailed
from stream.cli.replay_reading import at_option, opened, outcomes_said, reading
from stream.config import durations
from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.core.settings import Settings, Window
from stream.replay.explain import NoSuchSeries
from stream.replay.explain import explain as explained
from stream.replay.run import Replay


@click.command()
@click.argument("kpi_id", metavar="KPI")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@config_option
@click.option("--window", "window_label", help="Which window. [default: the longest]")
@click.option(
    "--labels",
    "label_texts",
    multiple=True,
    metavar="k=v,…",
    help="Which series. [default: the total]",
)
@at_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    kpi_id: str,
    files: tuple[str, ...],
    config_path: Path | None,
    window_label: str | None,
    label_texts: tuple[str, ...],
    at: int | None,
    as_json: bool,
) -> None:
    """Say why a KPI has its value, from recorded events (as replay reads them).

    Value, bounds and formula with the numbers put in, the segments that weigh most, and what would
    change it.
    """
    settings = configuration(config_path, needs=()).core()
    kpi = _kpi(kpi_id)
    window = _window(settings, window_label)
    labels = _labels(label_texts, (*settings.dimensions, *kpi.labels))
    run = Replay(settings, at)
    collector.tune()
    with opened(files) as reader, reading(reader, run):
        pass
    for limit in run.limits_reached():
        click.echo(limit, err=True)
    if run.end is None:
        raise CommandFailed(f"nothing to explain: no record was accepted ({outcomes_said(run)})")
    try:
        explanation = explained(run, settings, kpi, window, labels, run.end)
    except NoSuchSeries as error:
        raise CommandFailed(str(error)) from error
    if as_json:
        click.echo(orjson.dumps(explanation.data()).decode())
    else:
        show(explanation)


def _kpi(name: str) -> Kpi:
    if name not in KPIS:
        raise CommandFailed(_unknown("KPI", name, list(KPIS)))
    return KPIS[name]


def _window(settings: Settings, label: str | None) -> Window:
    if label is None:
        return max(settings.windows, key=lambda window: window.size_ms)
    windows = {window.label: window for window in settings.windows}
    found = windows.get(_canonical(label))
    if found is None:
        raise CommandFailed(_unknown("window", label, list(windows)))
    return found


def _canonical(label: str) -> str:
    """``24h`` for ``1d``: a window of that length, whatever it is called."""
    try:
        return durations.label(durations.parse(label))
    except ValueError:
        return label


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown {what} {name!r}; {hint}there is {', '.join(known)}"


def _labels(texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Pairs of ``k=v``. A value may hold a comma, unless one of the names and ``=`` follow it."""
    between = re.compile(rf",(?=(?:{'|'.join(map(re.escape, names))})=)")
    labels: dict[str, str] = {}
    for text in texts:
        for pair in between.split(text):
            name, equals, value = pair.partition("=")
            if not equals or not name or not value or name in labels:
                raise CommandFailed(f"--labels {text!r}: want name=value,…, each name once")
            labels[name] = value
    return labels
