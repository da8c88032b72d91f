"""The live view as lines of text that fit a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from stream.core.event import DEAD_LETTER_OUTCOMES
from stream.core.kpi import Kpi
from stream.core.series import Sample
from stream.core.settings import RESERVED_LABELS
from stream.top.numbers import count, duration, interval, number, rate, safe
from stream.top.snapshot import Snapshot
from stream.top.trends import Segment, Trends, shown_part, sparkline, totals, worst_segments

#: From this width on, alerts and segments stand beside the KPIs.
_WIDE = 120
#: From this width on, a block of KPIs has room for titles and counts.
_ROOMY = 60
_GAP = 2
_LEAST_ALERTS = 2
_LEAST_SEGMENTS = 3
#: Between parts of a line, and before those of a further line.
_BETWEEN, _FURTHER = " · ", "  "
#: A terminal that has to wrap more often is too narrow for KPIs, too.
_MOST_FLOW = 3
_KPI_ALIGNED = "<>>><"
_SEGMENT_ALIGNED = "<<>>><"
#: What shows where a terminal can only do ASCII.
_ASCII = str.maketrans({"…": "~", "·": "|", "–": "-", "●": "*", "×": "x"})


def clock(seconds: float) -> str:
    """A time of day, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%SZ")


def labels_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as a reader writes them, for example ``channel=chat region=north``."""
    return " ".join(f"{name}={safe(value)}" for name, value in labels)


class Screen:
    """Draws what ``trends`` remembers; a renderable for rich."""

    def __init__(
        self, address: str, trends: Trends, kpis: Mapping[str, Kpi], by: tuple[str, ...] | None
    ) -> None:
        self._address = address
        self._trends = trends
        self._kpis = kpis
        self._by = by
        #: Why the latest page could not be had, and since when; None while all is well.
        self.problem: str | None = None
        #: Gives the last line, where there is something to say that no metric does.
        self.footer: Callable[[], str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw all that fits the terminal."""
        height = options.height or options.size.height
        lines = self.lines(options.max_width, height, ascii_only=options.ascii_only)
        yield Text("\n").join(lines)

    def lines(self, width: int, height: int | None, *, ascii_only: bool = False) -> list[Text]:
        """The view in so many columns and rows; without a height everything."""
        drawing = _Drawing(self._trends, self._kpis, ascii_only=ascii_only)
        snapshot = self._trends.latest
        lines = [_header(self._address, snapshot, is_present=self.problem is None)]
        if self.problem is not None:
            lines.append(Text(safe(self.problem), "bold red"))
        if snapshot is not None:
            lines += _wrapped(_flow(snapshot, self._trends.rates()), width)
            lines += _cautions(snapshot, self._kpis)
            below = self.footer is not None
            room = None if height is None else max(0, height - len(lines) - below)
            segments = worst_segments(snapshot, self._kpis, self._by)
            lines += drawing.body(snapshot, segments, width, room)
        if self.footer is not None:
            if height is not None:
                lines += [Text()] * (height - 1 - len(lines))
            lines.append(Text(safe(self.footer()), "dim"))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
            if ascii_only:
                line.plain = line.plain.translate(_ASCII)
        return lines if height is None else lines[:height]


def _header(address: str, snapshot: Snapshot | None, *, is_present: bool) -> Text:
    """The worker and what is shown of it; one that can't be reached is neither ready nor not."""
    line = Text.assemble(("cxkpi", "bold"), f" {safe(address.removeprefix('http://'))}")
    if snapshot is None:
        return line
    # A narrow terminal cuts the end off, and this is what must not be missed.
    if snapshot.ready is not None and is_present:
        line.append(" · ")
        line.append(*(("ready", "green") if snapshot.ready else ("not ready", "bold red")))
    line.append(f" · window {safe(snapshot.window)}")
    if snapshot.covered is not None and snapshot.covered < 1:
        line.append(f" ({100 * snapshot.covered:.0f}% covered)")
    if snapshot.evaluated is not None:
        line.append(f" · as of {clock(snapshot.evaluated)}")
        if is_present:
            line.append(f" ({max(0.0, snapshot.taken - snapshot.evaluated):.0f} s ago)")
    return line


def _cautions(snapshot: Snapshot, kpis: Mapping[str, Kpi]) -> list[Text]:
    """Why what is shown isn't all that there is."""
    if snapshot.ready is False:
        return [Text(safe(f"not ready: {snapshot.reason}"), "red")] if snapshot.reason else []
    part = shown_part(snapshot, kpis)
    return [] if part is None else [Text(part, "yellow")]


