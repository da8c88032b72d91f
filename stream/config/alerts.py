"""Rules between the keys of one alert rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stream.config import durations
from stream.config.errors import nearest, rollup, shown, suggestion
from stream.config.kpis import has_spikes, kpis
from stream.config.model import AlertConfig, Config

#: The key, empty for the rule as a whole, and what is wrong.
AlertFinding = tuple[str, str]

#: Keys that a rule for missing input has no use for.
_OF_KPIS: Final = (
    *("kpi", "window", "by", "above", "below", "clear", "min_samples", "min_covered"),
    *("significant", "on_no_data", "baseline", "factor", "max_series"),
)


def alert_findings(config: Config, alert: AlertConfig) -> Iterator[AlertFinding]:
    """Yield every contradiction between a rule's keys, and between it and the rest."""
    yield from _summary(config, alert)
    if alert.topic is not None:
        yield from _missing_input(alert)
        return
    if alert.absent_for_ms is not None:
        yield "absent_for", "does not go without topic"
    if alert.kpi is None:
        yield "kpi", "is missing; a rule watches a kpi, or else a topic"
    sizes = {w.size_ms: w.label for w in config.windows}
    windows = ", ".join(sizes.values())
    if alert.window_ms is None:
        yield "window", f"is missing; allowed: {windows}"
    elif alert.window_ms not in sizes:
        label = durations.label(alert.window_ms)
        yield "window", f'there is no window "{label}"; allowed: {windows}'
    if set(alert.by) not in [set(r) for r in config.rollups] or len(set(alert.by)) != len(alert.by):
        allowed = f"allowed: {', '.join(map(rollup, config.rollups))}"
        unknown = [name for name in alert.by if name not in config.dimensions]
        meant = (nearest(name, config.dimensions, cutoff=0.6) for name in unknown)
        words = " ".join([*filter(None, meant), allowed])
        yield "by", f"{rollup(alert.by)} is not one of the rollups; {words}"
    yield from _condition(alert, sizes)


def warnings(config: Config) -> list[str]:
    """What rules say that is allowed but can hardly be meant, a line each."""
    return [
        f"alert[{number}].{key} ({alert.name}): {words}"
        for number, alert in enumerate(config.alerts)
        for key, words in _warnings(alert)
    ]


def _warnings(alert: AlertConfig) -> Iterator[AlertFinding]:
    yield from _unreachable(alert)
    yield from _uncovered(alert)
    lowest, highest, _ = _range(alert)
    if alert.below is not None and highest is not None and alert.below > highest:
        yield "below", f"{alert.below:.12g} is above all values, so the alert is always on"
    if alert.above is not None and lowest is not None and alert.above < lowest:
        yield "above", f"{alert.above:.12g} is below all values, so the alert is always on"


def _missing_input(alert: AlertConfig) -> Iterator[AlertFinding]:
    if alert.absent_for_ms is None:
        yield "absent_for", 'is missing; topic needs it, such as "10m"'
    keys = {info.alias or name: name for name, info in AlertConfig.model_fields.items()}
    for key in _OF_KPIS:
        if keys[key] in alert.model_fields_set:
            yield key, "does not go with topic: such a rule watches no KPI"


def _condition(alert: AlertConfig, sizes: dict[int, str]) -> Iterator[AlertFinding]:
    spike = [k for k in ("baseline_ms", "factor") if getattr(alert, k) is not None]
    thresholds = [k for k in ("above", "below") if getattr(alert, k) is not None]
    if spike:
        yield from _spike(alert, thresholds, sizes)
    elif len(thresholds) != 1:
        found = "both are there" if thresholds else "none is there"
        yield "", f"needs exactly one of above, below, or baseline with factor; {found}"
    else:
        yield from _clear(alert)


def _clear(alert: AlertConfig) -> Iterator[AlertFinding]:
    if alert.clear is None:
        return
    if alert.above is not None and alert.clear > alert.above:
        yield "clear", f"must be at most {alert.above:.12g}, the threshold, not {alert.clear:.12g}"
    if alert.below is not None and alert.clear < alert.below:
        yield "clear", f"must be at least {alert.below:.12g}, the threshold, not {alert.clear:.12g}"


