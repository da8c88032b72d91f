"""What a change says beyond what the state machine saw: against what, where from, where to."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stream.core.alerts.change import Change, Contributor, Rest, Trend
from stream.core.alerts.decompose import Before, Effect, effects, listed, most_telling
from stream.core.alerts.details import Details
from stream.core.alerts.exact import exact
from stream.core.alerts.links import dashboard_link
from stream.core.alerts.machine import RuleSample
from stream.core.alerts.quantities import duration
from stream.core.alerts.rules import PreparedRule, Rollups, RuleSet
from stream.core.alerts.sentences import overflow_sentence, sentence, summary_values
from stream.core.alerts.template import filled
from stream.core.series import LabelPairs, Sample

#: Without bounds a change of less than this part of the value is none.
STEADY_PART = 0.01


def explained(
    rules: RuleSet,
    prepared: PreparedRule,
    change: Change,
    sample: RuleSample | None,
    details: Details,
) -> Change:
    """The change with baseline, contributors, trend, sentence, summary and link."""
    labels = tuple(sorted(change.labels.items()))
    baseline = _baseline(prepared, sample, labels, details)
    before = _before(prepared, change, sample, baseline)
    named, rest = _contributors(prepared, change, sample, before, details)
    usual = None if baseline is None or baseline.value is None else baseline
    change = msgspec.structs.replace(
        change,
        baseline=_usual(prepared, sample, usual),
        baseline_window=prepared.baseline or "" if usual is not None else "",
        reference=None if before is None else before.value,
        contributors=named,
        rest=rest,
        trend=_trend(prepared, sample, labels, details, rules.sizes),
    )
    return _worded(rules, change, sentence(prepared, change, sample))


def explained_overflow(rules: RuleSet, change: Change) -> Change:
    """The change of the alert on a rule's number of series, with sentence, summary and link."""
    return _worded(rules, change, overflow_sentence(change))


def _worded(rules: RuleSet, change: Change, words: str) -> Change:
    link = dashboard_link(rules, change, change.started_ms, change.changed_ms)
    return msgspec.structs.replace(
        change,
        explanation=words,
        summary=filled(change.summary, summary_values(change)),
        dashboard_url=link,
    )


def _baseline(
    prepared: PreparedRule, sample: RuleSample | None, labels: LabelPairs, details: Details
) -> Sample | None:
    """The series over the longer window; None where that knows of nothing before this window."""
    if prepared.baseline is None:
        return None
    found = details.sample(prepared.rule.kpi, prepared.baseline, labels)
    if found is None or found.value is None:
        return None
    if prepared.rule.factor is not None or sample is None:
        return found
    numbers = (sample.value, sample.numerator, sample.denominator)
    return None if numbers == (found.value, found.numerator, found.denominator) else found


def _usual(
    prepared: PreparedRule, sample: RuleSample | None, baseline: Sample | None
) -> float | None:
    if prepared.rule.factor is not None:
        return None if sample is None else sample.usually
    if baseline is None or baseline.value is None:
        return None
    usual = exact(baseline.value, baseline.numerator, baseline.denominator)
    return float(usual.times(prepared.usual_scale).number)


def _before(
    prepared: PreparedRule, change: Change, sample: RuleSample | None, baseline: Sample | None
) -> Before | None:
    """What the value is compared with: the usual value, else the threshold, of a count 0."""
    if sample is None or sample.value is None:
        return None
    usual = _usual(prepared, sample, baseline)
    if usual is not None:
        return Before(usual, baseline, float(prepared.usual_scale))
    kpi = prepared.kpi
    if kpi is not None and kpi.grows_with_window and sample.denominator is None:
        return Before(0.0)
    return None if change.threshold is None else Before(change.threshold)


def _contributors(
    prepared: PreparedRule,
    change: Change,
    sample: RuleSample | None,
    before: Before | None,
    details: Details,
) -> tuple[tuple[Contributor, ...], Rest | None]:
    """The sub-series that moved the value most from its reference, and all the others together.

    Of the rollups that are finer than the rule's by the least, the one that tells the most is
    taken. KPIs that are neither a ratio of sums nor a count can't be taken apart.
    """
    kpi = prepared.kpi
    if sample is None or before is None or kpi is None or prepared.rule.topic:
        return (), None
    if sample.denominator is None and not kpi.grows_with_window:
        return (), None
    whole = Sample(
        change.kpi,
        change.window,
        tuple(sorted(change.labels.items())),
        sample.value,
        numerator=sample.numerator,
        denominator=sample.denominator,
    )
    rollups = details.whole.get((change.kpi, change.window), {})
    then = details.whole.get((change.kpi, prepared.baseline or ""), {})
    ways: list[list[Effect]] = []
    for names in _finer(prepared.by, rollups):
        parts = _parts(rollups.get(names, {}), whole.labels)
        former = _parts(then.get(names, {}), whole.labels) if before.sample else {}
        # A baseline that is known as a whole alone is a number like a threshold.
        compared = before if former else before._replace(sample=None)
        if parts:
            ways.append(effects(whole, compared, parts, former, kpi.scale))
    return listed(most_telling(ways, whole), whole, before)


def _finer(by: tuple[str, ...], rollups: Rollups) -> list[tuple[str, ...]]:
    """The rollups that are finer than a rule's by the least, in order of their names."""
    finer = sorted(names for names in rollups if set(names) > set(by))
    return [names for names in finer if not any(set(o) < set(names) for o in finer)]


def _parts(samples: Mapping[LabelPairs, Sample], labels: LabelPairs) -> dict[LabelPairs, Sample]:
    """The sub-series of a series."""
    of_series = set(labels)
    return {part: sample for part, sample in samples.items() if of_series <= set(part)}


def _trend(
    prepared: PreparedRule,
    sample: RuleSample | None,
    labels: LabelPairs,
    details: Details,
    sizes: Mapping[str, int],
) -> Trend | None:
    """Where the value is going; None where its newest part has no value or can't be compared."""
    rule, part = prepared.rule, details.parts.get(prepared.rule.window)
    newest = details.newest_sample(rule.kpi, rule.window, labels)
    if sample is None or sample.value is None or part is None:
        return None
    if newest is None or newest.value is None:
        return None
    kpi, scale = prepared.kpi, 1.0
    if kpi is not None and not kpi.compares_across_windows:
        return None
    if kpi is not None and kpi.grows_with_window:
        scale = sizes[rule.window] / part.size_ms
    change = newest.value * scale - sample.value
    if newest.lower is not None and newest.upper is not None:
        steady = newest.lower * scale <= sample.value <= newest.upper * scale
    else:
        steady = abs(change) <= STEADY_PART * abs(sample.value)
    if steady:
        return Trend("steady", change, duration(part.size_ms))
    return Trend("rising" if change > 0 else "falling", change, duration(part.size_ms))
