"""Alerts are held against marked incidents, and other thresholds are tried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.backtest.incidents import Incident
from stream.backtest.judge import WEEK, flaps, judge
from stream.backtest.recording import Track
from stream.backtest.report import RuleReport
from stream.backtest.rerun import Alert
from stream.backtest.sweep import (
    Rehearsal,
    Suggestion,
    Tried,
    configured,
    grid,
    suggest,
    sweep,
    with_threshold,
)
from stream.backtest.tables import suggestion_words
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule

RULE = Rule("R", "csat", "5m", below=0.5, min_samples=10)
WINDOW = 5 * MINUTE
SPAN = (0, DAY)
EU, US = (("region", "eu"),), (("region", "us"),)
OUTAGE = Incident("outage", HOUR, 2 * HOUR, "csat", {"region": "eu"})


def alert(
    fired: int, resolved: int | None = None, labels: tuple[tuple[str, str], ...] = EU
) -> Alert:
    return Alert("R", labels, fired, fired, resolved, 0.5)


@pytest.mark.parametrize(
    ("fired", "labels", "found"),
    [
        (HOUR - 1, EU, False),
        (HOUR, EU, True),
        (2 * HOUR + WINDOW, EU, True),
        (2 * HOUR + WINDOW + 1, EU, False),
        (HOUR, US, False),
        (HOUR, (), True),
    ],
)
def test_an_alert_finds_an_incident_from_its_start_to_one_window_after_its_end(
    fired: int, labels: tuple[tuple[str, str], ...], found: bool
) -> None:
    one = alert(fired, labels=labels)
    verdict = judge(RULE, WINDOW, [one], [OUTAGE], SPAN, 2)
    assert [f.delay for f in verdict.found] == ([fired - HOUR] if found else [])
    assert verdict.false == frozenset(() if found else (one,))
    assert verdict.missed == (() if found else (OUTAGE,))


def test_an_alert_that_fires_all_the_time_finds_nothing() -> None:
    verdict = judge(RULE, WINDOW, [alert(0)], [OUTAGE], SPAN, 1)
    assert (len(verdict.found), len(verdict.false or ()), verdict.firing_share) == (0, 1, 1.0)


def test_the_first_alert_of_an_incident_gives_the_time_to_detect() -> None:
    alerts = [alert(HOUR + 9_000), alert(HOUR + 2_000, HOUR + 3_000), alert(HOUR + 5_000, None, ())]
    verdict = judge(RULE, WINDOW, alerts, [OUTAGE], SPAN, 2)
    assert verdict.mean_delay == 2_000
    assert verdict.false == frozenset()


@pytest.mark.parametrize(
    ("series", "alerts", "share"),
    [
        (1, [alert(0, DAY // 2)], 0.5),
        (2, [alert(0, DAY // 2)], 0.25),
        (2, [alert(0, DAY // 2), alert(DAY // 2, labels=US)], 0.5),
        (0, [], 0.0),
    ],
)
def test_the_part_spent_firing_is_of_the_time_of_all_series(
    series: int, alerts: list[Alert], share: float
) -> None:
    assert judge(RULE, WINDOW, alerts, [], SPAN, series).firing_share == share


@pytest.mark.parametrize(
    ("incident", "asked_for"),
    [
        (replace(OUTAGE, kpi="nps"), False),
        (replace(OUTAGE, start=DAY, end=2 * DAY), True),
        (replace(OUTAGE, start=DAY + 1, end=2 * DAY), False),
        (replace(OUTAGE, start=-HOUR, end=0), True),
        (replace(OUTAGE, start=-HOUR, end=-1), False),
    ],
)
def test_only_incidents_of_the_kpi_that_touch_the_recording_are_asked_for(
    incident: Incident, asked_for: bool
) -> None:
    verdict = judge(RULE, WINDOW, [], [incident], SPAN, 1)
    assert verdict.concerned == verdict.missed == ((incident,) if asked_for else ())


def test_without_marked_incidents_nothing_is_false() -> None:
    assert judge(RULE, WINDOW, [alert(1)], None, SPAN, 1).false is None
    assert judge(RULE, WINDOW, [alert(1)], [], SPAN, 1).false == frozenset({alert(1)})


def test_a_rule_that_watches_no_kpi_is_not_judged_by_incidents() -> None:
    verdict = judge(replace(RULE, kpi="input"), 0, [alert(1)], [replace(OUTAGE, kpi=None)], SPAN, 1)
    assert (verdict.concerned, verdict.false) == ((), None)


def test_alerts_a_week_follow_from_the_recorded_time() -> None:
    assert judge(RULE, WINDOW, [alert(1)] * 2, None, SPAN, 1).per_week == pytest.approx(14)


@pytest.mark.parametrize(
    ("gap", "labels", "flapping"),
    [(WINDOW, EU, 1), (WINDOW + 1, EU, 0), (0, EU, 1), (WINDOW, US, 0)],
)
def test_a_flap_fires_within_one_window_after_its_series_was_resolved(
    gap: int, labels: tuple[tuple[str, str], ...], flapping: int
) -> None:
    alerts = [alert(0, HOUR), alert(HOUR + gap, None, labels)]
    assert len(flaps(alerts, WINDOW)) == flapping


def track(values: list[float], n: float = 100.0, **more: float) -> Track:
    value = np.array(values)
    at = np.arange(1, len(values) + 1, dtype=np.int64) * 5 * SECOND
    full = np.full(len(values), n)
    half = np.full(len(values), more.get("half", 0.05))
    usual = np.full(len(values), more.get("usual", np.nan))
    return Track(
        EU, at, value, value - half, value + half, value * full, full, usual, np.ones(len(value))
    )


def rehearsal(rule: Rule, *tracks: Track, span: tuple[int, int] = (0, WEEK)) -> Rehearsal:
    return Rehearsal(rule, WINDOW, tracks, None, span)


SAW = [0.9, 0.8, 0.9, 0.6, 0.9, 0.4, 0.9, 0.2, 0.9]


def test_each_threshold_is_tried_and_the_configured_one_marked() -> None:
    rows = sweep(rehearsal(RULE, track(SAW)))
    thresholds = [row.threshold for row in rows]
    assert thresholds == sorted(thresholds, reverse=True)
    assert [row.threshold for row in rows if row.is_configured] == [0.5]
    counts = {row.threshold: len(row.verdict.alerts) for row in rows}
    assert counts[0.5] == 2
    assert counts[min(counts)] == 0
    assert counts[max(counts)] == 4


@pytest.mark.parametrize("rule", [RULE, replace(RULE, below=None, above=0.5)])
@given(
    values=st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=30),
    n=st.sampled_from([5.0, 50.0]),
)
def test_a_grid_is_short_in_order_and_holds_the_configured_threshold(
    rule: Rule, values: list[float], n: float
) -> None:
    found = grid(rule, [track(values, n)])
    assert configured(rule) in found
    assert len(found) == len(set(found)) <= 25
    assert found == sorted(found, reverse=rule.below is not None)


def test_factors_stay_on_their_side_of_one() -> None:
    rise = Rule("R", "csat", "5m", baseline="1h", factor=1.5)
    fall = replace(rise, factor=0.7)
    there = track(SAW, usual=0.5)
    assert all(factor > 1 for factor in grid(rise, [there]))
    assert all(0 < factor < 1 for factor in grid(fall, [there]))


def test_a_rule_without_series_or_kpi_has_nothing_to_try() -> None:
    assert grid(RULE, []) == []
    assert sweep(rehearsal(replace(RULE, kpi="input"), track(SAW))) == []


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (replace(RULE, clear=0.6), 0.3, replace(RULE, below=0.3, clear=0.4)),
        (RULE, 0.3, replace(RULE, below=0.3)),
        (
            Rule("R", "art", "5m", above=900, clear=600),
            1_000,
            Rule("R", "art", "5m", above=1_000, clear=700),
        ),
        (Rule("R", "art", "5m", factor=2.0), 3.0, Rule("R", "art", "5m", factor=3.0)),
    ],
)
def test_another_threshold_keeps_the_distance_to_clear(
    rule: Rule, value: float, expected: Rule
) -> None:
    found = with_threshold(rule, value)
    assert found.clear == pytest.approx(expected.clear)
    assert replace(found, clear=None) == replace(expected, clear=None)


def test_clear_is_moved_by_decimals() -> None:
    """A value of 0.85 is back at 0.75 + 0.1, and not at the 0.8500000000000001 of floats."""
    rule = Rule("R", "csat", "5m", below=0.7, clear=0.75)
    assert with_threshold(rule, 0.8).clear == 0.85


@pytest.mark.parametrize(
    "rule",
    [
        # 0.04 + 0.05 − 0.05 is not 0.04 in floats.
        Rule("R", "churn", "1h", above=0.05, clear=0.04),
        replace(RULE, clear=0.6),
        RULE,
        Rule("R", "art", "5m", factor=2.0),
    ],
)
def test_a_rule_with_its_own_threshold_is_the_rule(rule: Rule) -> None:
    own = configured(rule)
    assert own is not None
    assert with_threshold(rule, own) == rule


@pytest.mark.parametrize(("wanted", "low", "high"), [(0, 0.1, 0.2), (1, 0.2, 0.4), (2, 0.4, 0.6)])
def test_the_most_sensitive_threshold_that_keeps_to_the_number_is_suggested(
    wanted: float, low: float, high: float
) -> None:
    tried = rehearsal(RULE, track(SAW))
    found = suggest(tried, sweep(tried), wanted)
    assert found.tried is not None
    assert low < found.tried.threshold <= high
    assert found.tried.verdict.per_week == wanted


def test_a_threshold_that_finds_more_is_suggested_before_a_more_sensitive_one() -> None:
    noise = [0.9, 0.5, 0.9, 0.5, 0.9]
    incident = Incident("i", 20_000, 21_000)
    tried = Rehearsal(RULE, 0, [track([*noise[:3], 0.2, *noise])], [incident], (0, WEEK))
    found = suggest(tried, sweep(tried), 2)
    assert found.tried is not None
    assert (len(found.tried.verdict.found), found.tried.verdict.false) == (1, frozenset())
    assert found.tried.threshold <= 0.5


def test_an_incident_that_a_strict_threshold_cuts_into_pieces_is_kept_whole() -> None:
    tried = rehearsal(RULE, track([*[0.9] * 5, 0.1, 0.3, 0.1, 0.3, 0.1, *[0.9] * 5]))
    rows = sweep(tried)
    assert max(row.verdict.per_week for row in rows if row.threshold < 0.3) == 3
    found = suggest(tried, rows, 1)
    assert found.tried is not None
    assert found.tried.threshold > 0.5
    assert found.tried.verdict.per_week == 1


def test_a_threshold_that_fires_most_of_the_time_is_never_suggested() -> None:
    tried = rehearsal(RULE, track([0.3] * 100 + [0.2] * 5), span=(0, 525_000))
    rows = sweep(tried)
    assert max(row.verdict.firing_share for row in rows) > 0.9
    found = suggest(tried, rows, 5_000)
    assert found.tried is not None
    assert 0 < found.tried.verdict.firing_share <= 0.2


def test_a_short_recording_suggests_nothing_and_says_why() -> None:
    tried = rehearsal(RULE, track(SAW), span=(0, DAY))
    found = suggest(tried, sweep(tried), 2)
    assert found.tried is None
    assert found.note == "the recording is too short, a single alert in 1 day is 7 a week"


def test_what_fires_before_the_time_that_counts_is_left_out() -> None:
    later = rehearsal(RULE, track(SAW), span=(35_000, WEEK))
    rows = {row.threshold: len(row.verdict.alerts) for row in sweep(later)}
    assert rows[0.5] == 1


def test_the_lines_of_a_suggestion_are_the_threshold_and_clear_that_were_tried() -> None:
    rule = Rule("R", "art", "5m", above=1_234_560, clear=1_234_559.5)
    verdict = judge(rule, WINDOW, [], [], SPAN, 1)
    of_rule = RuleReport(rule, None, WINDOW, [], verdict, [], 0, [], None)
    words = suggestion_words(of_rule, Suggestion(0, Tried(1_234_568, verdict)))
    assert words == "R: for 0 alerts a week: above = 1234568, clear = 1234567.5 (gives 0 a week)"
