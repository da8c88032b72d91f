"""The same series have the same states in Prometheus as in the product's own machine.

Random rules and random walks of samples go through ``evaluate`` and, as exposed series, through
Prometheus' own rule evaluation. Both are asked for the state of every alert after every evaluation.
Where the exported rule says that states may differ, the comparison of that alert ends; what
Prometheus does then is in tests of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from stream.config.model import Config
from stream.core.alerts import AlertState, AlertStates, Phase, RuleSample, RuleSet
from stream.core.alerts.inputs import with_input
from stream.core.alerts.machine import has_data
from stream.core.catalogue import KPIS
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import SECOND, Rule
from stream.rules import exported
from tests.core.alerting import evaluate
from tests.fixtures.prometheus import PrometheusTools
from tests.rules.promtool import Name, Steps, exposed, failures, input_series, state_is
from tests.rules.walks import DURATIONS, Run, labels_of, run_of

EVERY = 5 * SECOND


def configured(*rules: dict[str, Any]) -> Config:
    windows = [{"size": "5m", "pane": "5s"}, {"size": "1h", "pane": "1m"}]
    return Config.model_validate({"window": windows, "alert": list(rules)})


def noise(rows: Sequence[Sequence[Sample]]) -> list[list[Sample]]:
    """Series of other rollups beside each, with values that would set off any rule."""
    return [
        [
            Sample(s.kpi, s.window, tuple(sorted({**dict(s.labels), **more}.items())), *[1e6] * 5)
            for s in row
            for more in ({"channel": "web"}, {"channel": "app", "region": "latam"})
        ]
        for row in rows
    ]


def covering(config: Config, run: Run) -> dict[Name, Steps]:
    """What is exposed of how much of each window is covered, by the worker that shows KPIs."""
    series: dict[Name, Steps] = {}
    for step, instance in enumerate(run.instances):
        for window in config.core().windows:
            labels = (("instance", instance), ("job", "cxkpi"), ("window", window.label))
            steps = series.setdefault(("cx_window_covered_ratio", labels), [None] * len(run.rows))
            if run.first <= step * EVERY:
                steps[step] = window.covered(run.first, step * EVERY)
    return series


def may_differ(rule: Rule, before: AlertState, sample: RuleSample | None, now: int) -> bool:
    """Whether an evaluation is one of those after which an export says that states may differ."""
    if has_data(rule, sample):
        return False
    if rule.on_no_data == "resolve":
        return before.phase == "firing" and rule.keep_firing_for_ms > 0
    if before.phase == "pending" and before.started_at is not None:
        return now - before.started_at >= rule.for_ms
    return before.phase == "firing" and before.clearing_since is not None


def states_of(run: Run, config: Config) -> Iterator[tuple[str, LabelPairs, int, Phase]]:
    """The state of every alert after every evaluation, as the product's machine has it."""
    rules = RuleSet.of(config.core())
    states = AlertStates()
    over: set[tuple[str, LabelPairs]] = set()
    for step, row in enumerate(run.rows):
        now = step * EVERY
        before = {(state.rule, state.labels): state for state in states.alerts}
        first = run.first if run.first <= now else None
        states, _ = evaluate(rules, states, Evaluation(now, row, first), now)
        after = {(state.rule, state.labels): state.phase for state in states.alerts}
        for prepared in rules.rules:
            rule = prepared.rule
            for labels in labels_of(rule.kpi, rule.by):
                key = (rule.name, labels)
                sample = seen(rule, prepared.usual_scale, labels, row)
                if sample is not None and prepared.longest is not None:
                    part = prepared.longest.covered(first, now)
                    sample = msgspec.structs.replace(sample, covered=part)
                if may_differ(rule, before.get(key, AlertState(*key)), sample, now):
                    over.add(key)
                if key not in over:
                    yield (*key, now // SECOND, after.get(key, "inactive"))


def seen(
    rule: Rule, scale: Fraction, labels: LabelPairs, row: Sequence[Sample]
) -> RuleSample | None:
    """What a rule sees of a series, as far as it says whether there is data."""
    found = {s.window: s for s in row if (s.kpi, s.labels) == (rule.kpi, labels)}
    sample, usual = found.get(rule.window), found.get(rule.baseline or "")
    if sample is None:
        return None
    known = None if usual is None or usual.value is None else usual.value * float(scale)
    return RuleSample(sample.value, denominator=sample.denominator, usual=known)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_series_have_the_same_states(
    seed: int, prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    run = run_of(seed)
    config = configured(*run.rules)
    document = exported(config)
    assert document.left_out == ()
    states = list(states_of(run, config))
    # A walk in which hardly anything happens would prove little.
    happened = Counter(phase for *_, phase in states)
    assert min(happened["pending"], happened["firing"]) > 20, happened
    series = exposed(KPIS, run.rows, run.instances)
    series |= exposed(KPIS, noise(run.rows), run.instances)
    series |= covering(config, run)
    test = {
        "interval": "5s",
        "input_series": input_series(series),
        "promql_expr_test": [
            state_is(alert, dict(labels), at, phase) for alert, labels, at, phase in states
        ],
    }
    assert not failures(prometheus_tools.promtool, tmp_path, document, [test])


CSAT = {"name": "Low", "kpi": "csat", "window": "5m", "below": 0.5, "severity": "warning"}
BAD, GOOD, NONE = 0.4, 0.6, None


@pytest.mark.parametrize(
    ("more", "values", "workers", "prometheus"),
    [
        pytest.param(
            {"for": "10s"},
            [BAD, BAD, NONE, BAD, BAD, BAD],
            "p p p f f f",
            "p p i p p f",
            id="a gap until for is over: pending starts over",
        ),
        pytest.param(
            {"keep_firing_for": "10s"},
            [BAD, GOOD, NONE, GOOD, GOOD, GOOD],
            "f f f i i i",
            "f f f f f i",
            id="a gap while clearing: keep_firing_for starts over",
        ),
        pytest.param(
            {"keep_firing_for": "10s", "on_no_data": "resolve"},
            [BAD, NONE, NONE, NONE, GOOD, GOOD],
            "f i i i i i",
            "f f f i i i",
            id="no data resolves after keep_firing_for",
        ),
    ],
)
def test_where_states_may_differ_they_do_so_as_the_export_says(
    more: dict[str, str],
    values: Sequence[float | None],
    workers: str,
    prometheus: str,
    prometheus_tools: PrometheusTools,
    tmp_path: Path,
) -> None:
    config = configured(CSAT | more)
    rows = [[Sample("csat", "5m", (), value, None, None, 50, 100)] for value in values]
    rules, states, phases = RuleSet.of(config.core()), AlertStates(), []
    for step, row in enumerate(rows):
        states, _ = evaluate(rules, states, Evaluation(step * EVERY, tuple(row)), step * EVERY)
        phases.append(next((state.phase for state in states.alerts), "inactive"))
    assert " ".join(phase[0] for phase in phases) == workers
    document = exported(config)
    assert len([note for rule in document.rules for note in rule.notes]) == 1
    names = {"p": "pending", "f": "firing", "i": "inactive"}
    test = {
        "interval": "5s",
        "input_series": input_series(exposed(KPIS, rows, ["a"] * len(rows))),
        "promql_expr_test": [
            state_is("Low", {}, 5 * step, names[state])
            for step, state in enumerate(prometheus.split())
        ],
    }
    assert not failures(prometheus_tools.promtool, tmp_path, document, [test])


@pytest.mark.parametrize("seed", range(2))
def test_missing_input_has_the_same_states(
    seed: int, prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    random = Random(seed)
    made = [
        {
            "name": f"Rule{number}",
            "topic": "cx.visit",
            "absent_for": random.choice(["5s", "10s", "17s", "30s"]),
            "for": random.choice(DURATIONS),
            "keep_firing_for": random.choice(DURATIONS),
        }
        for number in range(6)
    ]
    config = configured(*made)
    latest: list[int] = []
    for step in range(60):
        now = step * EVERY
        latest.append(now if random.random() < 0.2 else max(latest, default=-20 * SECOND))
    states, expected = AlertStates(), []
    rules = RuleSet.of(config.core())
    for step, at in enumerate(latest):
        now = step * EVERY
        seen = with_input(Evaluation(now, ()), config.core().rules, {"cx.visit": at}, None)
        states, _ = evaluate(rules, states, seen, now)
        after = {state.rule: state.phase for state in states.alerts}
        expected += [
            state_is(
                rule["name"], {"topic": "cx.visit"}, 5 * step, after.get(rule["name"], "inactive")
            )
            for rule in made
        ]
    phases = Counter(str(one["exp_samples"]) for one in expected)
    assert len(phases) == 3
    last = ("cx_last_event_timestamp_seconds", (("job", "cxkpi"), ("topic", "cx.visit")))
    test = {
        "interval": "5s",
        "input_series": input_series({last: [at / SECOND for at in latest]}),
        "promql_expr_test": expected,
    }
    assert not failures(prometheus_tools.promtool, tmp_path, exported(config), [test])