def _flow(snapshot: Snapshot, rates: Mapping[str, float] | None) -> Iterator[Text]:
    """How records come in, and how the worker does, part by part."""
    speed = "–" if rates is None else rate(sum(rates.values()))
    yield Text.assemble("events ", (speed, "bold"))
    if snapshot.lag is not None:
        yield Text(f"lag {count(snapshot.lag)}")
    for outcome, total in sorted(snapshot.outcomes.items(), key=lambda pair: -pair[1]):
        if not total:
            continue
        bad = outcome in DEAD_LETTER_OUTCOMES and rates and rates.get(outcome)
        yield Text(f"{safe(outcome)} {count(total)}", "red" if bad else "")
    for text, name in (("flush", "flush"), ("eval", "evaluation")):
        seconds = snapshot.worker.get(f"cx_worker_last_{name}_seconds")
        if seconds is not None:
            yield Text(f"{text} {duration(seconds)}")


def _wrapped(parts: Iterable[Text], width: int) -> list[Text]:
    """The parts side by side, in as few lines as they fit into; of many lines only the first."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(_BETWEEN) + part.cell_len <= width:
            lines[-1].append(_BETWEEN).append_text(part)
        else:
            lines.append(Text.assemble(_FURTHER if lines else "", part))
    return lines[:_MOST_FLOW]


class _Drawing:
    """The parts of one picture."""

    def __init__(self, trends: Trends, kpis: Mapping[str, Kpi], *, ascii_only: bool) -> None:
        self._trends = trends
        self._kpis = kpis
        self._ascii_only = ascii_only

    def body(
        self, snapshot: Snapshot, segments: Sequence[Segment], width: int, room: int | None
    ) -> list[Text]:
        samples = totals(snapshot, self._kpis)
        alerts = self._alerts(snapshot)
        if width >= _WIDE:
            left = (width - _GAP) * 11 // 20
            kpis = self._kpi_block(samples, left, room)
            right = width - left - _GAP
            above = len(alerts) if room is None else max(_LEAST_ALERTS, room // 3)
            beside = alerts[:above]
            below = None if room is None else max(0, room - len(beside))
            beside += self._segments(segments, right, below)
            return _side_by_side(kpis, beside, left, right)
        if room is None:
            return [
                *self._kpi_block(samples, width, None),
                *alerts,
                *self._segments(segments, width, None),
            ]
        kpis = self._kpi_block(samples, width, room - _LEAST_ALERTS - _LEAST_SEGMENTS)
        room -= len(kpis)
        beside = alerts[: max(_LEAST_ALERTS, room // 2)]
        return [*kpis, *beside, *self._segments(segments, width, room - len(beside))]

    def _kpi_block(self, samples: Sequence[Sample], width: int, room: int | None) -> list[Text]:
        """All KPIs of the total, side by side where they are too many for one column."""
        if not samples:
            return [Text("no KPI is exposed: the worker has no complete evaluation", "yellow")]
        if room is None or len(samples) + 1 <= room or width < 70:
            rows = [self._kpi(sample, width) for sample in samples]
            return _cut([self._kpi_head(width), *rows], room)
        half = (width - _GAP) // 2
        middle = (len(samples) + 1) // 2
        blocks = [
            [self._kpi_head(half), *(self._kpi(sample, half) for sample in part)]
            for part in (samples[:middle], samples[middle:])
        ]
        return _cut(_side_by_side(blocks[0], blocks[1], half, half), room)

    def _kpi_head(self, width: int) -> Text:
        widths = _kpi_widths(width)
        names = ("KPI", "value", "95%", "n", _trend_name(widths))
        return _row(names, widths, _KPI_ALIGNED, "bold underline")

    def _kpi(self, sample: Sample, width: int) -> Text:
        kpi = self._kpis[sample.kpi]
        widths = _kpi_widths(width)
        name = kpi.title if width >= _ROOMY else kpi.id
        cells = (
            _named(name, sample.labels),
            number(sample.value, kpi.unit, widths[1]),
            interval(sample.lower, sample.upper, kpi.unit, widths[2]),
            "" if sample.denominator is None else count(sample.denominator, widths[3]),
            self._spark(sample, widths[-1]),
        )
        line = _row(cells, widths, _KPI_ALIGNED, "dim" if sample.value is None else "")
        line.stylize(self._tendency(sample), len(line) - widths[-1])
        return line

    def _spark(self, sample: Sample, width: int) -> str:
        trend = self._trends.trend((sample.kpi, sample.labels))
        return sparkline(trend, width, ascii_only=self._ascii_only)

    def _tendency(self, sample: Sample) -> str:
        """The colour of a trend: whether it went the good way since the view began."""
        known = [v for v in self._trends.trend((sample.kpi, sample.labels)) if v is not None]
        good = self._kpis[sample.kpi].good
        if not known or known[0] == known[-1] or good == "neither":
            return ""
        return "green" if (known[-1] > known[0]) == (good == "up") else "red"

    def _alerts(self, snapshot: Snapshot) -> list[Text]:
        """The alerts that fire, then the latest changes."""
        firing = [alert for alert, fires in sorted(snapshot.alerts.items()) if fires]
        is_whole = shown_part(snapshot, self._kpis) is None
        lines = [
            Text(
                f"Alerts: {len(firing)} firing of {len(snapshot.alerts)} known"
                if snapshot.alerts
                else f"Alerts: none {'firing' if is_whole else 'known here'}",
                "bold underline",
            )
        ]
        for rule, severity, labels in firing:
            text = f"● {safe(rule)} {labels_text(labels)}".rstrip()
            lines.append(Text.assemble((text, "bold red"), f" firing, {safe(severity)}"))
        for change in reversed(self._trends.changes):
            rule, _, labels = change.alert
            text = f"  {clock(change.seen)} {safe(rule)} {labels_text(labels)}".rstrip()
            what = ("firing", "red") if change.firing else ("resolved", "green")
            lines.append(Text.assemble((text + " ", "dim"), what))
        return lines

    def _segments(self, segments: Sequence[Segment], width: int, room: int | None) -> list[Text]:
        widths = _segment_widths(width)
        head = _row(
            ("Worst segments", "KPI", "value", "95%", "total", _trend_name(widths)),
            widths,
            _SEGMENT_ALIGNED,
            "bold underline",
        )
        rows = []
        for segment in segments[: None if room is None else max(0, room - 1)]:
            sample, kpi = segment.sample, self._kpis[segment.sample.kpi]
            rollup = [pair for pair in sample.labels if pair[0] not in RESERVED_LABELS]
            cells = (
                labels_text(rollup),
                _named(kpi.id, [pair for pair in sample.labels if pair not in rollup]),
                number(sample.value, kpi.unit, widths[2]),
                interval(sample.lower, sample.upper, kpi.unit, widths[3]),
                number(segment.total.value, kpi.unit, widths[4]),
                self._spark(sample, widths[-1]),
            )
            line = _row(cells, widths, _SEGMENT_ALIGNED, "" if segment.worse >= 1 else "dim")
            line.stylize(self._tendency(sample), len(line) - widths[-1])
            rows.append(line)
        return _cut([head, *(rows or [Text("none is worse than the total", "dim")])], room)


def _named(name: str, own: Iterable[tuple[str, str]]) -> str:
    """A KPI with the values of its own labels, such as the currency."""
    return " ".join([name, *(safe(value) for _, value in own)])


def _kpi_widths(width: int) -> tuple[int, ...]:
    """Columns: name, value, interval, n, trend; narrow blocks have no n."""
    if width >= _ROOMY:
        name = min(30, width - 37)
        return (name, 9, 13, 7, max(0, width - name - 33))
    return (16, 7, 9, 0, max(0, width - 35))


def _trend_name(widths: Sequence[int]) -> str:
    return "trend" if widths[-1] >= len("trend") else ""


def _segment_widths(width: int) -> tuple[int, ...]:
    """Columns: labels, KPI, value, interval, the total's value, trend.

    Narrow blocks have no interval, so that the total is not cut.
    """
    bounds = 9 if width >= _ROOMY else 0
    fixed = 16 + 7 + bounds + 7 + (5 if bounds else 4)
    labels = max(14, min(30, width - fixed - 6))
    return (labels, 16, 7, bounds, 7, max(0, width - labels - fixed))


def _row(cells: Sequence[str], widths: Sequence[int], aligned: str, style: str = "") -> Text:
    """Cells in columns, each aligned ``<`` or ``>``; a column without width is left out."""
    line = Text(style=style)
    for cell, width, side in zip(cells, widths, aligned, strict=True):
        if width > 0:
            text = Text(cell)
            text.truncate(width, overflow="ellipsis")
            text.align("right" if side == ">" else "left", width)
            line.append(" " if line else "").append_text(text)
    return line


def _cut(lines: list[Text], room: int | None) -> list[Text]:
    """So many lines as there is room for; the last says how many are missing."""
    if room is None or len(lines) <= room:
        return lines
    if room < 1:
        return []
    missing = len(lines) - room + 1
    return [*lines[: room - 1], Text(f"… {missing} more in a larger terminal", "dim")]


def _side_by_side(
    left: Sequence[Text], right: Sequence[Text], left_width: int, right_width: int
) -> list[Text]:
    lines = []
    for one, other in zip_longest(left, right):
        line = one.copy() if one is not None else Text()
        line.truncate(left_width, overflow="ellipsis", pad=True)
        if other is not None:
            beside = other.copy()
            beside.truncate(right_width, overflow="ellipsis")
            line = Text.assemble(line, " " * _GAP, beside)
        lines.append(line)
    return lines
