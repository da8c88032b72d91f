"""The report in a terminal: tables, and a plot of text for each rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from stream.backtest.curves import (
    Curve,
    alerts_of_series,
    curve,
    incidents_of_series,
    shown_series,
)
from stream.backtest.recording import Track
from stream.backtest.report import Report, RuleReport
from stream.backtest.tables import (
    Table,
    alerts_table,
    incidents_table,
    moment,
    rules_table,
    series,
    suggestion_words,
    summary,
    thresholds_table,
)
from stream.core.alerts import described
from stream.core.alerts.quantities import quantity
from stream.core.text import clipped, printable

HEIGHT: Final = 9
_MARGIN: Final = 12
_WIDEST: Final = 120
#: Between columns, and where there is little room.
_GAP: Final = 3
_NARROW_GAP: Final = 2
_WORD: Final = 16
#: Columns that a narrow terminal is not shown, the first one first, and those that hold times.
_SPARE: Final = ("threshold", "until", "to", "severity", "held back", "at worst", "series")
_TIMES: Final = frozenset({"fired at", "until", "from", "to"})
_STYLES: Final = {"•": "bold cyan", "─": "red", "░": "cyan", "█": "bold red", "▒": "magenta"}


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    for part in _parts(report, min(console.width, _WIDEST), console.width):
        console.print(part)


def _parts(report: Report, width: int, screen: int) -> Iterator[RenderableType]:
    yield Text(summary(report), style="bold")
    for of_rule in report.rules:
        for labels in shown_series(of_rule, 1):
            track = of_rule.track(labels)
            if track is not None:
                yield Text()
                yield plot(report, of_rule, track, width)
    tables = [alerts_table(report)]
    if report.judged:
        tables.append(incidents_table(report))
    tables.append(rules_table(report))
    tables += [thresholds_table(report, r) for r in report.rules if r.rows]
    for table in tables:
        if table.rows:
            yield Text()
            yield _table(_fitting(table, screen), screen)
    told = [suggestion_words(r, r.suggestion) for r in report.rules if r.suggestion]
    if told:
        yield Text()
        yield Group(*map(Text, told))


def plot(report: Report, of_rule: RuleReport, track: Track, width: int) -> Text:
    """A series as text: value, bounds, threshold, and below when it fired and when it should."""
    slices = max(10, width - _MARGIN)
    drawn = curve(of_rule, track, report.span, slices)
    text = Text(f"{printable(of_rule.rule.name)} · {series(track.labels)}\n", style="bold")
    text.append(f"{described(of_rule.rule)}\n", style="dim")
    for number, row in enumerate(_rows(drawn, slices)):
        label = ""
        if number == 0:
            label = quantity(of_rule.kpi, drawn.top)
        elif number == HEIGHT - 1:
            label = quantity(of_rule.kpi, drawn.bottom)
        _line(text, label, row)
    alerts = [(a.fired_at, a.lasts_until(report.span[1]))
              for a in alerts_of_series(of_rule, track.labels)]  # fmt: skip
    _line(text, "firing", _spans(alerts, report.span, slices, "█"))
    if report.judged:
        marked = [(s, e) for _, s, e in incidents_of_series(report, of_rule, track.labels)]
        _line(text, "incidents", _spans(marked, report.span, slices, "▒"))
    first, last = map(moment, report.span)
    text.append(" " * _MARGIN + first + last.rjust(slices - len(first)) + "\n")
    text.append(" " * _MARGIN)
    for sign, what in (("•", "value"), ("░", "95% bounds"), ("─", "threshold"), ("█", "firing")):
        text.append(sign, style=_STYLES[sign])
        text.append(f" {what}  ")
    return text


def _rows(drawn: Curve, slices: int) -> Iterable[str]:
    """The plot's lines from the top."""
    cells = np.full((HEIGHT, slices), " ", dtype="<U1")
    span = drawn.top - drawn.bottom
    for place in range(slices):
        for low, high, sign in (
            (drawn.lower[place], drawn.upper[place], "░"),
            (drawn.limit[place], drawn.limit[place], "─"),
            (drawn.low[place], drawn.high[place], "•"),
        ):
            if np.isfinite(low) and np.isfinite(high):
                first = (drawn.top - high) / span * (HEIGHT - 1)
                last = (drawn.top - low) / span * (HEIGHT - 1)
                if last > -0.5 and first < HEIGHT - 0.5:
                    cells[max(0, round(first)) : min(HEIGHT, round(last) + 1), place] = sign
    return ["".join(row) for row in cells]


def _spans(spans: Iterable[tuple[int, int]], whole: tuple[int, int], slices: int, sign: str) -> str:
    length = max(1, whole[1] - whole[0])
    cells = ["·"] * slices
    for start, end in spans:
        first = (start - whole[0]) * slices // length
        last = (end - whole[0]) * slices // length
        for place in range(max(0, first), min(slices - 1, last) + 1):
            cells[place] = sign
    return "".join(cells)


def _line(text: Text, label: str, cells: str) -> None:
    room = _MARGIN - 1
    text.append(clipped(label, room).rjust(room) + " ")
    start = 0
    for place in range(1, len(cells) + 1):
        if place == len(cells) or cells[place] != cells[start]:
            text.append(cells[start:place], style=_STYLES.get(cells[start], ""))
            start = place
    text.append("\n")


def _fitting(table: Table, width: int) -> Table:
    """The table without columns that can be spared, as far as there is no room for them."""
    for name in _SPARE:
        if _has_room(table, width):
            break
        if name in table.columns[1:]:
            table = table.without(name)
    return table


def _has_room(table: Table, width: int) -> bool:
    """Whether all columns fit without a break within a word."""
    least = sum(_least(table, place) for place in range(len(table.columns)))
    return least + _NARROW_GAP * len(table.columns) <= width


def _least(table: Table, place: int) -> int:
    """How narrow a column can be without a break within a number, a time or a common word."""
    cells = [row[place] for row in table.rows]
    if not _is_whole(table, place):
        cells = [word[:_WORD] for cell in cells for word in cell.split()]
    return max(map(cell_len, [*table.columns[place].rsplit(" ", 1), *cells]), default=0)


def _is_whole(table: Table, place: int) -> bool:
    return place in table.numbers or table.columns[place] in _TIMES


def _table(table: Table, width: int) -> RichTable:
    widest = (max(map(cell_len, cells)) for cells in zip(table.columns, *table.rows, strict=True))
    narrow = sum(widest) + _GAP * len(table.columns) > width
    keeps_words = narrow and _has_room(table, width)
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=narrow,
                     title=Text(table.title), title_justify="left", title_style="bold",
                     caption=table.note or None, caption_justify="left")  # fmt: skip
    for place, name in enumerate(table.columns):
        whole = narrow and _is_whole(table, place)
        made.add_column(Text("\n".join(name.rsplit(" ", 1)) if whole else name), no_wrap=whole,
                        justify="right" if place in table.numbers else "left",
                        min_width=_least(table, place) if keeps_words else None,
                        overflow="fold")  # fmt: skip
    for place, row in enumerate(table.rows):
        style = "bold" if place in table.marked else ""
        made.add_row(*map(Text, row), style=style)
    return made
