"""A recorded series gives in one read the alerts that stepping through every sample gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.backtest.recording import Recording, TooMuch, Track
from stream.backtest.report import alerts_of
from stream.backtest.rerun import Alert, rerun
from stream.core.alerts import AlertState, Change, RuleSet, step
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings, Window
from tests.core import incident

WINDOWS = (Window("5m", 5 * MINUTE, 5 * SECOND), Window("1h", HOUR, MINUTE))
LOW = Rule("Low", "csat", "5m", below=0.5, min_samples=10)

numbers = st.one_of(st.just(float("nan")), st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.8]))


def track(columns: list[tuple[float, ...]]) -> Track:
    value, half, denominator, usual = (np.array(c, dtype=float) for c in zip(*columns, strict=True))
    at = np.arange(1, len(value) + 1, dtype=np.int64) * 5 * SECOND
    bounds, covered = (value - half, value + half), np.minimum(at / (60 * SECOND), 1)
    return Track((), at, value, *bounds, value * denominator, denominator, usual, covered)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    rule = Rule(
        "R",
        "csat",
        "5m",
        for_ms=draw(st.sampled_from([0, 5_000, 20_000])),
        keep_firing_for_ms=draw(st.sampled_from([0, 5_000, 20_000])),
        min_samples=draw(st.sampled_from([0, 10])),
        min_covered=draw(st.sampled_from([0, 0, 0.5])),
        significant=draw(st.booleans()),
        on_no_data=draw(st.sampled_from(["keep", "resolve"])),
    )
    match draw(st.sampled_from(["above", "below", "rise", "fall"])):
        case "above":
            return replace(rule, above=0.5, clear=draw(st.sampled_from([None, 0.4])))
        case "below":
            return replace(rule, below=0.5, clear=draw(st.sampled_from([None, 0.6])))
        case "rise":
            return replace(rule, baseline="1h", factor=1.25)
        case _:
            return replace(rule, baseline="1h", factor=0.8)


@given(
    rules(),
    st.lists(
        st.tuples(
            numbers, st.sampled_from([0.0, 0.15, float("nan")]), st.sampled_from([5, 20]), numbers
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_passing_over_what_changes_nothing_changes_nothing(
    rule: Rule, columns: list[tuple[float, ...]]
) -> None:
    recorded = track(columns)
    state, changes = AlertState(rule.name), list[Change]()
    for place, at in enumerate(recorded.at.tolist()):
        state, change = step(rule, state, recorded.sample(place), at)
        changes += [change] if change else []
    assert rerun(rule, recorded) == alerts_of(changes)[0]


def test_the_recorded_incident_gives_the_alerts_that_its_changes_tell_of() -> None:
    settings = incident.settings()
    recording = Recording(settings)
    for evaluation in incident.evaluations(settings):
        recording.take(evaluation)
    fired = [c for c in incident.changes() if c["to"] == "firing"]
    assert fired
    for prepared in RuleSet.of(settings).rules:
        found = [a for t in recording.tracks(prepared) for a in rerun(prepared.rule, t)]
        told = [(c["at"], c["labels"]) for c in fired if c["rule"] == prepared.rule.name]
        assert sorted((a.fired_at, dict(a.labels)) for a in found) == sorted(
            (at(text), labels) for text, labels in told
        ), prepared.rule.name


def at(text: str) -> int:
    return incident._at(text)


def sample(
    at: int,
    value: float | None,
    labels: LabelPairs = (),
    *,
    kpi: str = "csat",
    window: str = "5m",
) -> Evaluation:
    return Evaluation(at, (Sample(kpi, window, labels, value, denominator=100.0),))


def test_a_series_that_comes_late_and_goes_early_has_no_data_before_and_after() -> None:
    recording = Recording(Settings(windows=WINDOWS, rules=(replace(LOW, by=("region",)),)))
    eu = (("region", "eu"),)
    recording.take(sample(5_000, 0.1))
    recording.take(sample(10_000, 0.1, eu))
    recording.take(sample(15_000, None, eu))
    recording.take(sample(20_000, 0.2, eu))
    recording.take(Evaluation(25_000, ()))
    (prepared,) = RuleSet.of(Settings(windows=WINDOWS, rules=(replace(LOW, by=("region",)),))).rules
    (found,) = recording.tracks(prepared)
    assert found.labels == (("region", "eu"),)
    assert [found.sample(i).value for i in range(5)] == [None, 0.1, None, 0.2, None]
    assert rerun(prepared.rule, found) == [
        Alert("Low", (("region", "eu"),), 10_000, 10_000, None, 0.5)
    ]


def test_samples_that_no_rule_reads_are_not_kept() -> None:
    recording = Recording(Settings(windows=WINDOWS, rules=(LOW,)), most=4)
    recording.take(sample(5_000, 0.1))
    recording.take(sample(10_000, 0.1, kpi="ces"))
    recording.take(sample(10_000, 0.1, window="1h"))
    recording.take(sample(10_000, 0.1, (("region", "eu"),)))
    assert recording.times.size == 4, "another series over as many would have been too much"


def test_a_recording_is_bounded_and_says_what_to_do() -> None:
    recording = Recording(Settings(windows=WINDOWS, rules=(LOW,)), most=2)
    recording.take(sample(5_000, 0.1))
    recording.take(sample(10_000, 0.1))
    with pytest.raises(TooMuch, match=r"more than 2 samples .* --rule"):
        recording.take(sample(15_000, 0.1))


def test_series_that_come_and_go_are_bounded_by_what_laying_them_out_takes() -> None:
    rule = replace(LOW, by=("region",))
    recording = Recording(Settings(windows=WINDOWS, rules=(rule,)), most=15)
    for n in range(3):
        recording.take(sample(5_000 * (n + 1), 0.1, (("region", f"r{n}"),)))
    for n in range(3, 5):
        recording.take(Evaluation(5_000 * (n + 1), ()))
    (prepared,) = RuleSet.of(Settings(windows=WINDOWS, rules=(rule,))).rules
    assert sum(len(track.value) for track in recording.tracks(prepared)) == 15
    with pytest.raises(TooMuch):
        recording.take(Evaluation(30_000, ()))


def test_a_count_is_compared_with_its_share_of_the_longer_window() -> None:
    rule = Rule("Spike", "churn", "5m", baseline="1h", factor=2.0)
    settings = Settings(windows=WINDOWS, rules=(rule,))
    recording = Recording(settings)
    short = Sample("churn", "5m", (), 0.3, 0.2, 0.4, 30, 100)
    recording.take(Evaluation(5_000, (short, Sample("churn", "1h", (), 0.6, denominator=100))))
    (found,) = recording.tracks(RuleSet.of(settings).rules[0])
    assert found.usual.tolist() == [pytest.approx(0.05)]


@pytest.mark.parametrize(
    ("rule", "covered"),
    [
        (Rule("R", "churn", "5m", baseline="1h", factor=2.0), [0.0, 0.0, 0.5, 1.0]),
        (Rule("R", "churn", "5m", above=0.5), [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_what_is_covered_is_recorded_as_the_rules_saw_it(rule: Rule, covered: list[float]) -> None:
    settings = Settings(windows=WINDOWS, rules=(rule,))
    recording = Recording(settings)
    sample = Sample("churn", "5m", (), 0.3, 0.2, 0.4, 30, 100)
    for at, first in ((0, None), (0, 0), (30 * MINUTE, 0), (90 * MINUTE, 0)):
        recording.take(Evaluation(at, (sample,), first))
    (found,) = recording.tracks(RuleSet.of(settings).rules[0])
    assert found.covered.tolist() == covered
    assert [found.sample(place).covered for place in range(4)] == covered
