"""What ``cxkpi replay`` prints for people, and as JSON: series and changes of alerts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click
import orjson
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from stream.core.escape import escaped
from stream.core.series import Sample


def print_samples(samples: list[Sample], as_json: bool) -> None:
    """Every series with its numbers."""
    if as_json:
        click.echo(orjson.dumps([s.row() for s in samples]).decode())
        return
    if not samples:
        return
    numbers = ("value", "lower", "upper", "numerator", "denominator")
    rows = [
        {
            "KPI": s.kpi,
            "window": s.window,
            "labels": labels_text(dict(s.labels)),
            **{name: number(getattr(s, name)) for name in numbers},
        }
        for s in samples
    ]
    print_table(rows, console(), right=numbers, spare=("denominator", "numerator"))


def print_alerts(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Every change of an alert."""
    if as_json:
        click.echo(orjson.dumps(rows).decode())
        return
    if not rows:
        return
    told = [
        {
            "at": r["at"],
            "rule": escaped(r["rule"]),
            "severity": escaped(r["severity"]),
            "labels": labels_text(r["labels"]),
            "change": f"{r['from']} → {r['to']}",
            "value": number(r["value"]),
            "threshold": number(r["threshold"]),
        }
        for r in rows
    ]
    print_table(told, console(), right=("value", "threshold"), spare=("severity", "threshold"))


def print_table(
    rows: Sequence[Mapping[str, str]],
    screen: Console,
    *,
    right: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Rows below the names of their columns, no wider than ``screen`` if that can be.

    Where there is no room, ``labels`` are broken at their commas, then the columns of ``spare`` are
    left out, the first one first. No name and no number is cut.
    """
    names = list(rows[0])
    widths = {n: max(cell_len(n), *(cell_len(row[n]) for row in rows)) for n in names}
    whole = sum(widths[n] + 2 for n in names) - 2 <= screen.width
    if not whole and "labels" in names:
        parts = (part for row in rows for part in row["labels"].split(","))
        widths["labels"] = max(len("labels"), *(cell_len(part) + 1 for part in parts))
    for name in spare:
        if sum(widths[n] + 2 for n in names) - 2 > screen.width:
            names.remove(name)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        aligned: JustifyMethod = "right" if name in right else "left"
        foldable = name == "labels" and not whole
        table.add_column(name, justify=aligned, no_wrap=not foldable, overflow="fold")
    for row in rows:
        cells = (row[n] if whole or n != "labels" else row[n].replace(",", ", ") for n in names)
        table.add_row(*map(Text, cells))
    screen.print(table)


def console() -> Console:
    """Standard output; a table in a file or a pipe is as wide as it needs to be."""
    found = Console()
    return found if found.is_terminal else Console(width=200, file=sys.stdout)


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as they can be shown whatever they hold: no control characters."""
    return escaped(",".join(f"{k}={v}" for k, v in labels.items()))


def number(value: float | None) -> str:
    """A number of six digits, or all that stand before the point; or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else f"{value:,.6g}"
