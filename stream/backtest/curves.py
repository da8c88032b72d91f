"""A recorded series made coarse enough to draw: least and most of each slice of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.backtest.recording import Track, since
from stream.backtest.report import Report, RuleReport
from stream.backtest.rerun import Alert, limits
from stream.core.integers import Ints
from stream.core.kpi import Column
from stream.core.series import LabelPairs


@dataclass(frozen=True, slots=True)
class Curve:
    """A series over equal slices of time: parallel columns, NaN where nothing was recorded.

    ``bottom`` and ``top`` are the range that is worth drawing: of values and thresholds, and of
    bounds save for the widest, which few events make.
    """

    low: Column
    high: Column
    lower: Column
    upper: Column
    limit: Column
    bottom: float
    top: float


def curve(of_rule: RuleReport, track: Track, span: tuple[int, int], slices: int) -> Curve:
    """The series in so many slices of the span."""
    length = max(1, span[1] - span[0])
    track = since(track, span[0])
    places = np.clip((track.at - span[0]) * slices // length, 0, slices - 1)
    low, high = _least(places, track.value, slices), _most(places, track.value, slices)
    lower, upper = _least(places, track.lower, slices), _most(places, track.upper, slices)
    limit = _most(places, limits(of_rule.rule, track), slices)
    columns = (low, high, lower, upper, limit)
    low, high, lower, upper, limit = _carried_on(places, columns)
    bottom, top = _range(low, high, limit, lower, upper)
    return Curve(low, high, lower, upper, limit, bottom, top)


def shown_series(of_rule: RuleReport, most: int) -> list[LabelPairs]:
    """The series that are worth a plot: those that fired longest, else the one with most events."""
    fired: dict[LabelPairs, int] = {}
    for alert in of_rule.verdict.alerts:
        until = alert.fired_at if alert.resolved_at is None else alert.resolved_at
        fired[alert.labels] = fired.get(alert.labels, 0) + 1 + until - alert.fired_at
    recorded = {track.labels for track in of_rule.tracks}
    ranked = sorted((x for x in fired if x in recorded), key=lambda x: (-fired[x], x))
    if not ranked and of_rule.tracks:
        best = max(of_rule.tracks, key=lambda t: float(np.nansum(t.denominator)))
        ranked = [best.labels]
    return ranked[:most]


def alerts_of_series(of_rule: RuleReport, labels: LabelPairs) -> list[Alert]:
    """The rule's alerts on a series."""
    return [a for a in of_rule.verdict.alerts if a.labels == labels]


def incidents_of_series(
    report: Report, of_rule: RuleReport, labels: LabelPairs
) -> Sequence[tuple[str, int, int]]:
    """Name, start and end of the incidents that the series should show."""
    return [
        (i.name, i.start, i.end)
        for i in of_rule.verdict.concerned
        if report.judged and i.agrees(labels)
    ]


def _least(places: Ints, column: Column, slices: int) -> Column:
    found = np.full(slices, np.nan)
    np.fmin.at(found, places, column)
    return found


def _most(places: Ints, column: Column, slices: int) -> Column:
    found = np.full(slices, np.nan)
    np.fmax.at(found, places, column)
    return found


def _carried_on(places: Ints, columns: Sequence[Column]) -> list[Column]:
    """Slices in which nothing was evaluated show what was there before: it has not changed."""
    slices = len(columns[0])
    known = np.bincount(places, minlength=slices) > 0
    latest = np.maximum.accumulate(np.where(known, np.arange(slices), 0))
    return [column[latest] for column in columns]


def _range(
    low: Column, high: Column, limit: Column, lower: Column, upper: Column
) -> tuple[float, float]:
    seen = np.concatenate([low, high, limit])
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    bottom, top = float(seen.min()), float(seen.max())
    for bounds, quantile in ((lower, 10), (upper, 90)):
        finite = bounds[np.isfinite(bounds)]
        if finite.size:
            edge = float(np.percentile(finite, quantile))
            bottom, top = min(bottom, edge), max(top, edge)
    if top <= bottom:
        spread = abs(top) or 1.0
        return bottom - spread / 10, top + spread / 10
    return bottom, top
