"""The report as one page that needs nothing else: no script, no address, dark and light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from typing import Final

from stream.backtest import svg
from stream.backtest.curves import (
    alerts_of_series,
    curve,
    incidents_of_series,
    shown_series,
)
from stream.backtest.report import Report, RuleReport
from stream.backtest.rerun import Alert
from stream.backtest.style import STYLE
from stream.backtest.tables import (
    NONE,
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
from stream.core.alerts.quantities import as_limit, counted, duration, quantity
from stream.core.series import LabelPairs
from stream.core.text import printable

#: So many series of a rule have a plot, and so many lanes the time line.
MOST_PLOTS: Final = 6
MOST_LANES: Final = 40
_SLICES: Final = 600

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Alert rehearsal</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(_body(report))
        + "\n</main>\n</body>\n</html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    yield f"<h1>Alert rehearsal</h1>\n<p class=lead>{escape(summary(report))}</p>"
    yield f"<p>Times are UTC. {_how_judged(report)}</p>"
    yield _time_line(report)
    if report.detections:
        yield _section(incidents_table(report))
    yield _section(rules_table(report))
    yield _section(alerts_table(report))
    for of_rule in report.rules:
        yield "\n".join(_rule(report, of_rule))


def _how_judged(report: Report) -> str:
    if not report.judged:
        return "No incidents were marked, so nothing says which alerts are false."
    return (
        "An alert is of an incident if it fires from its start up to one window after its end,"
        " on the incident’s KPI, with no label that contradicts; all other alerts are false."
    )


def _time_line(report: Report) -> str:
    lanes: dict[str, list[svg.Named]] = {}
    for of_rule, alert, _ in report.timeline:
        lane = f"{alert.rule} · {series(alert.labels)}"
        lanes.setdefault(lane, []).append(_named(report, of_rule, alert))
    listed = sorted(lanes.items())
    shown = listed[:MOST_LANES]
    incidents = [
        (d.incident.name, d.incident.start, d.incident.end) for d in report.detections or ()
    ]
    drawn = svg.time_line(shown, incidents, report.span, summary(report))
    more = len(listed) - len(shown)
    note = f"<p class=note>{more} more series with alerts are not drawn.</p>" if more else ""
    words = "Alerts of each rule and series" + (", over marked incidents" if incidents else "")
    if not listed:
        return "<h2>Time line</h2>\n<p>No alert fired.</p>"
    return f"<h2>Time line</h2>\n{_figure(drawn, words)}{note}"


def _rule(report: Report, of_rule: RuleReport) -> Iterator[str]:
    rule = of_rule.rule
    yield f"<section>\n<h2>{escape(printable(rule.name))}</h2>"
    yield f"<p><code>{escape(described(rule))}</code> · {escape(printable(rule.severity))}</p>"
    if not of_rule.tracks:
        yield "<p>The recording has no samples of its series.</p>"
    labels_shown = shown_series(of_rule, MOST_PLOTS)
    for labels in labels_shown:
        yield _plot(report, of_rule, labels)
    fired = len({alert.labels for alert in of_rule.verdict.alerts})
    if fired > len(labels_shown):
        yield f"<p class=note>{fired - len(labels_shown)} more series that fired have no plot.</p>"
    if of_rule.suggestion is not None:
        yield f"<p class=suggestion>{escape(suggestion_words(of_rule, of_rule.suggestion))}</p>"
    if of_rule.rows:
        yield _section(thresholds_table(report, of_rule), level=3)
    yield "</section>"


def _plot(report: Report, of_rule: RuleReport, labels: LabelPairs) -> str:
    track = of_rule.track(labels)
    if track is None:
        return ""
    alerts = alerts_of_series(of_rule, labels)
    drawn = svg.plot(
        f"{of_rule.rule.name}, {series(labels)}",
        f"{of_rule.rule.kpi} over {of_rule.rule.window}, {counted(len(alerts), 'alert')}",
        curve(of_rule, track, report.span, _SLICES),
        report.span,
        [_named(report, of_rule, alert) for alert in alerts],
        incidents_of_series(report, of_rule, labels),
        partial(quantity, of_rule.kpi),
    )
    title = of_rule.kpi.title if of_rule.kpi is not None else of_rule.rule.kpi
    return _figure(drawn, f"{title}, {series(labels)}", legend=True)


def _named(report: Report, of_rule: RuleReport, alert: Alert) -> svg.Named:
    end = alert.lasts_until(report.span[1])
    limit = NONE if alert.threshold is None else as_limit(of_rule.kpi, alert.threshold)
    name = f"{moment(alert.fired_at)}, {duration(end - alert.fired_at)}, threshold {limit}"
    return name, alert.fired_at, end


def _figure(drawn: str, words: str, *, legend: bool = False) -> str:
    keys = ""
    if legend:
        kinds = ("value", "bounds", "limit", "firing", "incident")
        names = ("value", "95% bounds", "threshold", "firing", "incident")
        keys = (
            "<span class=legend>"
            + "".join(
                f'<span><i class="{kind}"></i>{name}</span>'
                for kind, name in zip(kinds, names, strict=True)
            )
            + "</span>"
        )
    caption = f"<figcaption><b>{escape(printable(words))}</b>{keys}</figcaption>"
    label = escape(printable(words))
    return (
        f'<figure>{caption}<div class=scroll tabindex=0 role=region aria-label="{label}">'
        f"{drawn}</div></figure>"
    )


def _section(table: Table, level: int = 2) -> str:
    head = f"<h{level}>{escape(table.title)}</h{level}>"
    if not table.rows:
        return f"{head}\n<p>None.</p>"
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    names = "".join(
        f"<th scope=col{_numeric(table, i)}>{escape(name)}</th>"
        for i, name in enumerate(table.columns)
    )
    rows = "\n".join(
        f"<tr{' class=marked' if place in table.marked else ''}>{_cells(table, row)}</tr>"
        for place, row in enumerate(table.rows)
    )
    label = escape(table.title)
    return (
        f'{head}\n<div class=scroll tabindex=0 role=region aria-label="{label}"><table>\n'
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>{note}"
    )


def _cells(table: Table, row: Sequence[str]) -> str:
    return "".join(f"<td{_numeric(table, i)}>{escape(cell)}</td>" for i, cell in enumerate(row))


def _numeric(table: Table, place: int) -> str:
    return " class=number" if place in table.numbers else ""
