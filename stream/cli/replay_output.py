"""What ``cxkpi replay`` prints for people, and as JSON: series and changes of alerts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.core.series import Sample
from stream.deadletters.escape import printable


def print_samples(samples: list[Sample], as_json: bool) -> None:
    """Every series with its numbers."""
    if as_json:
        click.echo(orjson.dumps([s.row() for s in samples]).decode())
        return
    if not samples:
        return
    table = Table("KPI", "window", "labels", box=None, pad_edge=False)
    for name in ("value", "lower", "upper", "numerator", "denominator"):
        table.add_column(name, justify="right")
    for s in samples:
        numbers = (s.value, s.lower, s.upper, s.numerator, s.denominator)
        table.add_row(s.kpi, s.window, labels_text(dict(s.labels)), *map(number, numbers))
    console().print(table)


def print_alerts(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Every change of an alert."""
    if as_json:
        click.echo(orjson.dumps(rows).decode())
        return
    if not rows:
        return
    table = Table("at", "rule", "severity", "labels", "change", box=None, pad_edge=False)
    for name in ("value", "threshold"):
        table.add_column(name, justify="right")
    for r in rows:
        change = f"{r['from']} → {r['to']}"
        numbers = (number(r["value"]), number(r["threshold"]))
        labels = labels_text(r["labels"])
        table.add_row(r["at"], r["rule"], r["severity"], labels, change, *numbers)
    console().print(table)


def console() -> Console:
    """Standard output; a table in a file or a pipe is as wide as it needs to be."""
    found = Console()
    return found if found.is_terminal else Console(width=200, file=sys.stdout)


def labels_text(labels: Mapping[str, str]) -> Text:
    """Labels as they can be shown whatever they hold: no markup, no control characters."""
    return Text(printable(",".join(f"{k}={v}" for k, v in labels.items())))


def number(value: float | None) -> str:
    """A number of six digits, or nothing."""
    return "" if value is None else f"{value:,.6g}"
