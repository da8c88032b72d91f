"""The kinds of panels that the dashboards are made of."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from stream.core.kpi import Kpi
from stream.dashboards.queries import Query, benchmark, by_dimension, chosen, named, owned
from stream.metrics.families import gauge_of

#: The data source is chosen by a variable, so that the dashboard fits any Grafana.
DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Grafana's name of the units in the catalogue.
UNITS = {
    "ratio": "percentunit",
    "seconds": "s",
    "points": "none",
    "currency": "none",
}
_OTHER_UNIT = "short"
_REFS = "ABCDEFGH"

GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#8e8e8e"


def unit_of(kpi: Kpi) -> str:
    """Grafana's unit for a KPI."""
    return UNITS.get(kpi.unit, _OTHER_UNIT)


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend)
        .datasource(DATASOURCE)
        .range()
        .ref_id(ref)
        for query, ref in zip(queries, _REFS, strict=False)
    ]


def limits(*steps: tuple[float | None, str]) -> dashboard_builders.ThresholdsConfig:
    """Colours from a value on; the first step's value is None."""
    return (
        dashboard_builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def number(
    title: str,
    description: str,
    query: Query,
    unit: str,
    thresholds: dashboard_builders.ThresholdsConfig,
) -> stat.Panel:
    """One number with its limits as its colour."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets(list(_targets([query])))
        .unit(unit)
        .thresholds(thresholds)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("–")
    )


def glance(kpi: Kpi, dimensions: Sequence[str]) -> stat.Panel:
    """A KPI's latest value, over the line of its values in the time shown.

    No change in percent goes with it: beside a percentage it would be read as points of it, and
    around 0 it means nothing.
    """
    labels = (*kpi.labels, *dimensions)
    panel = number(
        kpi.title,
        kpi.help,
        Query(chosen(gauge_of(kpi), dimensions), named("", labels)),
        unit_of(kpi),
        limits((None, "text")),
    ).graph_mode(common.BigValueGraphMode.AREA)
    if kpi.labels:
        return panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME)
    return panel


def lines(title: str, description: str, queries: Sequence[Query], unit: str) -> timeseries.Panel:
    """Values over time. Where a value was absent the line has a gap."""
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .targets(list(_targets(queries)))
        .unit(unit)
        .thresholds(limits((None, GREEN)))
        .color_scheme(dashboard_builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .calcs(["lastNotNull"])
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )


def kpi_over_time(kpi: Kpi, dimensions: Sequence[str]) -> timeseries.Panel:
    """A KPI with its bounds, or its quantiles, for what the variables choose."""
    labels = (*kpi.labels, *dimensions)
    queries = [Query(chosen(gauge_of(kpi), dimensions), named("value", labels))]
    bounded = kpi.bounds is not None
    if bounded:
        for part in ("lower", "upper"):
            gauge = gauge_of(kpi, part)
            queries.append(Query(chosen(gauge, dimensions), named(f"{part} 95%", labels)))
    elif kpi.quantile_gauge is not None:
        quantiles = chosen(kpi.quantile_gauge, dimensions)
        queries.append(Query(quantiles, named("quantile", ("quantile", *labels))))
    if kpi.comparable == "always":
        queries.append(Query(benchmark(kpi.id), named("benchmark", ("industry",))))
    panel = lines(kpi.title, _described(kpi, bounded=bounded), queries, unit_of(kpi))
    if bounded:
        for ref in ("B", "C"):
            panel = panel.override_by_query(ref, _bound_look())
    if kpi.comparable == "always":
        panel = panel.override_by_query(_REFS[len(queries) - 1], _benchmark_look())
    return panel


def _described(kpi: Kpi, *, bounded: bool) -> str:
    good = {"up": "Higher is better.", "down": "Lower is better.", "neither": ""}[kpi.good]
    bounds = "Dashed: 95% confidence interval." if bounded else ""
    return " ".join(filter(None, (kpi.help, good, bounds)))


def _bound_look() -> list[models.DynamicConfigValue]:
    """Bounds are thin, dashed and grey, and not in the legend."""
    return [
        models.DynamicConfigValue("custom.lineWidth", 1),
        models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
        models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": GREY}),
        models.DynamicConfigValue(
            "custom.hideFrom", {"legend": True, "tooltip": False, "viz": False}
        ),
    ]


def _benchmark_look() -> list[models.DynamicConfigValue]:
    """Benchmarks are thin and dotted, and named in the legend."""
    return [
        models.DynamicConfigValue("custom.lineWidth", 1),
        models.DynamicConfigValue("custom.lineStyle", {"fill": "dot", "dash": [2, 6]}),
    ]


def kpi_by(kpi: Kpi, dimension: str, dimensions: Sequence[str]) -> timeseries.Panel:
    """A KPI's values by one dimension."""
    expr = by_dimension(gauge_of(kpi), dimension, dimensions)
    queries = [Query(expr, named("", (dimension, *kpi.labels)))]
    return lines(f"{kpi.title} by {dimension}", _described(kpi, bounded=False), queries,
                 unit_of(kpi))  # fmt: skip


def alerts_over_time(dimensions: Sequence[str]) -> statetimeline.Panel:
    """When each alert fired; alerts that did not fire in the time shown are left out."""
    firing = owned("cx_alert_firing", dimensions)
    expr = f"{firing} and max_over_time({firing}[$__range:]) > 0"
    return (
        statetimeline.Panel()
        .title("Alerts")
        .description("When each alert fired. Alerts that did not fire in this time are left out.")
        .datasource(DATASOURCE)
        .targets(list(_targets([Query(expr, named("{{rule}}", dimensions))])))
        .unit("none")
        .mappings(
            [
                models.ValueMap(
                    options={
                        "0": models.ValueMappingResult(text="resolved", color=GREEN, index=0),
                        "1": models.ValueMappingResult(text="firing", color=RED, index=1),
                    }
                )
            ]
        )
        .color_scheme(dashboard_builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(limits((None, GREEN), (1, RED)))
        .no_value("No alert fired in this time")
    )
