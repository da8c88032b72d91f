"""The overview: alerts, all KPIs with their bounds, segments, and the worker's health."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from stream.core.alerts.links import DASHBOARD_UID, variable_of
from stream.core.catalogue import TOPICS
from stream.core.kpi import Kpi
from stream.dashboards import panels
from stream.dashboards.panels import DATASOURCE, GREEN, RED, YELLOW, limits, lines, number
from stream.dashboards.queries import (
    ABSENT,
    WINDOW,
    Query,
    mean_duration,
    named,
    owned,
    rate,
    within_an_hour,
)
from stream.metrics.scraping import scraped

TITLE = "Customer experience"
_DEFAULT_WINDOW = "1h"
#: How many columns Grafana's grid has.
_COLUMNS = 24
PanelBuilder = cog.Builder[models.Panel]


def overview(kpis: Mapping[str, Kpi], dimensions: Sequence[str]) -> str:
    """The dashboard as JSON text, the same for the same catalogue and dimensions."""
    dashboard = (
        builders.Dashboard(TITLE)
        .uid(DASHBOARD_UID)
        .description("Rolling KPIs with 95% bounds, their alerts, and the worker that makes them.")
        .tags(["cxkpi", "customer experience"])
        .time("now-1h", "now")
        .refresh("5s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
    )
    for variable in _variables(dimensions):
        dashboard = dashboard.with_variable(variable)
    for shown in _now(dimensions):
        dashboard = dashboard.with_panel(shown)
    dashboard = dashboard.with_panel(panels.alerts_over_time(dimensions).span(_COLUMNS).height(5))
    dashboard = dashboard.with_row(builders.Row("KPIs at a glance"))
    # Those with several values, one per currency, are wider and come last.
    glanced = sorted(kpis.values(), key=lambda kpi: bool(kpi.labels))
    widths = _filling([6 if kpi.labels else 4 for kpi in glanced])
    for kpi, width in zip(glanced, widths, strict=True):
        dashboard = dashboard.with_panel(panels.glance(kpi, dimensions).span(width).height(4))
    for topic in dict.fromkeys(kpi.topic for kpi in kpis.values()):
        dashboard = dashboard.with_row(builders.Row(TOPICS[topic].title))
        for kpi in kpis.values():
            if kpi.topic == topic:
                panel = panels.kpi_over_time(kpi, dimensions).span(8).height(7)
                dashboard = dashboard.with_panel(panel)
    for dimension in dimensions:
        # A closed row holds its panels itself; those of an open one follow it.
        row = builders.Row(f"By {dimension}").collapsed(True)
        for kpi in kpis.values():
            row = row.with_panel(panels.kpi_by(kpi, dimension, dimensions).span(8).height(7))
        dashboard = dashboard.with_row(row)
    dashboard = dashboard.with_row(builders.Row("Worker"))
    for shown in _worker():
        dashboard = dashboard.with_panel(shown)
    return _text(dashboard.build())


def _filling(widths: Sequence[int]) -> list[int]:
    """Widths such that every row but the last is full, at least those that are given.

    The builder begins a row after one that is full; else the next panel would stand beyond the
    edge. So the panel after which there is no room gets what is left of its row.
    """
    filled: list[int] = []
    used = 0
    for width in widths:
        if used + width > _COLUMNS:
            filled[-1] += _COLUMNS - used
            used = 0
        filled.append(width)
        used = (used + width) % _COLUMNS
    return filled


def _variables(dimensions: Sequence[str]) -> list[cog.Builder[models.VariableModel]]:
    variables: list[cog.Builder[models.VariableModel]] = [
        builders.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        builders.QueryVariable("window")
        .label("Window")
        .description("The sliding window that all KPIs are of.")
        .datasource(DATASOURCE)
        .query("label_values(cx_window_covered_ratio, window)")
        .definition("label_values(cx_window_covered_ratio, window)")
        .refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
        .current(models.VariableOption(text=_DEFAULT_WINDOW, value=_DEFAULT_WINDOW)),
    ]
    variables.append(
        builders.QueryVariable("industry")
        .label("Industry")
        .description("Whose published figures stand beside the KPIs, where there are any.")
        .datasource(DATASOURCE)
        .query("label_values(cx_benchmark, industry)")
        .definition("label_values(cx_benchmark, industry)")
        .refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(text="All", value="$__all"))
    )
    for name in dimensions:
        query = f'label_values({{__name__=~"cx_.+_denominator", {WINDOW}}}, {scraped(name)})'
        variables.append(
            builders.QueryVariable(variable_of(name))
            .label(name.replace("_", " ").capitalize())
            .description(
                f"All is the total, without regard to {name}. Values chosen in several dimensions "
                "need a rollup of just these in the configuration."
            )
            .datasource(DATASOURCE)
            .query(query)
            .definition(query)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(ABSENT)
            .current(models.VariableOption(text="All", value="$__all"))
        )
    return variables


def _now(dimensions: Sequence[str]) -> list[PanelBuilder]:
    """Whether all is well, in one line."""
    firing = owned("cx_alert_firing", dimensions)
    stats = [
        number(
            "Alerts firing",
            "Alerts that fire now.",
            Query(f"sum({firing}) or vector(0)", "firing"),
            "none",
            limits((None, GREEN), (1, RED)),
        ),
        number(
            "Ready",
            "Whether all workers have taken over their shards and KPI families.",
            Query("min(cx_worker_ready)", "ready"),
            "bool_yes_no",
            limits((None, RED), (1, GREEN)),
        ),
        number(
            "Age of the KPIs",
            "How long ago the time is that the KPIs stand for.",
            Query("clamp_min(time() - min(max by (kpi) (cx_evaluated_timestamp_seconds)), 0)",
                  "age"),
            "s",
            limits((None, GREEN), (30, YELLOW), (60, RED)),
        ),
        number(
            "Window covered",
            "The part of the window since the first event ever counted.",
            Query(f"max(cx_window_covered_ratio{{{WINDOW}}})", "covered"),
            "percentunit",
            limits((None, YELLOW), (1, GREEN)),
        ),
        number(
            "Events",
            "Records taken in per second, whatever their outcome.",
            Query("sum(rate(cx_events_total[$__rate_interval]))", "events"),
            "eps",
            limits((None, "text")),
        ),
        number(
            "Lag",
            "Records that lie in their topics and were not received yet.",
            Query("sum(cx_worker_lag_records)", "lag"),
            "short",
            limits((None, GREEN), (10_000, YELLOW), (1_000_000, RED)),
        ),
    ]  # fmt: skip
    return [panel.span(4).height(4) for panel in stats]


def _worker() -> list[PanelBuilder]:
    """How the workers do."""
    duration = (
        ("flush", "Flush time", "Time to make state, positions and dead letters durable: mean."),
        ("evaluation", "Evaluation time", "Time to evaluate all windows and KPIs: mean."),
    )
    outcomes = Query(rate("cx_events_total", "outcome"), named("", ["outcome"]))
    topics = Query(rate("cx_events_total", "topic"), named("", ["topic"]))
    lag = Query("sum by (topic) (cx_worker_lag_records)", named("", ["topic"]))
    age = Query("time() - max by (topic) (cx_last_event_timestamp_seconds)", named("", ["topic"]))
    letters = Query(rate("cx_worker_dead_letters_total", "topic"), named("", ["topic"]))
    told = Query(rate("cx_worker_notifications_total", "sink, result"),
                 named("", ["sink", "result"]))  # fmt: skip
    shards = Query("sum by (state) (cx_worker_shards)", named("", ["state"]))
    recovery = Query("max by (instance) (cx_worker_last_recovery_seconds)", "{{instance}}")
    lacking = (
        ("gap_records", "records deleted unread"),
        ("forgotten", "entities forgotten early"),
        ("refused_bases", "bases without room"),
        ("subscriptions_without_room", "subscriptions without room"),
    )
    lacks = [Query(within_an_hour(f"cx_worker_{name}_total"), text) for name, text in lacking]
    lacks.append(Query("sum(cx_worker_damaged_shares)", "shares not readable now"))
    cpu = "rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) cx_worker_ready"
    memory = "process_resident_memory_bytes and on (instance) cx_worker_ready"
    made = [
        lines("Events by outcome", "Records per second.", [outcomes], "eps"),
        lines("Events by topic", "Records per second, whatever their outcome.", [topics], "eps"),
        lines("Age of the last event", "Since the latest accepted event occurred.", [age], "s"),
        lines("Lag", "Records that lie in their topic and were not received yet.", [lag], "short"),
        *(
            lines(title, text, [Query(mean_duration(f"cx_worker_{name}_seconds"), "{{instance}}")],
                  "s")
            for name, title, text in duration
        ),
        lines("Dead letters", "Records per second, by source topic.", [letters], "eps"),
        lines("Notifications", "Per second, by sink and result.", [told], "eps"),
        lines("Shards", "By whether their state is owned or being recovered.", [shards], "short"),
        lines("Recovery", "Time that the latest take-over of all assigned shards took.", [recovery],
              "s"),
        lines("CPU", "Cores in use.", [Query(cpu, "{{instance}}")], "none"),
        lines("Memory", "Resident memory.", [Query(memory, "{{instance}}")], "bytes"),
        lines("What KPIs lack", "Within an hour; runbooks tell what to do.", lacks, "short"),
    ]  # fmt: skip
    return [panel.span(8).height(7) for panel in made]


def _text(dashboard: models.Dashboard) -> str:
    """JSON with ids given in the order of the panels, ending with a newline."""
    document = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    number_panels(document)
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def number_panels(document: dict[str, Any]) -> None:
    """Give each panel an id of its own, counted from 1."""
    following = 1
    for panel in all_panels(document):
        panel["id"] = following
        following += 1


def all_panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels and rows of a dashboard's document, those in closed rows too."""
    found = []
    for panel in document["panels"]:
        found.append(panel)
        found.extend(panel.get("panels") or [])
    return found
