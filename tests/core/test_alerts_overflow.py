"""At most so many alerts per rule, and one that says of how many series there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.alerts import AlertStates, Change, RuleSet
from stream.core.alerts.overflow import LEAST_HOLD_MS, overflow_rule
from stream.core.series import Evaluation, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings
from tests.core.alerting import evaluate

patiently = settings(deadline=None)
EVERY = 5 * SECOND
LOW = Rule("CsatLow", "csat", "5m", ("region",), below=0.5, max_series=3)
#: Ten series: a, b, c, …
NAMES = "abcdefghij"


def rule_set(*rules: Rule) -> RuleSet:
    return RuleSet.of(Settings(rules=rules))


def evaluation(now: int, values: Mapping[str, float]) -> Evaluation:
    return Evaluation(
        now,
        tuple(
            Sample("csat", "5m", (("region", name),), value, None, None, 100 * value, 100)
            for name, value in values.items()
        ),
    )


def low(names: str) -> dict[str, float]:
    """All series, those that are named below the threshold."""
    return {name: 0.1 if name in names else 0.9 for name in NAMES}


class Run:
    """Evaluations every 5 s, and the changes that they make."""

    def __init__(self, rule: Rule = LOW) -> None:
        self.rules = rule_set(rule)
        self.states = AlertStates()
        self.now = 0

    def take(self, values: Mapping[str, float], times: int = 1) -> list[Change]:
        made: list[Change] = []
        for _ in range(times):
            self.states, changes = evaluate(
                self.rules, self.states, evaluation(self.now, values), self.now
            )
            made += changes
            self.now += EVERY
        return made

    def firing(self) -> str:
        """The series that fire, in order; ! for the alert on their number."""
        return "".join(
            "!" if state.overflow else state.labels[0][1]
            for state in self.states.alerts
            if state.phase == "firing"
        )


def told(changes: Sequence[Change]) -> list[str]:
    return [f"{c.labels.get('region', '!')} {c.to}" for c in changes]


def test_as_many_series_as_allowed_are_alerts_of_their_own() -> None:
    assert told(Run().take(low("abc"))) == ["a firing", "b firing", "c firing"]


def test_one_more_makes_one_alert_that_says_how_many_and_which() -> None:
    (overflow, *others) = Run().take(low("abcdefghij"))
    assert told(others) == ["a firing", "b firing", "c firing"]
    assert (overflow.kpi, overflow.window, overflow.labels) == ("series", "", {})
    assert (overflow.value, overflow.threshold, overflow.severity) == (10, 3, "warning")
    assert [part.labels["region"] for part in overflow.contributors] == list("defgh")
    assert overflow.rest is not None
    assert (overflow.rest.series, overflow.rest.contribution) == (2, 2)
    assert overflow.explanation == (
        "10 series of CsatLow are beyond its threshold, but at most 3 have alerts; 7 have none: "
        "region d; region e; region f; region g; region h and 2 more."
    )


def test_those_that_have_an_alert_keep_it_whoever_comes_before_them() -> None:
    run = Run()
    run.take(low("hij"))
    run.take(low("abchij"))
    assert run.firing() == "!hij"


def test_a_place_that_is_left_goes_to_the_first_that_has_none() -> None:
    run = Run()
    run.take(low("cdefg"))
    assert told(run.take(low("cefg"))) == ["d resolved", "f firing"]
    assert run.firing() == "!cef"


def test_a_pending_alert_has_a_place_too() -> None:
    run = Run(replace(LOW, for_ms=MINUTE))
    assert told(run.take(low("abcd"))) == ["! pending", "a pending", "b pending", "c pending"]
    assert "! firing" in told(run.take(low("abcd"), 12))


def test_it_is_resolved_once_no_more_than_nine_tenths_are_needed_for_a_while() -> None:
    run = Run(replace(LOW, max_series=5))
    run.take(low("abcdefg"))
    hold = LEAST_HOLD_MS // EVERY
    assert not [c for c in run.take(low("abcde"), 2 * hold) if not c.labels]
    (resolved,) = [c for c in run.take(low("abcd"), hold + 1) if not c.labels]
    assert (resolved.to, resolved.value) == ("resolved", 4)
    assert resolved.explanation == (
        "CsatLow has alerts for all its series again: 4 of at most 5, 15 min 5 s after the alert "
        "began at 1970-01-01 00:00 UTC."
    )
    assert run.firing() == "abcd"


@pytest.mark.parametrize(("places", "clear"), [(1, 0), (2, 1), (5, 4), (20, 18), (100, 90)])
def test_a_tenth_of_the_places_is_between_firing_and_resolved(places: int, clear: float) -> None:
    rule = overflow_rule(replace(LOW, max_series=places, keep_firing_for_ms=HOUR))
    assert (rule.above, rule.clear, rule.keep_firing_for_ms) == (places, clear, HOUR)


@patiently
@given(st.lists(st.sampled_from(["abc", "abcd", "bcd"]), min_size=1, max_size=80))
def test_at_the_limit_nothing_flaps(rows: list[str]) -> None:
    run = Run()
    run.take(low("abcd"))
    made = [change for names in rows for change in run.take(low(names)) if not change.labels]
    assert made == []


@patiently
@given(st.lists(st.sets(st.sampled_from(NAMES)), max_size=20), st.data())
def test_a_restart_at_any_point_changes_nothing(rows: list[set[str]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(rows)))
    whole, halves = Run(), Run()
    for number, names in enumerate(rows):
        if number == cut:
            states = msgspec.json.encode(halves.states)
            halves.states = msgspec.json.decode(states, type=AlertStates)
        assert whole.take(low("".join(names))) == halves.take(low("".join(names)))


@patiently
@given(st.lists(st.sets(st.sampled_from(NAMES)), max_size=20))
def test_there_are_never_more_alerts_than_places(rows: list[set[str]]) -> None:
    run = Run()
    for names in rows:
        before = set(run.firing()) - {"!"}
        run.take(low("".join(names)))
        after = set(run.firing()) - {"!"}
        assert len(after) <= LOW.max_series
        assert before & names <= after, "one that was active and still is beyond keeps its place"
        assert len(after) == min(LOW.max_series, len(names)), "no place is left empty"


def test_a_rule_of_fewer_places_keeps_the_alerts_that_there_are() -> None:
    run = Run()
    run.take(low("abc"))
    run.rules = rule_set(replace(LOW, max_series=1))
    made = run.take(low("abcd"))
    assert told(made) == ["! firing"]
    assert run.firing() == "!abc"


def test_a_rule_of_fewer_places_tells_of_no_series_where_each_has_an_alert() -> None:
    run = Run()
    run.take(low("abc"))
    run.rules = rule_set(replace(LOW, max_series=1))
    assert run.take(low("abc"), 2 * LEAST_HOLD_MS // EVERY) == []
    assert run.firing() == "abc"


def test_kept_alerts_beyond_a_lower_limit_are_told_as_such_once_no_series_waits() -> None:
    run = Run(replace(LOW, for_ms=MINUTE))
    run.take(low("abc"), 20)
    run.rules = rule_set(replace(LOW, max_series=1, for_ms=MINUTE))
    assert told(run.take(low("abcd"))) == ["! pending"]
    (over,) = run.take(low("abc"))
    assert (over.to, over.value, over.threshold) == ("inactive", 3, 1)
    assert over.explanation == (
        "CsatLow has alerts for all its series again: 3, kept from before the limit of 1, 5 s "
        "after the alert began at 1970-01-01 00:01:40 UTC."
    )
