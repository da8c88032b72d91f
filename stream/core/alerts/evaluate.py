"""All rules over one evaluation: find each rule's series, take each a step further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream.core.alerts.change import Change
from stream.core.alerts.explain import explained
from stream.core.alerts.machine import AlertState, AlertStates, RuleSample, step
from stream.core.alerts.rules import PreparedRule, Rollups, RuleSet, rollup_of
from stream.core.series import Evaluation, Labels, Sample

NOTHING: Mapping[Labels, Sample] = {}


class Evaluated(NamedTuple):
    """The states after an evaluation, and its changes in order of rule and labels."""

    states: AlertStates
    changes: tuple[Change, ...]


def evaluate(rules: RuleSet, states: AlertStates, evaluation: Evaluation, now: int) -> Evaluated:
    """Take every alert through the evaluation at ``now`` (ms).

    A series that is in no sample any more has no data. States of rules that are no longer
    configured, or have another rollup now, are dropped. An evaluation that isn't later than
    ``states.at`` is passed over: no change is made twice, or out of order.
    """
    if states.at is not None and now <= states.at:
        return Evaluated(states, ())
    index = _index(rules, evaluation)
    before: dict[str, dict[Labels, AlertState]] = {}
    for state in states.alerts:
        before.setdefault(state.rule, {})[state.labels] = state
    after: list[AlertState] = []
    changes: list[Change] = []
    for prepared in rules.rules:
        known = before.get(prepared.rule.name, {})
        _evaluate_rule(prepared, known, index, now, after, changes)
    return Evaluated(AlertStates(now, tuple(after)), tuple(changes))


def _evaluate_rule(
    prepared: PreparedRule,
    known: Mapping[Labels, AlertState],
    index: Mapping[tuple[str, str], Rollups],
    now: int,
    after: list[AlertState],
    changes: list[Change],
) -> None:
    rule = prepared.rule
    rollups = index.get((rule.kpi, rule.window), {})
    present = rollups.get(prepared.by, NOTHING)
    baseline = index.get((rule.kpi, rule.baseline or ""), {}).get(prepared.by, NOTHING)
    kept = (labels for labels in known if rollup_of(labels) == prepared.by)
    for labels in sorted({*present, *kept}):
        previous = known.get(labels) or AlertState(rule.name, labels)
        sample = _rule_sample(prepared, present.get(labels), baseline.get(labels))
        state, change = step(rule, previous, sample, now)
        if state.phase != "inactive" or state.changed_at == now:
            after.append(state)
        if change is not None:
            changes.append(explained(prepared, change, sample, rollups))


def _rule_sample(
    prepared: PreparedRule, sample: Sample | None, baseline: Sample | None
) -> RuleSample | None:
    if sample is None:
        return None
    usual = baseline.value if baseline is not None else None
    return RuleSample(
        value=sample.value,
        lower=sample.lower,
        upper=sample.upper,
        numerator=sample.numerator,
        denominator=sample.denominator,
        usual=None if usual is None else usual * prepared.usual_scale,
    )


def _index(rules: RuleSet, evaluation: Evaluation) -> Mapping[tuple[str, str], Rollups]:
    """The samples that some rule asks for, by KPI and window, then by rollup and labels."""
    index: dict[tuple[str, str], dict[tuple[str, ...], dict[Labels, Sample]]] = {}
    for prepared in rules.rules:
        rule = prepared.rule
        for window in (rule.window, rule.baseline):
            if window is not None:
                index[rule.kpi, window] = {}
    for sample in evaluation.samples:
        rollups = index.get((sample.kpi, sample.window))
        if rollups is not None:
            rollups.setdefault(rollup_of(sample.labels), {})[sample.labels] = sample
    return index
