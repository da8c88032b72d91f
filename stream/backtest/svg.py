"""Plots as inline SVG; colours and fonts come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Final

import numpy as np

from stream.backtest.curves import Curve
from stream.backtest.rounding import round_step
from stream.core.kpi import Column
from stream.core.settings import DAY, HOUR, MINUTE, SECOND
from stream.core.text import clipped, printable
from stream.core.timestamps import format_ms

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 16, 26, 30
_PLOT: Final = 200
_LANE: Final = 22
#: Steps between ticks of time.
_STEPS: Final = (
    *(SECOND * n for n in (1, 5, 10, 30)),
    *(MINUTE * n for n in (1, 5, 10, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14, 30, 90)),
)
_MOST_TICKS: Final = 9
#: How wide a letter is, about.
_LETTER: Final = 7.6
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)

Span = tuple[int, int]
#: Name, start and end.
Named = tuple[str, int, int]


def plot(
    name: str,
    text: str,
    drawn: Curve,
    span: Span,
    firing: Sequence[Named],
    incidents: Sequence[Named],
    quantity: Callable[[float], str],
) -> str:
    """A series with bounds, threshold, spans of firing, and marked incidents.

    ``name`` and ``text`` are what a screen reader says.
    """
    bottom = _TOP + _PLOT

    def y(value: float) -> float:
        return _TOP + _PLOT * (drawn.top - value) / (drawn.top - drawn.bottom)

    height = bottom + _BOTTOM
    parts = [_head(name, text, height)]
    parts += _spans(incidents, span, _TOP, _PLOT, "incident", with_names=True)
    parts += _spans(firing, span, _TOP, _PLOT, "firing")
    for value in _ticks(drawn.bottom, drawn.top):
        at = round(y(value), 1)
        parts.append(f'<path class="grid" d="M{_LEFT} {at}H{WIDTH - _RIGHT}"/>')
        label = escape(quantity(value))
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{label}</text>'
        )
    # An inner svg cuts off what lies outside of the range.
    area = f"{_LEFT} {_TOP} {WIDTH - _LEFT - _RIGHT} {_PLOT}"
    x, top, width, tall = area.split()
    inner = f'x="{x}" y="{top}" width="{width}" height="{tall}" viewBox="{area}"'
    parts.append(f"<svg {inner}>")
    parts += [f'<path class="bounds" d="{d}"/>' for d in _areas(drawn.lower, drawn.upper, y)]
    parts += [f'<path class="range" d="{d}"/>' for d in _areas(drawn.low, drawn.high, y)]
    parts += [f'<path class="value" d="{d}"/>' for d in _lines((drawn.low + drawn.high) / 2, y)]
    parts += [f'<path class="limit" d="{d}"/>' for d in _lines(drawn.limit, y)]
    parts.append("</svg>")
    parts += _time_axis(span, bottom)
    return "".join(parts) + "</svg>"


def time_line(
    lanes: Sequence[tuple[str, Sequence[Named]]], incidents: Sequence[Named], span: Span, text: str
) -> str:
    """A lane for each rule and series with its alerts; incidents lie across all lanes."""
    tall = _LANE * max(1, len(lanes))
    left = 300
    parts = [_head("Time line", text, _TOP + tall + _BOTTOM)]
    parts += _spans(incidents, span, _TOP, tall, "incident", with_names=True, left=left)
    for place, (name, alerts) in enumerate(lanes):
        top = _TOP + place * _LANE
        parts.append(f'<path class="grid" d="M{left} {top + _LANE}H{WIDTH - _RIGHT}"/>')
        label = escape(clipped(printable(name), 44))
        parts.append(
            f'<text class="lane" x="{left - 8}" y="{top + 15}" text-anchor="end">{label}</text>'
        )
        parts += _spans(alerts, span, top + 4, _LANE - 8, "alert", left=left)
    parts += _time_axis(span, _TOP + tall, left)
    return "".join(parts) + "</svg>"


def _head(name: str, text: str, height: int) -> str:
    title, words = escape(printable(name)), escape(printable(text))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}: {words}"'
        f' preserveAspectRatio="xMinYMin meet"><title>{title}</title>'
    )


def _x(at: int, span: Span, left: int) -> float:
    share = (at - span[0]) / max(1, span[1] - span[0])
    return round(left + (WIDTH - left - _RIGHT) * min(1.0, max(0.0, share)), 1)


def _spans(
    spans: Sequence[Named],
    whole: Span,
    top: int,
    height: int,
    kind: str,
    *,
    with_names: bool = False,
    left: int = _LEFT,
) -> Iterator[str]:
    """Bars from start to end, at least wide enough to be seen."""
    free = 0.0
    for name, start, end in sorted(spans, key=lambda s: s[1]):
        if end < whole[0] or start > whole[1]:
            continue
        first, last = _x(start, whole, left), _x(end, whole, left)
        width = max(2.0, round(last - first, 1))
        title = escape(printable(name))
        yield (
            f'<rect class="{kind}" x="{first}" y="{top}" width="{width}" height="{height}">'
            f"<title>{title}</title></rect>"
        )
        if with_names:
            label = clipped(printable(name), 28)
            length = _LETTER * len(label)
            # A name that has no room to the right ends where the picture does.
            at = round(min(first, WIDTH - _RIGHT - length), 1)
            if at >= free:
                free = at + length
                yield f'<text class="name" x="{at}" y="{top - 8}">{escape(label)}</text>'


def _areas(lower: Column, upper: Column, y: Callable[[float], float]) -> Iterator[str]:
    """The area between two columns, for each row of slices that have both."""
    for first, last in _runs(np.isfinite(lower) & np.isfinite(upper)):
        there = [f"{_slice(i, lower)} {y(upper[i]):.1f}" for i in range(first, last)]
        back = [f"{_slice(i, lower)} {y(lower[i]):.1f}" for i in reversed(range(first, last))]
        yield "M" + "L".join(there + back) + "Z"


def _lines(column: Column, y: Callable[[float], float]) -> Iterator[str]:
    for first, last in _runs(np.isfinite(column)):
        points = [f"{_slice(i, column)} {y(column[i]):.1f}" for i in range(first, last)]
        yield "M" + "L".join(points) + ("h1" if len(points) == 1 else "")


def _slice(place: int, column: Column) -> str:
    """The middle of a slice on the axis of time."""
    return f"{_LEFT + (WIDTH - _LEFT - _RIGHT) * (place + 0.5) / len(column):.1f}"


def _runs(known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of each unbroken row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(int), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _ticks(bottom: float, top: float) -> list[float]:
    """Three to six round values."""
    step = round_step((top - bottom) / 5)
    return [n * step for n in range(math.ceil(bottom / step), math.floor(top / step) + 1)]


def _time_axis(span: Span, bottom: int, left: int = _LEFT) -> Iterator[str]:
    length = span[1] - span[0]
    step = next((s for s in _STEPS if length / s <= _MOST_TICKS), _STEPS[-1])
    yield f'<path class="axis" d="M{left} {bottom}H{WIDTH - _RIGHT}"/>'
    for at in range(-(-span[0] // step) * step, span[1] + 1, step):
        x = _x(at, span, left)
        text = format_ms(at)
        label = text[11:16] if step >= MINUTE else text[11:19]
        if at % DAY == 0:
            label = f"{int(text[8:10])} {_MONTHS[int(text[5:7]) - 1]}"
        yield f'<path class="axis" d="M{x} {bottom}v5"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 18}" text-anchor="middle">{label}</text>'
