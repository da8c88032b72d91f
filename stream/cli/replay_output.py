"""What ``cxkpi replay`` prints for people, and as JSON: series and changes of alerts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import click
import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from stream.core.escape import escaped
from stream.core.series import Sample

#: Spaces between two columns.
_GAP: Final = 2


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
    widths = {n: max(cell_len(n), *(cell_len(row[n]) for row in rows)) for n in rows[0]}
    whole = widths.get("labels", 0)
    if _across(widths) > screen.width and whole:
        parts = (part for row in rows for part in row["labels"].split(","))
        widths["labels"] = max(len("labels"), *(cell_len(part) + 1 for part in parts))
    for name in spare:
        if _across(widths) > screen.width:
            del widths[name]
    if whole:
        room = max(0, screen.width - _across(widths))
        widths["labels"] = min(whole, widths["labels"] + room)
    (names,) = _lines({name: name for name in widths}, widths, right)
    screen.print(Text(names, "table.header"), soft_wrap=True)
    # There may be a million rows, of which each would take a table half a millisecond.
    screen.file.writelines(f"{line}\n" for row in rows for line in _lines(row, widths, right))


def _across(widths: Mapping[str, int]) -> int:
    return sum(width + _GAP for width in widths.values()) - _GAP


def _lines(
    row: Mapping[str, str], widths: Mapping[str, int], right: Collection[str]
) -> Iterator[str]:
    """A row; labels for which there is no room go on in the next line."""
    cells = {name: row[name] for name in widths}
    first, *more = _broken(row["labels"], widths["labels"]) if "labels" in widths else [""]
    for labels in (first, *more):
        if "labels" in widths:
            cells["labels"] = labels
        padded = []
        for name, width in widths.items():
            space = " " * (width - cell_len(cells[name]))
            padded.append(space + cells[name] if name in right else cells[name] + space)
        yield (" " * _GAP).join(padded).rstrip(" ")
        cells = dict.fromkeys(cells, "")


def _broken(labels: str, width: int) -> list[str]:
    """Labels in lines that are no wider, broken at commas."""
    if cell_len(labels) <= width:
        return [labels]
    lines = [""]
    for part in labels.replace(",", ",\n").split("\n"):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append(part)
        else:
            lines[-1] += part
    return lines


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
