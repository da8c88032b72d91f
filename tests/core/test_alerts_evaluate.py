"""Rules over whole evaluations: one alert per series, usual values, states that are kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from stream.core.alerts import AlertStates, Change, RuleSet, needed, rfc3339
from stream.core.alerts.machine import Watched
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule, Settings, Window
from tests.core.alerting import evaluate

WINDOWS = (Window("5m", 5 * MINUTE, 5 * SECOND), Window("1h", HOUR, MINUTE))
EU: LabelPairs = (("region", "eu"),)
US: LabelPairs = (("region", "us"),)
NO_STATES = AlertStates()
LOW = Rule("CsatLow", "csat", "5m", ("region",), below=0.5)


def rule_set(*rules: Rule) -> RuleSet:
    return RuleSet.of(Settings(windows=WINDOWS, rules=rules))


def csat(labels: LabelPairs, k: float, n: float = 100, window: str = "5m") -> Sample:
    return Sample("csat", window, labels, k / n if n else None, None, None, k, n)


def churn(labels: LabelPairs, value: float | None, window: str) -> Sample:
    n = 1_000
    return Sample("churn", window, labels, value, value, value, (value or 0) * n, n)


def play(
    rules: RuleSet, rows: Sequence[Sequence[Sample]], states: AlertStates = NO_STATES
) -> tuple[AlertStates, list[Change]]:
    changes: list[Change] = []
    start = 0 if states.at is None else states.at + 5 * SECOND
    for number, samples in enumerate(rows):
        now = start + number * 5 * SECOND
        states, made = evaluate(rules, states, Evaluation(now, tuple(samples)), now)
        changes.extend(made)
    return states, changes


def told(changes: Sequence[Change]) -> list[tuple[str, dict[str, str], str]]:
    return [(change.rule, change.labels, change.to) for change in changes]


def test_every_series_of_the_rollup_has_an_alert_of_its_own() -> None:
    _, changes = play(rule_set(LOW), [[csat(EU, 40), csat(US, 60)], [csat(EU, 60), csat(US, 40)]])
    assert told(changes) == [
        ("CsatLow", {"region": "eu"}, "firing"),
        ("CsatLow", {"region": "eu"}, "resolved"),
        ("CsatLow", {"region": "us"}, "firing"),
    ]


def test_other_rollups_windows_and_kpis_are_not_the_rules_series() -> None:
    others = [
        csat((), 10),
        csat((("channel", "web"), ("region", "eu")), 10),
        csat(EU, 10, window="1h"),
        replace_kpi(csat(EU, 10), "css"),
    ]
    assert play(rule_set(LOW), [others])[1] == []


def replace_kpi(sample: Sample, kpi: str) -> Sample:
    return msgspec.structs.replace(sample, kpi=kpi)


def test_a_rollup_may_be_named_in_any_order() -> None:
    both = (("channel", "web"), ("region", "eu"))
    rule = replace(LOW, by=("region", "channel"))
    assert told(play(rule_set(rule), [[csat(both, 10)]])[1]) == [("CsatLow", dict(both), "firing")]


@pytest.mark.parametrize(
    ("on_no_data", "expected"), [("keep", ["firing"]), ("resolve", ["firing", "resolved"])]
)
def test_a_series_that_is_gone_has_no_data(on_no_data: str, expected: list[str]) -> None:
    rule = replace(LOW, on_no_data="resolve") if on_no_data == "resolve" else LOW
    states, changes = play(rule_set(rule), [[csat(EU, 40)], [csat(US, 60)], []])
    assert [change.to for change in changes] == expected
    assert [state.phase for state in states.alerts] == (["firing"] if on_no_data == "keep" else [])


def test_a_kpi_by_currency_has_an_alert_for_each_currency() -> None:
    rule = Rule("UpsellLow", "upsell", "5m", ("region",), below=0.2)
    samples = [
        Sample("upsell", "5m", tuple(sorted((*EU, ("currency", c)))), v, None, None, 100 * v, 100)
        for c, v in (("EUR", 0.1), ("USD", 0.3))
    ]
    assert told(play(rule_set(rule), [samples])[1]) == [
        ("UpsellLow", {"currency": "EUR", "region": "eu"}, "firing")
    ]


def test_the_usual_churn_is_scaled_to_the_window_and_that_of_a_mean_is_not() -> None:
    spike = Rule("ChurnSpike", "churn", "5m", baseline="1h", factor=2.0)
    samples = [churn((), 0.05, "5m"), churn((), 0.12, "1h")]
    assert play(rule_set(spike), [samples])[1][0].threshold == pytest.approx(2 * 0.12 / 12)
    fall = Rule("CsatFall", "csat", "5m", baseline="1h", factor=0.5)
    samples = [csat((), 10), csat((), 60, window="1h")]
    assert play(rule_set(fall), [samples])[1][0].threshold == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("rule", "first", "fires"),
    [
        pytest.param(0.0, None, 0, id="without min_covered at once, as ever"),
        pytest.param(0.0, 0, 0, id="and whatever is covered"),
        pytest.param(0.5, 0, 30 * MINUTE, id="half of the baseline, not of the window"),
        pytest.param(1.0, 0, 60 * MINUTE, id="all of it"),
        pytest.param(1.0, -HOUR, 0, id="all of it from the start"),
        pytest.param(0.5, -10 * MINUTE, 20 * MINUTE, id="some from before"),
        pytest.param(0.001, None, None, id="nothing was ever counted"),
    ],
)
def test_a_spike_waits_until_its_baseline_is_covered(
    rule: float, first: int | None, fires: int | None
) -> None:
    spike = Rule("S", "churn", "5m", baseline="1h", factor=2.0, min_covered=rule)
    samples = (churn((), 0.05, "5m"), churn((), 0.12, "1h"))
    states, found = NO_STATES, list[str]()
    for now in range(0, HOUR + MINUTE, MINUTE):
        seen = Evaluation(now, samples, first)
        states, changes = evaluate(rule_set(spike), states, seen, now)
        found += [change.changed_at for change in changes]
    assert found == ([] if fires is None else [rfc3339(fires)])


@pytest.mark.parametrize(
    ("starts", "first", "fires"),
    [
        pytest.param({"1h": 0}, -HOUR, 30 * MINUTE, id="half of a baseline that starts empty"),
        pytest.param({"1h": 10 * MINUTE}, 0, 40 * MINUTE, id="that starts after the first event"),
        pytest.param({"1h": 0}, 10 * MINUTE, 40 * MINUTE, id="that starts before the first event"),
        pytest.param({"1h": -DAY}, -HOUR, 0, id="that has long been filled"),
        pytest.param({"5m": 10 * MINUTE}, -HOUR, 13 * MINUTE, id="half of the rule's own window"),
        pytest.param({"5m": 40 * MINUTE, "1h": 0}, -HOUR, 43 * MINUTE, id="whichever is later"),
        pytest.param({"24h": 0}, -HOUR, 0, id="not of other windows"),
        pytest.param({"1h": -HOUR}, None, None, id="nothing was ever counted"),
    ],
)
def test_a_spike_waits_until_windows_that_start_empty_are_covered(
    starts: dict[str, int], first: int | None, fires: int | None
) -> None:
    spike = Rule("S", "churn", "5m", baseline="1h", factor=2.0, min_covered=0.5)
    samples = (churn((), 0.05, "5m"), churn((), 0.12, "1h"))
    states, found = NO_STATES, list[str]()
    for now in range(0, HOUR + MINUTE, MINUTE):
        seen = Evaluation(now, samples, first, starts)
        states, changes = evaluate(rule_set(spike), states, seen, now)
        found += [change.changed_at for change in changes]
    assert found == ([] if fires is None else [rfc3339(fires)])


def test_a_threshold_waits_for_its_own_window_and_not_for_the_usual_one() -> None:
    rules = rule_set(replace(LOW, min_covered=1.0))
    for now, count in ((5 * MINUTE - 1, 0), (5 * MINUTE, 1)):
        changes = evaluate(rules, NO_STATES, Evaluation(now, (csat(EU, 40),), 0), now).changes
        assert len(changes) == count


def test_a_spike_compares_a_series_with_its_own_past() -> None:
    fall = Rule("CsatFall", "csat", "5m", ("region",), baseline="1h", factor=0.5)
    samples = [csat(EU, 30), csat(US, 30), csat(EU, 80, window="1h"), csat(US, 50, window="1h")]
    assert told(play(rule_set(fall), [samples])[1]) == [("CsatFall", dict(EU), "firing")]


def test_changes_come_in_order_of_rule_and_labels_whatever_the_order_of_rules_and_samples() -> None:
    rules = [replace(LOW, name=name) for name in ("B", "A", "C")]
    samples = [csat((("region", name),), 10) for name in ("us", "eu", "ap")]
    expected = play(rule_set(*rules), [samples])[1]
    assert told(expected) == sorted(
        told(expected), key=lambda row: (row[0], sorted(row[1].items()))
    )
    shuffler = random.Random(1)
    for _ in range(5):
        shuffler.shuffle(rules)
        shuffler.shuffle(samples)
        assert play(rule_set(*rules), [samples])[1] == expected


def test_an_evaluation_that_is_not_later_than_the_last_is_passed_over() -> None:
    rules, now = rule_set(LOW), 10 * SECOND
    low, fine = (Evaluation(now, (csat(EU, k),)) for k in (40, 60))
    states, first = evaluate(rules, AlertStates(), low, now)
    assert [change.to for change in first] == ["firing"]
    for again in (now, now - 1):
        assert evaluate(rules, states, fine, again) == (states, ())
    assert [c.to for c in evaluate(rules, states, fine, now + 1).changes] == ["resolved"]


def test_an_evaluation_that_changed_nothing_is_not_made_again_either() -> None:
    rules, now = rule_set(LOW), 10 * SECOND
    states, changes = evaluate(rules, NO_STATES, Evaluation(now, (csat(EU, 60),)), now)
    assert changes == ()
    assert evaluate(rules, states, Evaluation(now, (csat(EU, 40),)), now) == (states, ())


SPIKE = replace(LOW, below=None, baseline="1h", factor=2.0)


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ((), "is not configured any more"),
        ((replace(LOW, name="Another"),), "is not configured any more"),
        ((replace(LOW, by=()),), "watches something else now"),
        ((replace(LOW, kpi="css"),), "watches something else now"),
        ((replace(LOW, window="1h"),), "watches something else now"),
        ((replace(LOW, severity="critical"),), "watches something else now"),
        ((replace(LOW, below=None, above=20),), "watches something else now"),
        ((SPIKE,), "watches something else now"),
    ],
)
def test_alerts_of_a_rule_that_is_gone_or_watches_something_else_are_over_at_once(
    later: tuple[Rule, ...], why: str
) -> None:
    states, _ = play(rule_set(LOW), [[csat(EU, 40)]])
    samples = [csat(EU, 40), csat((), 60)]
    states, changes = play(rule_set(*later), [samples], states)
    (change,) = (c for c in changes if c.rule == LOW.name)
    told = (change.from_, change.to, change.kpi, change.window, change.severity, change.labels)
    assert told == ("firing", "resolved", "csat", "5m", "warning", {"region": "eu"})
    assert change.value is None
    assert change.explanation == f"The alert is over, since rule CsatLow {why}."
    states, changes = play(rule_set(*later), [[csat(EU, 60)]], states)
    assert LOW.name not in {*(s.rule for s in states.alerts), *(c.rule for c in changes)}


def test_what_is_still_beyond_fires_anew_as_what_it_is_now() -> None:
    states, _ = play(rule_set(LOW), [[csat(EU, 40)]])
    critical = rule_set(replace(LOW, severity="critical"))
    _, changes = play(critical, [[csat(EU, 40)]] * 3, states)
    assert [(c.to, c.severity) for c in changes] == [
        ("resolved", "warning"),
        ("firing", "critical"),
    ]
    assert changes[0].changed_at < changes[1].changed_at


@pytest.mark.parametrize(
    "later", [replace(LOW, below=45), replace(LOW, for_ms=60_000), replace(LOW, summary="Other")]
)
def test_an_alert_goes_on_under_another_threshold_time_or_summary(later: Rule) -> None:
    states, _ = play(rule_set(LOW), [[csat(EU, 40)]])
    states, changes = play(rule_set(later), [[csat(EU, 40)]], states)
    assert changes == []
    assert [state.phase for state in states.alerts] == ["firing"]


@pytest.mark.parametrize("later", [LOW, replace(LOW, by=()), replace(LOW, name="Another")])
def test_of_what_an_earlier_version_left_is_known_what_it_watches_by_the_rule(later: Rule) -> None:
    states, _ = play(rule_set(LOW), [[csat(EU, 40)]])
    former = [msgspec.structs.replace(state, watched=None) for state in states.alerts]
    states, changes = play(rule_set(later), [[csat(EU, 40)]], AlertStates(states.at, tuple(former)))
    assert [c for c in changes if c.rule == LOW.name] == []
    kept = [state.watched for state in states.alerts if state.rule == LOW.name]
    assert kept == ([Watched.of(LOW)] if later is LOW else [])


def test_a_rule_at_its_limit_keeps_the_same_series_when_it_begins_anew() -> None:
    most = replace(LOW, max_series=2)
    row = [csat((("region", region),), 40) for region in "abcd"]
    states, _ = play(rule_set(most), [row])
    _, changes = play(rule_set(replace(most, severity="critical")), [row] * 2, states)
    assert [(c.labels["region"], c.to) for c in changes if c.kpi == "csat"] == [
        *(("a", "resolved"), ("b", "resolved")),
        *(("a", "firing"), ("b", "firing")),
    ]


def test_the_alert_on_the_number_of_series_is_over_before_one_on_a_total_begins() -> None:
    """Both are of one key, so they must not change at once."""
    few = replace(LOW, max_series=1)
    regions = [csat((("region", r),), 40) for r in ("eu", "us")]
    states, changes = play(rule_set(few), [regions])
    assert [(c.kpi, c.to) for c in changes] == [("series", "firing"), ("csat", "firing")]
    _, changes = play(rule_set(replace(few, by=())), [[csat((), 40)]] * 2, states)
    assert [(c.kpi, c.labels, c.to) for c in changes] == [
        ("series", {}, "resolved"),
        ("csat", {"region": "eu"}, "resolved"),
        ("csat", {}, "firing"),
    ]
    assert changes[0].changed_at < changes[-1].changed_at


def test_inactive_alerts_leave_no_state_behind() -> None:
    states, _ = play(rule_set(LOW), [[csat(EU, 40)], [csat(EU, 60)], [csat(EU, 60)]])
    assert states.alerts == ()


def test_needed_names_window_and_baseline_of_each_rollup() -> None:
    spike = Rule("S", "churn", "5m", ("region", "channel"), baseline="1h", factor=2.0)
    assert needed([LOW, spike]) == {
        ("csat", "5m", ("region",)),
        ("churn", "5m", ("channel", "region")),
        ("churn", "1h", ("channel", "region")),
    }


TOTAL = replace(LOW, by=())


def of(channel: str, region: str | None = None) -> LabelPairs:
    return (("channel", channel), *((("region", region),) if region else ()))


def test_a_change_is_the_same_after_it_was_written_and_read() -> None:
    samples = [csat((), 16), csat(of("web"), 5, 60)]
    (change,) = play(rule_set(TOTAL), [samples])[1]
    written = msgspec.json.encode(change)
    assert msgspec.json.decode(written, type=Change) == change
    assert set(msgspec.json.decode(written)) >= {
        "id",
        "rule",
        "from",
        "to",
        "severity",
        "kpi",
        "window",
        "labels",
        "value",
        "lower",
        "upper",
        "numerator",
        "denominator",
        "threshold",
        "started_at",
        "changed_at",
        "explanation",
        "contributors",
    }
    assert change.key == b'["CsatLow",[]]'
