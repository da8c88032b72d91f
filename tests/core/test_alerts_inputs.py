"""Rules that miss a topic's events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.core.alerts import AlertStates, Change, RuleSet, needed, with_input
from stream.core.series import Evaluation
from stream.core.settings import MINUTE, SECOND, Rule, Settings
from tests.core.alerting import evaluate

EVERY = 5 * SECOND
SILENT = Rule.missing_input("NoSurveys", "cx.survey", 10 * MINUTE, severity="critical")


def run(
    events: list[int], first: int | None, until: int, rule: Rule = SILENT
) -> list[tuple[int, str, float | None]]:
    """(seconds, target, value) of each change, for events at these times of the topic (ms)."""
    return [
        (now // SECOND, change.to, change.value)
        for now, change in changes(events, first, until, rule)
    ]


def changes(
    events: list[int], first: int | None, until: int, rule: Rule = SILENT
) -> list[tuple[int, Change]]:
    rules, states = RuleSet.of(Settings(rules=(rule,))), AlertStates()
    made: list[tuple[int, Change]] = []
    for now in range(0, until + 1, EVERY):
        latest = max((event for event in events if event <= now), default=None)
        seen = with_input(
            Evaluation(now, ()),
            [rule],
            {} if latest is None else {"cx.survey": latest},
            first if first is not None and first <= now else None,
        )
        states, some = evaluate(rules, states, seen, now)
        made += [(now, change) for change in some]
    return made


@pytest.mark.parametrize(
    ("events", "first", "expected"),
    [
        pytest.param([0], 0, [(605, "firing", 605.0)], id="the event is longer ago than allowed"),
        pytest.param([0, 600_000], 0, [], id="as long ago as allowed is not too long"),
        pytest.param(
            [0, 700_000],
            0,
            [(605, "firing", 605.0), (700, "resolved", 0.0)],
            id="the next event resolves it",
        ),
        pytest.param([], 100_000, [(705, "firing", 605.0)], id="never any, but of another topic"),
        pytest.param([], None, [], id="nothing was ever counted"),
    ],
)
def test_a_topic_without_events_for_too_long_is_missed(
    events: list[int], first: int | None, expected: list[tuple[int, str, float]]
) -> None:
    assert run(events, first, 1200 * SECOND) == expected


def test_it_waits_and_holds_like_any_other_rule() -> None:
    rule = replace(SILENT, for_ms=MINUTE, keep_firing_for_ms=30 * SECOND)
    assert run([0, 700_000], 0, 800 * SECOND, rule) == [
        (605, "pending", 605.0),
        (665, "firing", 665.0),
        (730, "resolved", 30.0),
    ]


def test_an_event_ahead_of_the_evaluation_is_no_silence() -> None:
    seen = with_input(Evaluation(1_000, ()), [SILENT], {"cx.survey": 5_000}, 0)
    assert [sample.value for sample in seen.samples] == [0.0]


def test_other_topics_events_are_none() -> None:
    seen = with_input(Evaluation(9_000, ()), [SILENT], {"cx.visit": 9_000}, 4_000)
    assert [(sample.labels, sample.value) for sample in seen.samples] == [
        ((("topic", "cx.survey"),), 5.0)
    ]


def test_each_rule_misses_events_of_its_own_topic_only() -> None:
    slow = Rule.missing_input("NoTickets", "cx.ticket", MINUTE, severity="warning")
    rules, states = RuleSet.of(Settings(rules=(SILENT, slow))), AlertStates()
    seen = with_input(
        Evaluation(11 * MINUTE, ()), [SILENT, slow], {"cx.survey": 0, "cx.ticket": 11 * MINUTE}, 0
    )
    states, made = evaluate(rules, states, seen, 11 * MINUTE)
    assert [(change.rule, change.labels, change.to) for change in made] == [
        ("NoSurveys", {"topic": "cx.survey"}, "firing")
    ]


def test_without_such_rules_an_evaluation_only_learns_of_the_first_event() -> None:
    rules = [Rule("R", "csat", "5m", below=0.5)]
    for first in (None, 4_000):
        seen = with_input(Evaluation(9_000, ()), rules, {"cx.survey": 9_000}, first)
        assert seen == Evaluation(9_000, (), first)


def test_an_evaluation_learns_when_windows_started_empty() -> None:
    seen = with_input(Evaluation(9_000, ()), [SILENT], {}, None, {"7d": 5_000})
    assert seen == Evaluation(9_000, (), None, {"7d": 5_000})


def test_a_change_names_the_topic() -> None:
    ((_, change),) = changes([0], 0, 605 * SECOND)
    assert (change.kpi, change.window, change.labels) == ("input", "", {"topic": "cx.survey"})
    assert (change.threshold, change.severity) == (600.0, "critical")
    assert (change.baseline, change.contributors, change.trend) == (None, (), None)


def test_such_a_rule_needs_no_kpi() -> None:
    assert needed([SILENT]) == set()
