"""The whole rehearsal: every rule with its alerts, verdict, other thresholds, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.backtest.incidents import Incident
from stream.backtest.judge import Found, Verdict, is_of
from stream.backtest.recording import Recording, Track
from stream.backtest.rerun import Alert, limits, with_data
from stream.backtest.sweep import Rehearsal, Suggestion, Tried, configured, suggest, sweep
from stream.core.alerts import Change, PreparedRule, RuleSet, rfc3339
from stream.core.alerts.machine import rises, threshold
from stream.core.kpi import Kpi
from stream.core.series import LabelPairs
from stream.core.settings import SECOND, Rule, Settings


@dataclass(frozen=True, slots=True)
class Worst:
    """The sample of an alert that was furthest beyond."""

    at: int
    value: float
    lower: float | None
    upper: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule: what it did, and what it would have done."""

    rule: Rule
    #: None for a rule that watches no KPI, whose window has no length.
    kpi: Kpi | None
    window_ms: int
    tracks: Sequence[Track]
    verdict: Verdict
    #: Of each alert of the verdict, in its order; None where nothing was recorded of it.
    worst: Sequence[Worst | None]
    #: How many pending alerts ended without firing.
    held_back: int
    #: What other thresholds would have given, the most sensitive first.
    rows: Sequence[Tried]
    #: None where no number of alerts was asked for, or the rule has no thresholds to try.
    suggestion: Suggestion | None

    def track(self, labels: LabelPairs) -> Track | None:
        """What was recorded of a series."""
        return next((t for t in self.tracks if t.labels == labels), None)


