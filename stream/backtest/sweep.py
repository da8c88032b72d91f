"""What other thresholds would have given, from the same recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from stream.backtest.incidents import Incident
from stream.backtest.judge import WEEK, Verdict, judge
from stream.backtest.recording import Track
from stream.backtest.rerun import Alert, decisive, rerun, with_data
from stream.backtest.rounding import round_step
from stream.core.alerts.exact import as_written
from stream.core.alerts.machine import rises
from stream.core.alerts.quantities import duration, rounded
from stream.core.catalogue import KPIS
from stream.core.settings import Rule

#: About so many thresholds are tried, and so many more where one is looked for.
GRID: Final = 20
#: A rule whose series fire for a greater part of the time says what is usual, not what is wrong.
MOST_FIRING: Final = 0.2


@dataclass(frozen=True, slots=True)
class Tried:
    """A threshold, or for a spike a factor, and what the rule makes with it."""

    threshold: float
    verdict: Verdict
    is_configured: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The threshold for a wanted number of alerts a week.

    ``tried`` is None where there is none; ``note`` says why.
    """

    wanted: float
    tried: Tried | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One rule with what was recorded for it.

    What fires before ``span`` begins is not counted.
    """

    rule: Rule
    window_ms: int
    tracks: Sequence[Track]
    incidents: Sequence[Incident] | None
    span: tuple[int, int]

    def counted(self, alerts: Iterable[Alert]) -> list[Alert]:
        """The alerts that count, in order of time."""
        kept = [alert for alert in alerts if alert.fired_at >= self.span[0]]
        return sorted(kept, key=lambda a: (a.fired_at, a.labels))

    def judged(self, alerts: Sequence[Alert]) -> Verdict:
        """A verdict of alerts of this rule or of one with another threshold."""
        return judge(self.rule, self.window_ms, alerts, self.incidents, self.span, len(self.tracks))

    def grid(self) -> list[float]:
        """The thresholds to try; none for a rule that watches no KPI."""
        if self.rule.kpi not in KPIS:
            return []
        return grid(self.rule, self.tracks, self.span[0])

    def tried(self, value: float) -> Tried:
        """What the rule makes with another threshold."""
        rule = with_threshold(self.rule, value)
        alerts = self.counted(alert for track in self.tracks for alert in rerun(rule, track))
        return Tried(value, self.judged(alerts), value == configured(self.rule))


def configured(rule: Rule) -> float | None:
    """The rule's threshold; of a spike its factor; None for a rule that has neither."""
    return rule.factor if rule.factor is not None else rule.threshold


def with_threshold(rule: Rule, value: float) -> Rule:
    """The rule with another threshold or factor; ``clear`` keeps its distance from it."""
    if rule.factor is not None:
        return replace(rule, factor=value)
    before = configured(rule)
    # By decimals, so that a value that is exactly there is not beyond it.
    clear = None if rule.clear is None or before is None else _moved(rule.clear, value, before)
    if rule.above is not None:
        return replace(rule, above=value, clear=clear)
    return replace(rule, below=value, clear=clear)


def _moved(clear: float, value: float, before: float) -> float:
    return float(as_written(clear) + as_written(value) - as_written(before))


def sweep(rehearsal: Rehearsal, tell: Callable[[], None] = lambda: None) -> list[Tried]:
    """The rule with each threshold of a grid, the most sensitive first; ``tell`` after each."""
    rows = []
    for value in rehearsal.grid():
        rows.append(rehearsal.tried(value))
        tell()
    return rows


def grid(rule: Rule, tracks: Sequence[Track], since: int = 0) -> list[float]:
    """Round thresholds from what is usual to the first that nothing was beyond; and its own.

    In order, the most sensitive first. Empty for a rule that has none, or no series. Only what was
    seen from ``since`` on is looked at.
    """
    own = configured(rule)
    if own is None or not tracks:
        return []
    seen = [s for track in tracks if (s := _seen(rule, track, since)).size]
    values = {own}
    if seen:
        middle = float(np.median(np.concatenate(seen)))
        furthest = max(map(np.max, seen)) if rises(rule) else min(map(np.min, seen))
        values.update(_round_values(middle, float(furthest)))
    if rule.factor is not None:
        values = {v for v in values if (v > 1 if rises(rule) else 0 < v < 1)}
    return sorted(values, reverse=not rises(rule))


def suggest(rehearsal: Rehearsal, rows: Sequence[Tried], wanted: float) -> Suggestion:
    """The threshold that gives ``wanted`` alerts a week at the most.

    A recording in which a single alert is more than that can't tell. Else, of the thresholds that
    keep to it and whose series fire for a small part of the time, the one that finds the most
    incidents, then the one with the fewest false alerts, then the most sensitive; made finer
    towards the next one that is too sensitive.
    """
    length = max(1, rehearsal.span[1] - rehearsal.span[0])
    if 0 < wanted * length < WEEK:
        one = f"a single alert in {duration(length)} is {rounded(WEEK / length, 3)} a week"
        return Suggestion(wanted, None, f"the recording is too short, {one}")
    best = _best(rows, wanted)
    if best is None:
        return Suggestion(wanted, None, "even the least sensitive threshold gives more")
    place = rows.index(best)
    if place > 0:
        between = _round_values(best.threshold, rows[place - 1].threshold)
        low, high = sorted((best.threshold, rows[place - 1].threshold))
        finer = [rehearsal.tried(v) for v in between if low < v < high]
        finer.sort(key=lambda t: t.threshold, reverse=not rises(rehearsal.rule))
        best = _best([*finer, best], wanted)
    return Suggestion(wanted, best)


def _best(rows: Sequence[Tried], wanted: float) -> Tried | None:
    """The best of the rows that keep to the number, the most sensitive of equals."""
    fitting = [
        row
        for row in rows
        if row.verdict.per_week <= wanted and row.verdict.firing_share <= MOST_FIRING
    ]
    return max(fitting, key=_worth, default=None)


def _worth(tried: Tried) -> tuple[int, int]:
    verdict = tried.verdict
    return len(verdict.found), -len(verdict.false or ())


def _seen(rule: Rule, track: Track, since: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What is compared with the threshold, of samples with data; for a spike over the usual."""
    seen = decisive(rule, track)
    if rule.factor is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = seen / track.usual
    kept: np.ndarray[tuple[int], np.dtype[np.float64]] = seen[
        with_data(rule, track) & (track.at >= since)
    ]
    return kept[np.isfinite(kept)]


def _round_values(start: float, end: float) -> list[float]:
    """Multiples of a round step from ``start`` to just beyond ``end``, about ``GRID`` of them."""
    low, high = min(start, end), max(start, end)
    if not high > low:
        return [start]
    step = round_step((high - low) / GRID)
    first, last = math.floor(low / step), math.ceil(high / step)
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(first, last + 1)]
