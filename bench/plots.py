"""Small SVG plots of curves: one panel each, labels below, a bar from least to most."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

_PANEL: Final = 280
_HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 34, 46
_BLUE: Final = "#1f6feb"
_GREY: Final = "#8b949e"

Points = Sequence[tuple[str, Sequence[float]]]


def curves(found: Mapping[str, Points]) -> str:
    """All curves side by side, on one scale that begins at 0."""
    top = max(max(values) for points in found.values() for _, values in points) * 1.15
    panels = [
        _panel(title, points, top, i * _PANEL) for i, (title, points) in enumerate(found.items())
    ]
    width = _PANEL * len(found)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}"'
        f' width="{width}" height="{_HEIGHT}" font-family="sans-serif" font-size="11"'
        f' role="img" aria-label="CPU per event">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def _panel(title: str, points: Points, top: float, x: int) -> str:
    width, height = _PANEL - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def y(value: float) -> float:
        return round(_TOP + height * (1 - value / top), 1)

    parts = [
        f'<text x="{x + _LEFT}" y="20" font-weight="bold">µs per event by {escape(title)}</text>'
    ]
    parts += [
        f'<line x1="{x + _LEFT}" x2="{x + _LEFT + width}" y1="{y(value)}" y2="{y(value)}"'
        f' stroke="{_GREY}" stroke-width="0.4"/>'
        f'<text x="{x + _LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>'
        for value in _ticks(top)
    ]
    centres = [x + _LEFT + width * (i + 0.5) / len(points) for i in range(len(points))]
    middles = [statistics.median(values) for _, values in points]
    line = " ".join(f"{cx:.1f},{y(m)}" for cx, m in zip(centres, middles, strict=True))
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_BLUE}" stroke-width="1.5"/>')
    for cx, middle, (label, values) in zip(centres, middles, points, strict=True):
        parts.append(
            f'<line x1="{cx:.1f}" x2="{cx:.1f}" y1="{y(min(values))}" y2="{y(max(values))}"'
            f' stroke="{_BLUE}" stroke-width="3" stroke-opacity="0.35"/>'
            f'<circle cx="{cx:.1f}" cy="{y(middle)}" r="3.5" fill="{_BLUE}"/>'
            f'<text x="{cx:.1f}" y="{y(middle) - 9}" text-anchor="middle">{middle:.1f}</text>'
            f'<text x="{cx:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
            f"{escape(label)}</text>"
        )
    return "\n".join(parts)


def _ticks(top: float) -> list[float]:
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, top) if top / s <= 6)
    return [i * step for i in range(int(top / step) + 1)]