def _unreachable(alert: AlertConfig) -> Iterator[AlertFinding]:
    """A rule that can't fire or be resolved, as its numbers lie beyond what the KPI can be."""
    lowest, highest, words = _range(alert)
    if alert.above is not None and highest is not None and alert.above >= highest:
        yield "above", f"{alert.kpi} is {words}, so it is never above {alert.above:.12g}"
    if alert.below is not None and lowest is not None and alert.below <= lowest:
        yield "below", f"{alert.kpi} is {words}, so it is never below {alert.below:.12g}"
    if alert.clear is None:
        return
    never = f"{alert.kpi} is {words}, so an alert would never be resolved at {alert.clear:.12g}"
    if alert.above is not None and lowest is not None and alert.clear < lowest:
        yield "clear", never
    if alert.below is not None and highest is not None and alert.clear > highest:
        yield "clear", never


def _uncovered(alert: AlertConfig) -> Iterator[AlertFinding]:
    """A spike of a KPI that grows with the window, which a young baseline understates."""
    kpi = kpis().get(alert.kpi or "")
    if kpi is None or not kpi.grows_with_window or alert.factor is None or alert.min_covered > 0:
        return
    baseline = durations.label(alert.baseline_ms or 0)
    wrong = "fires falsely" if alert.factor > 1 else "misses falls"
    yield (
        "min_covered",
        (
            f"is missing; until data covers {baseline}, the usual value is too low and this rule"
            f" {wrong}: set 0.9, say"
        ),
    )


def _range(alert: AlertConfig) -> tuple[float | None, float | None, str]:
    """The lowest and highest value of the rule's KPI, and both in words."""
    kpi = kpis().get(alert.kpi or "")
    if kpi is None:
        return None, None, ""
    share = " (a share, not a percentage)" if kpi.unit == "ratio" else ""
    if kpi.lowest is None:
        return None, kpi.highest, f"at most {kpi.highest or 0:g}{share}"
    if kpi.highest is None:
        return kpi.lowest, None, f"at least {kpi.lowest:g}{share}"
    return kpi.lowest, kpi.highest, f"{kpi.lowest:g} to {kpi.highest:g}{share}"


def _spike(
    alert: AlertConfig, thresholds: list[str], sizes: dict[int, str]
) -> Iterator[AlertFinding]:
    for key in thresholds:
        yield key, f"does not go with baseline and factor; use {key}, or these two"
    if alert.clear is not None:
        yield "clear", "does not go with baseline: a spike ends at factor × the usual value"
    if alert.kpi is not None and not has_spikes(alert.kpi):
        yield "kpi", f"{alert.kpi} can be negative, which has no factor; use above or below"
    if alert.factor is None:
        yield "factor", "is missing; baseline needs it"
    elif alert.factor == 1:
        yield "factor", "must be more than 1 for a rise or less than 1 for a fall"
    if alert.baseline_ms is None:
        yield "baseline", "is missing; factor needs it"
        return
    window = alert.window_ms or 0
    longer = ", ".join(label for ms, label in sizes.items() if ms > window) or "none"
    label = durations.label(alert.baseline_ms)
    if alert.baseline_ms <= window:
        yield "baseline", f'must be longer than the window, not "{label}"; allowed: {longer}'
    elif alert.baseline_ms not in sizes:
        yield "baseline", f'there is no window "{label}"; allowed: {longer}'


def _summary(config: Config, alert: AlertConfig) -> Iterator[AlertFinding]:
    from stream.core.alerts.template import FIELDS, BadTemplate, fields_of

    kpi = kpis().get(alert.kpi or "")
    labels = sorted(name for name in alert.by if name in config.dimensions)
    labels += () if kpi is None else kpi.labels
    own = ["topic"] if alert.topic is not None else labels
    allowed = list(dict.fromkeys([*FIELDS, *own]))
    try:
        fields = fields_of(alert.summary)
    except BadTemplate as error:
        yield "summary", str(error)
        return
    for field in dict.fromkeys(fields):
        if field not in allowed:
            yield "summary", f"unknown field {shown(field)}; {suggestion(field, allowed)}"
