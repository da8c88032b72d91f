"""What moved a value: an exact decomposition into mix and rate, by worked cases and properties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.alerts import AlertStates, Change, RuleSet
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings, Window
from tests.core.alerting import evaluate

patiently = settings(deadline=None)
WINDOWS = (Window("5m", 5 * MINUTE, 5 * SECOND), Window("1h", HOUR, MINUTE))
TOTAL = Rule("CsatLow", "csat", "5m", below=0.5)
FALL = Rule("CsatFall", "csat", "5m", baseline="1h", factor=0.9)


def change(rule: Rule, samples: Sequence[Sample]) -> Change:
    """The one change that the samples make."""
    rules = RuleSet.of(Settings(windows=WINDOWS, rules=(rule,)))
    (made,) = evaluate(rules, AlertStates(), Evaluation(0, tuple(samples)), 0).changes
    return made


def csat(labels: LabelPairs, k: float, n: float = 100, window: str = "5m") -> Sample:
    return Sample("csat", window, labels, k / n if n else None, None, None, k, n)


def of(channel: str, region: str | None = None) -> LabelPairs:
    return (("channel", channel), *((("region", region),) if region else ()))


def summed(made: Change) -> float:
    """All that is listed, and the rest."""
    rest = made.rest.contribution if made.rest is not None else 0.0
    return math.fsum([rest, *(part.contribution for part in made.contributors)])


def moved(made: Change) -> float:
    assert made.value is not None
    assert made.reference is not None
    return made.value - made.reference


class Moved(NamedTuple):
    mix: float
    rate: float


def by_channel(made: Change) -> Mapping[str, Moved]:
    return {c.labels["channel"]: Moved(c.mix, c.rate) for c in made.contributors}


def two_windows(
    now: Mapping[str, tuple[float, float]], usual: Mapping[str, tuple[float, float]]
) -> list[Sample]:
    """A total over 5m and 1h that is made up of channels, each (numerator, denominator)."""
    samples = []
    for window, parts in (("5m", now), ("1h", usual)):
        k, n = (math.fsum(numbers[i] for numbers in parts.values()) for i in (0, 1))
        samples.append(csat((), k, n, window))
        samples += [csat(of(name), *numbers, window) for name, numbers in parts.items()]
    return samples


# Against the usual value


def test_where_only_one_parts_own_value_fell_all_of_it_is_that_parts_rate() -> None:
    now = {"web": (10, 50), "phone": (40, 50)}
    made = change(TOTAL_BELOW_ALL, two_windows(now, {"web": (400, 500), "phone": (400, 500)}))
    assert made.reference == pytest.approx(0.8)
    assert by_channel(made) == {"web": pytest.approx((0.0, -0.3))}
    web = made.contributors[0]
    assert (web.value, web.before, web.share, web.share_before) == (0.2, 0.8, 0.5, 0.5)


TOTAL_BELOW_ALL = replace(TOTAL, below=0.99)


def test_where_only_the_shares_moved_all_of_it_is_mix() -> None:
    usual = {"web": (900, 1000), "mail": (100, 1000)}
    made = change(TOTAL, two_windows({"web": (18, 20), "mail": (8, 80)}, usual))
    # 0.5 before, 0.26 now; web 50% -> 20%, mail 50% -> 80%; middle 0.38.
    assert by_channel(made) == {
        "web": pytest.approx((-0.3 * (0.9 - 0.38), 0.0)),
        "mail": pytest.approx((0.3 * (0.1 - 0.38), 0.0)),
    }
    assert summed(made) == pytest.approx(0.26 - 0.5)


def test_simpsons_paradox_is_shown() -> None:
    """Every channel got better, yet the whole fell: the mix moved to the weak one."""
    usual = {"web": (800, 1000), "mail": (20, 100)}
    made = change(FALL, two_windows({"web": (18, 20), "mail": (24, 80)}, usual))
    found = by_channel(made)
    assert all(part.rate > 0 for part in found.values())
    assert math.fsum(part.mix for part in found.values()) < moved(made) < 0
    assert "it is the mix that moved: by their own values its parts would have gone up" in (
        made.explanation
    )


def test_without_a_paradox_none_is_told() -> None:
    made = change(
        FALL, two_windows({"web": (10, 50), "phone": (40, 50)}, {"web": (9, 10), "phone": (9, 10)})
    )
    assert "mix" not in made.explanation


def test_a_part_that_comes_or_goes_is_all_mix() -> None:
    made = change(
        TOTAL,
        two_windows({"web": (30, 50), "mail": (5, 50)}, {"web": (60, 100), "phone": (90, 100)}),
    )
    found = by_channel(made)
    assert {name: part.rate for name, part in found.items()} == {"mail": 0, "phone": 0}
    # 0.75 before, 0.35 now, middle 0.55.
    assert found["mail"].mix == pytest.approx(0.5 * (0.1 - 0.55))
    assert found["phone"].mix == pytest.approx(-0.5 * (0.9 - 0.55))
    assert summed(made) == pytest.approx(0.35 - 0.75)


def test_those_that_moved_it_come_first_and_those_that_held_against_it_last() -> None:
    usual = dict.fromkeys(("a", "b", "c"), (50.0, 100.0))
    made = change(TOTAL, two_windows({"a": (10, 100), "b": (30, 100), "c": (80, 100)}, usual))
    assert [part.labels["channel"] for part in made.contributors] == ["a", "b", "c"]
    assert [part.contribution < 0 for part in made.contributors] == [True, True, False]


def test_what_is_not_listed_is_in_the_rest() -> None:
    names = [f"c{number}" for number in range(9)]
    now = {name: (40.0 - 2 * number, 100.0) for number, name in enumerate(names)}
    made = change(TOTAL, two_windows(now, dict.fromkeys(names, (500.0, 1000.0))))
    assert [part.labels["channel"] for part in made.contributors] == names[:3:-1]
    assert made.rest is not None
    assert made.rest.series == 4
    assert summed(made) == pytest.approx(moved(made))


def test_what_carries_no_label_of_the_parts_is_in_the_rest() -> None:
    samples = [
        csat((), 20),
        csat((), 600, 1000, "1h"),
        csat(of("web"), 18, 50),
        csat(of("web"), 300, 500, "1h"),
    ]
    made = change(TOTAL, samples)
    assert made.rest is not None
    assert made.rest.series == 0
    # Unlabelled: 60% of half before, 2 of 50 now.
    assert made.rest.rate == pytest.approx(0.5 * (2 / 50 - 0.6))
    assert summed(made) == pytest.approx(0.2 - 0.6)


def test_the_rollup_whose_part_stands_out_is_the_one_that_is_told() -> None:
    def at(window: str, north: float, scale: float) -> list[Sample]:
        return [
            csat((), (north + 80) * scale, 200 * scale, window),
            csat((("region", "north"),), north * scale, 100 * scale, window),
            csat((("region", "south"),), 80 * scale, 100 * scale, window),
            csat(of("web"), (north + 80) / 2 * scale, 100 * scale, window),
            csat(of("app"), (north + 80) / 2 * scale, 100 * scale, window),
        ]

    made = change(replace(TOTAL, below=0.6), [*at("5m", 10, 1), *at("1h", 80, 12)])
    assert [part.labels for part in made.contributors] == [{"region": "north"}]


def test_the_usual_value_is_that_of_the_next_longer_window() -> None:
    windows = (Window("24h", 24 * HOUR, HOUR), *WINDOWS)
    rules = RuleSet.of(Settings(windows=windows, rules=(TOTAL,)))
    samples = (csat((), 40), csat((), 700, 1000, "24h"), csat((), 80, window="1h"))
    (made,) = evaluate(rules, AlertStates(), Evaluation(0, samples), 0).changes
    assert (made.baseline_window, made.baseline) == ("1h", 0.8)


def test_a_longer_window_that_knows_nothing_more_is_not_what_was_before() -> None:
    now = {"web": (10.0, 50.0), "phone": (20.0, 50.0)}
    made = change(TOTAL, two_windows(now, now))
    assert (made.baseline, made.baseline_window, made.reference) == (None, "", 0.5)
    assert summed(made) == pytest.approx(0.3 - 0.5)


def test_retention_is_not_compared_over_windows_of_different_sizes() -> None:
    rule = Rule("Leaving", "retention", "5m", below=0.99)
    samples = [
        Sample("retention", w, (), v, None, None, v * 100, 100)
        for w, v in (("5m", 0.9), ("1h", 0.5))
    ]
    assert change(rule, samples).baseline is None


def test_the_usual_churn_is_scaled_to_the_window_for_the_parts_too() -> None:
    def churn(labels: LabelPairs, k: float, n: float, window: str) -> Sample:
        return Sample("churn", window, labels, k / n, None, None, k, n)

    samples = [
        churn((), 40, 1000, "5m"),
        churn(of("web"), 35, 500, "5m"),
        churn(of("app"), 5, 500, "5m"),
        churn((), 120, 1000, "1h"),
        churn(of("web"), 60, 500, "1h"),
        churn(of("app"), 60, 500, "1h"),
    ]
    made = change(Rule("Churn", "churn", "5m", above=0.03), samples)
    assert made.baseline == pytest.approx(0.01)
    assert [c.labels["channel"] for c in made.contributors] == ["web"]
    assert made.contributors[0].before == pytest.approx(0.01)
    assert made.contributors[0].rate == pytest.approx(0.5 * (0.07 - 0.01))


# Against the threshold, where nothing is known of before


def test_contributions_of_the_parts_sum_to_the_distance_from_the_threshold() -> None:
    parts = [csat(of("web"), 5, 60), csat(of("phone"), 3, 20), csat(of("mail"), 8, 20)]
    made = change(TOTAL, [csat((), 16), *parts])
    found = {c.labels["channel"]: c.contribution for c in made.contributors}
    assert list(found) == ["web", "phone", "mail"]
    assert sum(found.values()) == pytest.approx(0.16 - 0.5)
    assert found["web"] == pytest.approx((5 - 0.5 * 60) / 100)
    assert all(c.mix == 0 for c in made.contributors)


def test_a_resolved_alert_names_what_brought_it_back() -> None:
    rules = RuleSet.of(Settings(windows=WINDOWS, rules=(TOTAL,)))
    states, _ = evaluate(rules, AlertStates(), Evaluation(0, (csat((), 40),)), 0)
    back = (csat((), 60), csat(of("web"), 20, 50), csat(of("phone"), 40, 50))
    (resolved,) = evaluate(rules, states, Evaluation(5, back), 5).changes
    assert [c.labels["channel"] for c in resolved.contributors] == ["phone", "web"]
    assert resolved.contributors[0].contribution > 0


def test_parts_are_those_of_the_series_and_of_the_next_finer_rollups_only() -> None:
    samples = [
        csat(of("web"), 30),
        csat(of("phone"), 60),
        csat(of("web", "eu"), 10, 50),
        csat(of("web", "us"), 20, 50),
        csat(of("phone", "eu"), 10, 50),
    ]
    made = change(replace(TOTAL, by=("channel",)), samples)
    assert [c.labels for c in made.contributors] == [dict(of("web", r)) for r in ("eu", "us")]
    made = change(TOTAL, [csat((), 30), *samples])
    assert {tuple(c.labels) for c in made.contributors} == {("channel",)}


def test_a_spikes_parts_are_measured_against_the_usual_value_where_theirs_is_not_known() -> None:
    samples = [csat((), 30), csat((), 80, window="1h"), csat(of("web"), 10, 50)]
    made = change(replace(FALL, factor=0.5), samples)
    assert made.contributors[0].contribution == pytest.approx((10 - 0.8 * 50) / 100)


# Counts, and what can't be taken apart


def counted(labels: LabelPairs, value: float | None, window: str = "5m") -> Sample:
    return Sample("cart_recovered", window, labels, value)


def test_a_count_is_made_up_of_the_counts_of_its_parts() -> None:
    rule = Rule("Recovered", "cart_recovered", "5m", above=5)
    made = change(rule, [counted((), 9.0), counted(of("web"), 2.0), counted(of("phone"), 7.0)])
    assert [c.contribution for c in made.contributors] == [7, 2]
    assert made.reference == 0


def test_a_count_moves_by_the_differences_of_its_parts_scaled_to_the_window() -> None:
    rule = Rule("Recovered", "cart_recovered", "5m", above=5)
    made = change(
        rule,
        [
            counted((), 9.0),
            counted(of("web"), 9.0),
            counted((), 36.0, "1h"),
            counted(of("web"), 24.0, "1h"),
            counted(of("phone"), 12.0, "1h"),
        ],
    )
    assert made.reference == 3
    assert {c.labels["channel"]: c.contribution for c in made.contributors} == {
        "web": 7,
        "phone": -1,
    }


def test_a_mean_without_counts_has_no_contributors() -> None:
    samples = [Sample("nev", "5m", (), -1.0), Sample("nev", "5m", of("web"), -2.0)]
    made = change(Rule("NevLow", "nev", "5m", below=0), samples)
    assert (made.contributors, made.rest) == ((), None)


def test_a_series_without_finer_rollup_has_no_contributors() -> None:
    made = change(TOTAL, [csat((), 30), csat((), 800, 1000, "1h")])
    assert (made.contributors, made.rest) == ((), None)
    assert made.baseline == 0.8


# Properties

#: Numerators and denominators of a part at both times; also nothing, and more than all.
_SIDES = st.tuples(st.integers(-5, 50), st.integers(0, 40))
_PARTS = st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(_SIDES, _SIDES), min_size=1)
_RATIOS = st.sampled_from(
    [("csat", 1.0), ("nps", 100.0), ("churn", 1.0), ("art", 1.0), ("ces_mean", 1.0)]
)


@patiently
@given(_RATIOS, _PARTS, _SIDES, _SIDES)
def test_contributions_and_rest_sum_to_the_difference(
    kpi: tuple[str, float],
    parts: dict[str, tuple[tuple[int, int], tuple[int, int]]],
    without: tuple[int, int],
    without_before: tuple[int, int],
) -> None:
    """With parts that come or go, hold more than the whole, or less than nothing."""
    name, unit = kpi
    samples = []
    for window, side, more in (("5m", 0, without), ("1h", 1, without_before)):
        k, n = (sum(numbers[side][i] for numbers in parts.values()) + more[i] for i in (0, 1))
        if n <= 0:
            return
        samples.append(Sample(name, window, (), unit * k / n, None, None, float(k), float(n)))
        for channel, numbers in parts.items():
            part_k, part_n = numbers[side]
            value = unit * part_k / part_n if part_n else None
            samples.append(
                Sample(name, window, of(channel), value, None, None, float(part_k), float(part_n))
            )
    value = samples[0].value
    assert value is not None
    rule = Rule("R", name, "5m", below=value + 1, min_samples=0)
    made = change(rule, samples)
    assert summed(made) == pytest.approx(moved(made), abs=1e-9)
    for part in made.contributors:
        assert part.mix + part.rate == pytest.approx(part.contribution, abs=1e-9)
    assert made.rest is not None
    assert made.rest.mix + made.rest.rate == pytest.approx(made.rest.contribution, abs=1e-9)
    assert len(made.contributors) + made.rest.series == len(parts)
