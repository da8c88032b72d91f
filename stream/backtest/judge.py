"""Alerts held against marked incidents: what was found and how soon, what was false, what flaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stream.backtest.incidents import Incident
from stream.backtest.rerun import Alert
from stream.core.catalogue import KPIS
from stream.core.series import LabelPairs
from stream.core.settings import DAY, Rule

WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Found:
    """An incident that an alert found; ``delay`` is ms from its start to firing."""

    incident: Incident
    alert: Alert
    delay: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule's alerts are worth.

    ``concerned`` are the incidents that the rule should find, ``found`` those that it did find;
    ``false`` are the alerts of no incident, None where none were marked or the rule watches no KPI.
    ``flaps`` are alerts that fired again within one window after the same series was resolved: both
    decisions then rest in part on the same events. ``firing_share`` is the part of all series' time
    that is spent firing.
    """

    alerts: tuple[Alert, ...]
    per_week: float
    concerned: tuple[Incident, ...]
    found: tuple[Found, ...]
    false: frozenset[Alert] | None
    flaps: frozenset[Alert]
    firing_share: float

    @property
    def mean_delay(self) -> float | None:
        """Mean time to detect in ms, of the incidents that were found."""
        return sum(f.delay for f in self.found) / len(self.found) if self.found else None

    @property
    def missed(self) -> tuple[Incident, ...]:
        """The incidents that the rule should have found."""
        known = [f.incident for f in self.found]
        return tuple(i for i in self.concerned if i not in known)


def judge(
    rule: Rule,
    window_ms: int,
    alerts: Sequence[Alert],
    incidents: Sequence[Incident] | None,
    span: tuple[int, int],
    series: int,
) -> Verdict:
    """Judge a rule's alerts.

    An alert is of an incident of its KPI whose labels don't contradict its own if it fires from the
    incident's start up to one window after its end: so long the window holds events of it. One that
    fires since before the start has found nothing. ``span`` is the recorded time, in which there
    were so many ``series`` of the rule.
    """
    concerned = tuple(i for i in incidents or () if i.concerns(rule.kpi) and _overlaps(i, span))
    found: list[Found] = []
    true: set[Alert] = set()
    for incident in concerned:
        of_it = [a for a in alerts if is_of(a, incident, window_ms)]
        true.update(of_it)
        if of_it:
            first = min(of_it, key=lambda a: a.fired_at)
            found.append(Found(incident, first, first.fired_at - incident.start))
    is_judged = incidents is not None and rule.kpi in KPIS
    length = max(1, span[1] - span[0])
    firing = sum(a.lasts_until(span[1]) - a.fired_at for a in alerts)
    return Verdict(
        alerts=tuple(alerts),
        per_week=len(alerts) * WEEK / length,
        concerned=concerned,
        found=tuple(found),
        false=frozenset(alerts) - true if is_judged else None,
        flaps=flaps(alerts, window_ms),
        firing_share=firing / length / max(1, series),
    )


def is_of(alert: Alert, incident: Incident, window_ms: int) -> bool:
    """Whether an alert of a rule on the incident's KPI is the incident's."""
    in_time = incident.start <= alert.fired_at <= incident.end + window_ms
    return in_time and incident.agrees(alert.labels)


def flaps(alerts: Sequence[Alert], window_ms: int) -> frozenset[Alert]:
    """The alerts that fire within one window after the one before of their series was resolved."""
    resolved: dict[LabelPairs, int] = {}
    again = []
    for alert in sorted(alerts, key=lambda a: a.fired_at):
        before = resolved.get(alert.labels)
        if before is not None and alert.fired_at - before <= window_ms:
            again.append(alert)
        if alert.resolved_at is not None:
            resolved[alert.labels] = alert.resolved_at
    return frozenset(again)


def _overlaps(incident: Incident, span: tuple[int, int]) -> bool:
    return incident.start <= span[1] and incident.end >= span[0]
