"""Rules are decided as if no number had been rounded: what is at its threshold is not beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.backtest.recording import Recording
from stream.backtest.rerun import rerun
from stream.core.alerts import AlertStates, Change, RuleSample, RuleSet
from stream.core.alerts.machine import threshold
from stream.core.series import Evaluation, Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule, Settings, Window
from tests.core.alerting import evaluate

SIZES = {"5m": 5 * MINUTE, "1h": HOUR, "24h": DAY, "7d": 7 * DAY}
SETTINGS = Settings(windows=tuple(Window(name, ms, ms // 60) for name, ms in SIZES.items()))
EVERY = 5 * SECOND

FACTORS = ["1.2", "1.5", "3", "6", "1.15", "2.3", "0.5", "0.7", "0.9"]


def spike(kpi: str, factor: str, window: str = "1h", baseline: str = "24h") -> Rule:
    return Rule("Spike", kpi, window, baseline=baseline, factor=float(factor), min_samples=0)


def count(value: int, window: str) -> Sample:
    return Sample("cart_recovered", window, (), float(value))


def ratio(kpi: str, numerator: float, denominator: float, window: str) -> Sample:
    """A sample as the core makes it: the quotient of the stored sums, rounded once."""
    value = float(Fraction(repr(numerator)) / Fraction(repr(denominator)))
    return Sample(kpi, window, (), value, None, None, float(numerator), float(denominator))


def play(rule: Rule, rows: Sequence[Sequence[Sample]]) -> list[Change]:
    """The changes, of which a backtest of the same samples has to find the same alerts."""
    settings = Settings(windows=SETTINGS.windows, rules=(rule,))
    rules, states, found = RuleSet.of(settings), AlertStates(), list[Change]()
    recording = Recording(settings)
    for number, row in enumerate(rows):
        evaluation = Evaluation(number * EVERY, tuple(row), first=0)
        recording.take(evaluation)
        states, changes = evaluate(rules, states, evaluation, evaluation.at)
        found += changes
    (track,) = recording.tracks(rules.rules[0])
    again = [(a.fired_at, a.threshold, a.resolved_at) for a in rerun(rule, track)]
    told = [(c.changed_ms, c.threshold, None) for c in found if c.to == "firing"]
    ends = [c.changed_ms for c in found if c.to == "resolved"]
    assert again == [
        (at, limit, end) for (at, limit, _), end in zip(told, [*ends, None], strict=False)
    ]
    return found


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("windows", [*pairwise(SIZES), ("1h", "7d"), ("5m", "7d")])
@pytest.mark.parametrize("times", [1, 7, 8, 61])
def test_a_count_that_is_exactly_there_neither_fires_nor_goes_on_firing(
    factor: str, windows: tuple[str, str], times: int
) -> None:
    window, baseline = windows
    limit, whole = Fraction(factor).as_integer_ratio()
    usual = count(times * whole * SIZES[baseline] // SIZES[window], baseline)
    there = count(times * limit, window)
    beyond = count(times * limit + (1 if Fraction(factor) > 1 else -1), window)
    rule = spike("cart_recovered", factor, window, baseline)
    changes = play(rule, [[there, usual], [beyond, usual], [there, usual]])
    assert [(c.to, c.changed_ms) for c in changes] == [("firing", EVERY), ("resolved", 2 * EVERY)]
    assert {c.threshold for c in changes} == {float(times * limit)}
    assert {c.baseline for c in changes} == {float(times * whole)}


@pytest.mark.parametrize(
    ("factor", "seen", "usual"),
    [
        ("1.15", (115, 1), (200, 2)),
        ("1.2", (120, 100), (3, 3)),
        ("3", (21, 70), (1, 10)),
        ("6", (0.6, 1.5), (0.2, 3.0)),
        ("1.1", (0.33, 1.1), (0.3, 1.1)),
        ("0.7", (49, 100), (7, 10)),
        ("0.9", (63, 100), (7, 10)),
        ("0.5", (1, 6), (1, 3)),
        ("1.5", (3, 14), (1, 7)),
        ("2.3", (23, 130), (1, 13)),
        ("1.001", (1_001 * 4_001, 1_000 * 9_973), (4_001, 9_973)),
        ("1.2", (1_234_567.86, 9_999_991), (1_028_806.55, 9_999_991)),
    ],
)
def test_a_share_or_mean_that_is_exactly_there_neither_fires_nor_goes_on_firing(
    factor: str, seen: tuple[float, float], usual: tuple[float, float]
) -> None:
    (top, bottom), baseline = seen, ratio("upsell", *usual, "24h")
    rises = float(factor) > 1
    there = ratio("upsell", top, bottom, "1h")
    beyond = ratio("upsell", top * (1.000001 if rises else 0.999999), bottom, "1h")
    changes = play(
        spike("upsell", factor), [[there, baseline], [beyond, baseline], [there, baseline]]
    )
    assert [(c.to, c.changed_ms) for c in changes] == [("firing", EVERY), ("resolved", 2 * EVERY)]
    assert {c.threshold for c in changes} == {there.value}


@given(
    st.sampled_from(FACTORS),
    st.integers(0, 400),
    st.integers(1, 400),
    st.integers(0, 400),
    st.integers(1, 400),
    st.sampled_from([1, 100, 10**9]),
)
def test_shares_are_compared_as_fractions_are(
    factor: str, top: int, bottom: int, usual_top: int, usual_bottom: int, unit: int
) -> None:
    limit = Fraction(factor) * Fraction(usual_top, usual_bottom)
    # Where the sides differ at all they do so by more than a float's rounding; half are equal.
    for value in (Fraction(top, bottom), limit):
        sums = value.numerator / unit, value.denominator / unit
        seen = ratio("upsell", *sums, "1h")
        usual = ratio("upsell", usual_top / unit, usual_bottom / unit, "24h")
        fires = value > limit if Fraction(factor) > 1 else value < limit
        changes = play(spike("upsell", factor), [[seen, usual]])
        assert [c.to for c in changes] == ["firing"] * fires
        assert all(c.threshold == float(limit) for c in changes)


@given(st.sampled_from(FACTORS), st.integers(0, 3_000), st.integers(0, 500_000))
def test_counts_are_compared_as_fractions_are(factor: str, seen: int, usual: int) -> None:
    rule, limit = spike("cart_recovered", factor, "1h", "7d"), Fraction(factor) * usual / 168
    changes = play(rule, [[count(seen, "1h"), count(usual, "7d")]])
    beyond = seen > limit if Fraction(factor) > 1 else seen < limit
    assert [c.to for c in changes] == ["firing"] * beyond
    assert all(c.threshold == float(limit) for c in changes)


@given(st.sampled_from(FACTORS), st.integers(1, 10**7), st.integers(1, 10**7))
def test_shares_that_differ_by_less_than_floats_tell_are_told_apart(
    factor: str, top: int, bottom: int
) -> None:
    """The nearest shares of so many: their difference is 1 / (both denominators)."""
    limit = Fraction(factor) * Fraction(top, bottom)
    assume(limit.denominator > 1)
    # A neighbour of the limit by the extended Euclidean algorithm.
    below = pow(limit.numerator, -1, limit.denominator)
    near = Fraction(limit.numerator * below - 1, limit.denominator) / below if below else limit
    assume(below and near > 0)
    usual = ratio("pages_per_visit", top, bottom, "24h")
    changes = play(
        spike("pages_per_visit", factor),
        [[ratio("pages_per_visit", near.numerator, near.denominator, "1h"), usual]],
    )
    beyond = near > limit if Fraction(factor) > 1 else near < limit
    assert [c.to for c in changes] == ["firing"] * beyond


@pytest.mark.parametrize("factor", FACTORS)
def test_a_value_that_is_no_quotient_of_two_sums_is_compared_to_twelve_digits(factor: str) -> None:
    usual = Sample("clv", "24h", (), 400 / 3)
    limit = float(Fraction(factor) * Fraction(400, 3))
    there = [Sample("clv", "1h", (), limit * (1 + d * 2**-52)) for d in (-2, 0, 2)]
    assert play(spike("clv", factor), [[value, usual] for value in there]) == []
    side = 1e-10 if float(factor) > 1 else -1e-10
    beyond = Sample("clv", "1h", (), limit * (1 + side))
    changes = play(spike("clv", factor), [[beyond, usual], *([value, usual] for value in there)])
    assert [c.to for c in changes] == ["firing", "resolved"]


def test_an_interval_fires_and_its_value_resolves_exactly_at_the_usual_one() -> None:
    usual = Sample("churn", "24h", (), 56 / 100, 0.4, 0.6, 56.0, 100.0)
    high = Sample("churn", "1h", (), 0.4, 0.3, 0.5, 40.0, 100.0)
    there = Sample("churn", "1h", (), 0.07, 0.03, 0.14, 7.0, 100.0)
    (fired, resolved) = play(spike("churn", "3"), [[high, usual], [there, usual]])
    assert (fired.to, fired.threshold, resolved.to) == ("firing", 0.07, "resolved")
    assert "at or below 7%" in resolved.explanation


def test_without_its_sums_a_usual_value_has_the_decimals_that_are_shown() -> None:
    rule = spike("pages_per_visit", "1.15")
    assert threshold(rule, RuleSample(115.0, usual=100.0)) == 115.0
    assert threshold(rule, None) is None
    assert threshold(rule, RuleSample(115.0)) is None


@given(st.integers(1, 3_000), st.integers(1, 3_000), st.integers(1, 3), st.data())
def test_a_value_that_is_exactly_a_threshold_is_not_beyond_it(
    bottom: int, top: int, digits: int, data: st.DataObject
) -> None:
    """A value is rounded once, and so is a threshold: they keep their order."""
    limit = Fraction(data.draw(st.integers(1, 2 * 10**digits)), 10**digits)
    for value in (Fraction(top, bottom), limit):
        seen = ratio("pages_per_visit", value.numerator, value.denominator, "1h")
        plain = Rule("Plain", "pages_per_visit", "1h", min_samples=0)
        for rule, beyond in (
            (replace(plain, above=float(limit)), value > limit),
            (replace(plain, below=float(limit)), value < limit),
        ):
            assert [c.to for c in play(rule, [[seen]])] == ["firing"] * beyond