@dataclass(frozen=True, slots=True)
class Detection:
    """A marked incident and the first alert of each rule that found it, the earliest first."""

    incident: Incident
    found: Sequence[Found]
    #: Whether any rule is on its KPI, and whether it lies in the recording.
    concerned: bool
    recorded: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All rules over one recording; ``span`` is ms since the epoch."""

    span: tuple[int, int]
    evaluations: int
    rules: Sequence[RuleReport]
    detections: Sequence[Detection] | None

    @property
    def judged(self) -> bool:
        """Whether there are marked incidents to judge by."""
        return self.detections is not None

    @property
    def timeline(self) -> list[tuple[RuleReport, Alert, Worst | None]]:
        """All alerts in order of time, rule and labels."""
        listed = [
            (of_rule, alert, worst)
            for of_rule in self.rules
            for alert, worst in zip(of_rule.verdict.alerts, of_rule.worst, strict=True)
        ]
        return sorted(listed, key=lambda x: (x[1].fired_at, x[1].rule, x[1].labels))

    def is_false(self, of_rule: RuleReport, alert: Alert) -> bool | None:
        """Whether an alert is of no incident; None where none were marked."""
        if of_rule.verdict.false is None:
            return None
        return alert in of_rule.verdict.false


class Rehearsing:
    """What is needed to report: the recording of one read, and the changes that it made."""

    def __init__(
        self,
        settings: Settings,
        recording: Recording,
        changes: Sequence[Change],
        span: tuple[int, int],
        incidents: Sequence[Incident] | None,
    ) -> None:
        self._settings = settings
        self._recording = recording
        self._changes = changes
        self._span = span
        self._incidents = incidents
        self._prepared = RuleSet.of(settings).rules

    @property
    def work(self) -> int:
        """How many times ``tell`` is called."""
        return sum(len(self._rehearsal(p).grid()) for p in self._prepared)

    def report(self, wanted: float | None, tell: Callable[[], None] = lambda: None) -> Report:
        """Judge all rules; ``wanted`` alerts a week are looked for where it is given."""
        rules = [self._of_rule(p, wanted, tell) for p in self._prepared]
        detections = None
        if self._incidents is not None:
            detections = [self._detection(incident, rules) for incident in self._incidents]
        return Report(self._span, len(self._recording.times), rules, detections)

    def _rehearsal(self, prepared: PreparedRule) -> Rehearsal:
        rule, tracks = prepared.rule, self._recording.tracks(prepared)
        window_ms = next((w.size_ms for w in self._settings.windows if w.label == rule.window), 0)
        return Rehearsal(rule, window_ms, tracks, self._incidents, self._span)

    def _of_rule(
        self, prepared: PreparedRule, wanted: float | None, tell: Callable[[], None]
    ) -> RuleReport:
        rehearsal = self._rehearsal(prepared)
        rule, tracks = prepared.rule, rehearsal.tracks
        # A change of another KPI than the rule's tells of the rule itself, not of a series.
        own = (c for c in self._changes if c.rule == rule.name and c.kpi == rule.kpi)
        alerts, held_back = alerts_of(own, self._span[0])
        alerts = rehearsal.counted(alerts)
        rows = sweep(rehearsal, tell)
        by_labels = {track.labels: track for track in tracks}
        return RuleReport(
            rule=rule,
            kpi=prepared.kpi,
            window_ms=rehearsal.window_ms,
            tracks=tracks,
            verdict=rehearsal.judged(alerts),
            worst=[_worst(rule, by_labels.get(a.labels), a, self._span[1]) for a in alerts],
            held_back=held_back,
            rows=rows,
            suggestion=suggest(rehearsal, rows, wanted) if rows and wanted is not None else None,
        )

    def _detection(self, incident: Incident, rules: Sequence[RuleReport]) -> Detection:
        found = [f for of_rule in rules for f in of_rule.verdict.found if f.incident is incident]
        return Detection(
            incident,
            sorted(found, key=lambda f: (f.delay, f.alert.rule)),
            concerned=any(incident.concerns(r.rule.kpi) for r in rules),
            recorded=incident.start <= self._span[1] and incident.end >= self._span[0],
        )


def alerts_of(changes: Iterable[Change], since: int = 0) -> tuple[list[Alert], int]:
    """The alerts that changes in order of time tell of, and how many ended as pending.

    Of the latter only those count that ended at ``since`` (ms) or later.
    """
    firing: dict[tuple[str, LabelPairs], Change] = {}
    alerts: list[Alert] = []
    held_back = 0
    for change in changes:
        key = change.rule, tuple(sorted(change.labels.items()))
        if change.to == "firing":
            firing[key] = change
        elif change.to == "resolved" and key in firing:
            alerts.append(_alert(firing.pop(key), change.changed_ms))
        elif change.to == "inactive":
            held_back += change.changed_ms >= since
    alerts += [_alert(change, None) for change in firing.values()]
    return sorted(alerts, key=lambda a: (a.fired_at, a.labels)), held_back


def _alert(fired: Change, resolved_at: int | None) -> Alert:
    return Alert(
        fired.rule,
        tuple(sorted(fired.labels.items())),
        fired.started_ms,
        fired.changed_ms,
        resolved_at,
        fired.threshold,
    )


def _worst(rule: Rule, track: Track | None, alert: Alert, end: int) -> Worst | None:
    """The sample furthest beyond while the alert was on; None where none is recorded."""
    if track is None or configured(rule) is None:
        return None
    inside = (track.at >= alert.started_at) & (track.at <= alert.lasts_until(end))
    places = np.flatnonzero(inside & with_data(rule, track))
    if not places.size:
        return None
    limit = limits(rule, track)
    beyond = track.value[places] - limit[places]
    if np.isnan(beyond).all():
        return None
    place = int(places[np.nanargmax(beyond if rises(rule) else -beyond)])
    sample = track.sample(place)
    if sample.value is None:
        return None
    limit_then = threshold(rule, sample)
    return Worst(int(track.at[place]), sample.value, sample.lower, sample.upper, limit_then)


def as_json(report: Report) -> dict[str, Any]:
    """The report as ``--json`` prints it: times as RFC 3339, durations in seconds."""
    return {
        "from": rfc3339(report.span[0]),
        "to": rfc3339(report.span[1]),
        "evaluations": report.evaluations,
        "alerts": [_alert_row(report, *row) for row in report.timeline],
        "incidents": None
        if report.detections is None
        else [_incident_row(d) for d in report.detections],
        "rules": [_rule_row(r) for r in report.rules],
    }


def _alert_row(
    report: Report, of_rule: RuleReport, alert: Alert, worst: Worst | None
) -> dict[str, Any]:
    verdict = of_rule.verdict
    return {
        "rule": alert.rule,
        "severity": of_rule.rule.severity,
        "kpi": of_rule.rule.kpi,
        "window": of_rule.rule.window,
        "labels": dict(alert.labels),
        "started_at": rfc3339(alert.started_at),
        "fired_at": rfc3339(alert.fired_at),
        "resolved_at": None if alert.resolved_at is None else rfc3339(alert.resolved_at),
        "seconds": (alert.lasts_until(report.span[1]) - alert.fired_at) / SECOND,
        "threshold": alert.threshold,
        "worst": None
        if worst is None
        else {
            "at": rfc3339(worst.at),
            "value": worst.value,
            "lower": worst.lower,
            "upper": worst.upper,
            "threshold": worst.threshold,
        },
        "incidents": [i.name for i in verdict.concerned if is_of(alert, i, of_rule.window_ms)],
        "false": report.is_false(of_rule, alert),
        "flap": alert in verdict.flaps,
    }


def _incident_row(detection: Detection) -> dict[str, Any]:
    incident, found = detection.incident, detection.found
    return {
        "name": incident.name,
        "start": rfc3339(incident.start),
        "end": rfc3339(incident.end),
        "kpi": incident.kpi,
        "labels": dict(incident.labels),
        "recorded": detection.recorded,
        "concerned": detection.concerned,
        "found_by": [
            {
                "rule": f.alert.rule,
                "labels": dict(f.alert.labels),
                "fired_at": rfc3339(f.alert.fired_at),
                "time_to_detect_seconds": f.delay / SECOND,
            }
            for f in found
        ],
    }


def _rule_row(of_rule: RuleReport) -> dict[str, Any]:
    suggestion = of_rule.suggestion
    return {
        "rule": of_rule.rule.name,
        "severity": of_rule.rule.severity,
        "kpi": of_rule.rule.kpi,
        "window": of_rule.rule.window,
        "series": len(of_rule.tracks),
        **_verdict_row(of_rule.verdict),
        "held_back": of_rule.held_back,
        "missed": [i.name for i in of_rule.verdict.missed],
        "thresholds": [
            {"threshold": t.threshold, "configured": t.is_configured, **_verdict_row(t.verdict)}
            for t in of_rule.rows
        ],
        "suggestion": None
        if suggestion is None
        else {
            "wanted_per_week": suggestion.wanted,
            "threshold": suggestion.tried.threshold if suggestion.tried else None,
            "note": suggestion.note,
            **(_verdict_row(suggestion.tried.verdict) if suggestion.tried else {}),
        },
    }


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    judged = verdict.false is not None
    delay = verdict.mean_delay
    return {
        "alerts": len(verdict.alerts),
        "alerts_per_week": verdict.per_week,
        "incidents": len(verdict.concerned) if judged else None,
        "detected": len(verdict.found) if judged else None,
        "mean_time_to_detect_seconds": None if delay is None else delay / SECOND,
        "false": None if verdict.false is None else len(verdict.false),
        "flaps": len(verdict.flaps),
        "firing_share": verdict.firing_share,
    }
