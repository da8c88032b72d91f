"""A rule over what was recorded of its series, by the very ``step`` that decides live."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.backtest.recording import Track
from stream.core.alerts import AlertState, step
from stream.core.alerts.exact import CLOSE
from stream.core.alerts.machine import rises
from stream.core.kpi import Column
from stream.core.series import LabelPairs
from stream.core.settings import Rule


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert from firing to resolved. Times are ms since the epoch.

    ``started_at`` is the first evaluation beyond, ``resolved_at`` None where it fires to the end;
    ``threshold`` the one in effect when it fired.
    """

    rule: str
    labels: LabelPairs
    started_at: int
    fired_at: int
    resolved_at: int | None
    threshold: float | None

    def lasts_until(self, end: int) -> int:
        """When it was resolved, or ``end``."""
        return end if self.resolved_at is None else self.resolved_at


def rerun(rule: Rule, track: Track) -> list[Alert]:
    """The alerts that the rule makes of a series.

    Evaluations that can't change anything are passed over: an inactive alert waits for one that is
    beyond, a firing one for one that may clear it.
    """
    begins, ends = np.flatnonzero(_beyond(rule, track)), np.flatnonzero(_may_end(rule, track))
    at = track.at.tolist()
    state = AlertState(rule.name, track.labels)
    alerts: list[Alert] = []
    fired: tuple[int, int, float | None] | None = None
    place = 0
    while True:
        if state.phase == "inactive":
            place = _next(begins, place)
        elif state.phase == "firing" and state.clearing_since is None:
            place = _next(ends, place)
        if place >= len(at):
            break
        started = state.started_at
        state, change = step(rule, state, track.sample(place), at[place])
        if change is not None and change.to == "firing":
            begun = at[place] if started is None else started
            fired = begun, at[place], change.threshold
        elif change is not None and change.to == "resolved" and fired is not None:
            alerts.append(_alert(rule, track, fired, at[place]))
            fired = None
        place += 1
    if fired is not None:
        alerts.append(_alert(rule, track, fired, None))
    return alerts


def limits(rule: Rule, track: Track) -> Column:
    """The threshold in effect at each evaluation, but for rounding; NaN where there is none."""
    if rule.factor is not None:
        return rule.factor * track.usual
    return np.full(len(track.at), np.nan if rule.threshold is None else rule.threshold)


def decisive(rule: Rule, track: Track) -> Column:
    """What is compared with the threshold: the value, or the bound that must be beyond it too."""
    if not rule.asks_for_whole_interval:
        return track.value
    bound = track.lower if rises(rule) else track.upper
    return np.where(np.isnan(bound), track.value, bound)


def with_data(rule: Rule, track: Track) -> NDArray[np.bool_]:
    """Where there are a value, enough contributions and enough time that data covers.

    A KPI without denominator has no number of contributions.
    """
    few = track.denominator < rule.min_samples
    return ~np.isnan(track.value) & ~few & (track.covered >= rule.min_covered)


def _beyond(rule: Rule, track: Track) -> NDArray[np.bool_]:
    """Where an inactive alert may begin; at least there."""
    seen, limit = decisive(rule, track), limits(rule, track)
    near = _near(rule, limit)
    beyond: NDArray[np.bool_] = seen > limit - near if rises(rule) else seen < limit + near
    return beyond & with_data(rule, track)


def _may_end(rule: Rule, track: Track) -> NDArray[np.bool_]:
    """Where a firing alert may begin to clear; at least there."""
    limit = limits(rule, track)
    if rule.factor is None and rule.clear is not None:
        limit = np.full(len(track.at), rule.clear)
    near, value = _near(rule, limit), track.value
    still: NDArray[np.bool_] = value > limit + near if rises(rule) else value < limit - near
    return ~(still & with_data(rule, track))


def _near(rule: Rule, limit: Column) -> Column | float:
    """Within what of a threshold only ``step`` can tell what is beyond it."""
    return 0.0 if rule.factor is None else CLOSE * np.abs(limit)


def _next(places: NDArray[np.intp], place: int) -> int:
    """The first of the places from ``place`` on; beyond all where there is none."""
    found = int(np.searchsorted(places, place))
    return int(places[found]) if found < len(places) else np.iinfo(np.intp).max


def _alert(
    rule: Rule, track: Track, fired: tuple[int, int, float | None], resolved: int | None
) -> Alert:
    return Alert(rule.name, track.labels, fired[0], fired[1], resolved, fired[2])
