"""The report's tables in words, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from stream.backtest.incidents import Incident
from stream.backtest.judge import Verdict, is_of
from stream.backtest.report import Detection, Report, RuleReport, Worst
from stream.backtest.rerun import Alert
from stream.backtest.sweep import Suggestion, with_threshold
from stream.core.alerts.machine import rises
from stream.core.alerts.quantities import as_limit, counted, duration, quantity, rounded
from stream.core.series import LabelPairs
from stream.core.settings import SECOND, Rule
from stream.core.text import printable

#: More alerts are not listed, only counted.
MOST_LISTED: Final = 500
NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under column names; ``numbers`` are the columns that align to the right.

    ``marked``: rows that stand out. ``note`` says what is left out, or how to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = field(default_factory=frozenset)
    note: str = ""

    def without(self, column: str) -> Table:
        """The table without the column of this name."""
        gone = self.columns.index(column)
        kept = [place for place in range(len(self.columns)) if place != gone]
        return replace(
            self,
            columns=[self.columns[place] for place in kept],
            rows=[[row[place] for place in kept] for row in self.rows],
            numbers=frozenset(i for i, place in enumerate(kept) if place in self.numbers),
        )


def summary(report: Report) -> str:
    """The whole in one or two sentences."""
    first, last = report.span
    alerts = report.timeline
    over = f"{duration(last - first)}, {moment(first)} to {moment(last)} UTC"
    parts = [
        f"{counted(len(report.rules), 'rule')} over {over}: {counted(len(alerts), 'alert')}",
    ]
    if report.detections is not None:
        asked = [d for d in report.detections if d.concerned and d.recorded]
        found = [d for d in asked if d.found]
        false = sum(len(r.verdict.false or ()) for r in report.rules)
        parts.append(f"{len(found)} of {counted(len(asked), 'incident')} found")
        parts.append(counted(false, "false alert"))
    flaps = sum(len(r.verdict.flaps) for r in report.rules)
    return ", ".join([*parts, counted(flaps, "flap")]) + "."


def alerts_table(report: Report) -> Table:
    """Each alert on the time line."""
    listed = report.timeline
    rows = [_alert_row(report, *row) for row in listed[:MOST_LISTED]]
    more = len(listed) - len(rows)
    columns = ["fired at", "rule", "series", "until", "for", "at worst", "threshold", "verdict"]
    note = f"{more} more are not listed; --json has them all." if more > 0 else ""
    return Table("Alerts", columns, rows, frozenset({4, 5, 6}), note=note)


def incidents_table(report: Report) -> Table:
    """Each marked incident, and what found it."""
    detections = report.detections or ()
    rows = [_incident_row(d) for d in detections]
    missed = frozenset(
        i for i, d in enumerate(detections) if d.concerned and d.recorded and not d.found
    )
    columns = ["incident", "from", "to", "of", "time to detect", "found by"]
    return Table("Incidents", columns, rows, frozenset({4}), missed)


def rules_table(report: Report) -> Table:
    """Each rule's verdict."""
    columns = ["rule", "severity", "series", *_verdict_columns(report), "held back"]
    rows = [
        [
            printable(r.rule.name),
            printable(r.rule.severity),
            str(len(r.tracks)),
            *_verdict_cells(report, r.verdict),
            str(r.held_back),
        ]
        for r in report.rules
    ]
    note = (
        "A flap fires within one window after the same series was resolved;"
        " held back were pending alerts that never fired."
    )
    return Table("Rules", columns, rows, frozenset(range(2, len(columns))), note=note)


def thresholds_table(report: Report, of_rule: RuleReport) -> Table:
    """What a rule's other thresholds would have given, the most sensitive first."""
    word = "factor" if of_rule.rule.factor is not None else "threshold"
    columns = [word, *_verdict_columns(report), "remark"]
    picked = of_rule.suggestion.tried if of_rule.suggestion else None
    tried = {t.threshold: t for t in of_rule.rows}
    if picked is not None:
        tried.setdefault(picked.threshold, picked)
    ordered = sorted(tried.values(), key=lambda t: t.threshold, reverse=not rises(of_rule.rule))
    rows, marked = [], set()
    for place, one in enumerate(ordered):
        is_picked = picked is not None and one.threshold == picked.threshold
        words = [w for w, so in (("configured", one.is_configured), ("suggested", is_picked)) if so]
        if words:
            marked.add(place)
        cells = _verdict_cells(report, one.verdict)
        rows.append([limit(of_rule, one.threshold), *cells, ", ".join(words)])
    title = f"{printable(of_rule.rule.name)}: other {word}s"
    numbers = frozenset(range(len(columns) - 1))
    return Table(title, columns, rows, numbers, frozenset(marked))


def suggestion_words(of_rule: RuleReport, suggestion: Suggestion) -> str:
    """A suggestion as a sentence, with the lines for the configuration."""
    name = printable(of_rule.rule.name)
    wanted = f"{suggestion.wanted:g} alerts a week"
    if suggestion.tried is None:
        return f"{name}: no threshold for {wanted}: {suggestion.note}."
    rule = with_threshold(of_rule.rule, suggestion.tried.threshold)
    lines = [f"{_key(rule)} = {suggestion.tried.threshold:.12g}"]
    if rule.clear is not None:
        lines.append(f"clear = {rule.clear:.12g}")
    rate = suggestion.tried.verdict.per_week
    return f"{name}: for {wanted}: {', '.join(lines)} (gives {rounded(rate, 3)} a week)"


def limit(of_rule: RuleReport, value: float) -> str:
    """A threshold in the KPI's unit; of a spike its factor."""
    return f"{value:.6g} ×" if of_rule.rule.factor is not None else as_limit(of_rule.kpi, value)


def series(labels: LabelPairs) -> str:
    """A series by its labels."""
    return printable(", ".join(f"{name}={value}" for name, value in labels)) or "total"


def moment(at: int) -> str:
    """A time in UTC to the second, as people read it."""
    return str(np.datetime64(at // SECOND, "s")).replace("T", " ")


def _key(rule: Rule) -> str:
    if rule.factor is not None:
        return "factor"
    return "above" if rule.above is not None else "below"


def _alert_row(report: Report, of_rule: RuleReport, alert: Alert, worst: Worst | None) -> list[str]:
    end = report.span[1]
    at_worst = NONE if worst is None else quantity(of_rule.kpi, worst.value)
    threshold = alert.threshold if worst is None else worst.threshold
    return [
        moment(alert.fired_at),
        printable(alert.rule),
        series(alert.labels),
        "still firing" if alert.resolved_at is None else moment(alert.resolved_at),
        duration(alert.lasts_until(end) - alert.fired_at),
        at_worst,
        NONE if threshold is None else as_limit(of_rule.kpi, threshold),
        _verdict_of(report, of_rule, alert),
    ]


def _verdict_of(report: Report, of_rule: RuleReport, alert: Alert) -> str:
    words = []
    names = [
        printable(i.name) for i in of_rule.verdict.concerned if is_of(alert, i, of_rule.window_ms)
    ]
    if names:
        words.append(f"incident: {', '.join(names)}")
    if report.is_false(of_rule, alert):
        words.append("false")
    if alert in of_rule.verdict.flaps:
        words.append("flap")
    return ", ".join(words)


def _incident_row(detection: Detection) -> list[str]:
    incident, found = detection.incident, detection.found
    by = [f"{printable(f.alert.rule)} ({duration(f.delay)})" for f in found]
    if not detection.recorded:
        by = ["not in the recording"]
    elif not detection.concerned:
        by = ["no rule on its KPI"]
    return [
        printable(incident.name),
        moment(incident.start),
        moment(incident.end),
        _hits(incident),
        duration(found[0].delay) if found else NONE,
        ", ".join(by) or "missed",
    ]


def _hits(incident: Incident) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(incident.labels.items()))
    return printable(" ".join(filter(None, [incident.kpi or "", labels]))) or "everything"


def _verdict_columns(report: Report) -> list[str]:
    judged = ["found", "time to detect", "false"] if report.judged else []
    return ["alerts", "a week", *judged, "flaps", "firing"]


def _verdict_cells(report: Report, verdict: Verdict) -> list[str]:
    judged = []
    if report.judged:
        delay = verdict.mean_delay
        judged = [
            f"{len(verdict.found)} of {len(verdict.concerned)}",
            NONE if delay is None else duration(round(delay / SECOND) * SECOND),
            str(len(verdict.false or ())),
        ]
    share = f"{rounded(100 * verdict.firing_share, 2)}%"
    return [
        str(len(verdict.alerts)),
        rounded(verdict.per_week, 3),
        *judged,
        str(len(verdict.flaps)),
        share,
    ]
