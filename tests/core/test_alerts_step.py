"""The state machine of one alert, by tables of values over time and by properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts import AlertState, Change, RuleSample, step
from stream.core.settings import SECOND, Rule

EVERY = 5 * SECOND
ABOVE = Rule("Low", "csat", "5m", above=0.5)
BELOW = Rule("Low", "csat", "5m", below=0.5)
RISE = Rule("Low", "churn", "5m", baseline="1h", factor=2.0)
FALL = Rule("Low", "csat", "5m", baseline="1h", factor=0.5)
NO_DATA = None


def sample(
    value: float | None,
    n: float | None = 100,
    lower: float | None = None,
    upper: float | None = None,
    numerator: float | None = None,
) -> RuleSample:
    return RuleSample(value, lower, upper, numerator, n)


def spiky(
    value: float, usual: float | None = 0.1, margin: float = 0.0, covered: float = 1.0
) -> RuleSample:
    bounds = value - margin, value + margin
    return RuleSample(value, *bounds, denominator=100, usual=usual, covered=covered)


def run(
    rule: Rule, samples: Sequence[RuleSample | None], start: int = 0
) -> tuple[AlertState, list[Change]]:
    """Steps at 0 s, 5 s, 10 s …; the last state and all changes."""
    state, changes = AlertState(rule.name), []
    for number, seen in enumerate(samples):
        state, change = step(rule, state, seen, start + number * EVERY)
        if change is not None:
            changes.append(change)
    return state, changes


def seen(changes: Sequence[Change]) -> list[tuple[int, str]]:
    """(second, target) of each change."""
    return [(_second(change), change.to) for change in changes]


def _second(change: Change) -> int:
    hours, minutes, seconds = change.changed_at[11:19].split(":")
    return int(hours) * 3_600 + int(minutes) * 60 + int(seconds)


class Case(NamedTuple):
    name: str
    rule: Rule
    samples: list[RuleSample | None]
    changes: list[tuple[int, str]]


def values(*numbers: float | None) -> list[RuleSample | None]:
    return [NO_DATA if number is None else sample(number) for number in numbers]


CASES = [
    Case("a value at the threshold is not beyond", ABOVE, values(0.5, 0.5), []),
    Case("above fires at once without for", ABOVE, values(0.6), [(0, "firing")]),
    Case("below fires at once without for", BELOW, values(0.4), [(0, "firing")]),
    Case(
        "a value at the threshold clears where there is no clear",
        ABOVE,
        values(0.6, 0.5),
        [(0, "firing"), (5, "resolved")],
    ),
    Case(
        "between clear and threshold a firing alert stays",
        replace(ABOVE, clear=0.3),
        values(0.6, 0.4, 0.31, 0.3),
        [(0, "firing"), (15, "resolved")],
    ),
    Case(
        "below clears from beneath",
        replace(BELOW, clear=0.7),
        values(0.4, 0.6, 0.69, 0.7),
        [(0, "firing"), (15, "resolved")],
    ),
    Case(
        "a pending alert fires at the evaluation that is for after the first beyond",
        replace(ABOVE, for_ms=10 * SECOND),
        values(0.6, 0.6, 0.6),
        [(0, "pending"), (10, "firing")],
    ),
    Case(
        "for that lies between evaluations is reached at the next one",
        replace(ABOVE, for_ms=7 * SECOND),
        values(0.6, 0.6, 0.6),
        [(0, "pending"), (10, "firing")],
    ),
    Case(
        "a pending alert ends at the first that is not beyond and starts anew",
        replace(ABOVE, for_ms=10 * SECOND),
        values(0.6, 0.6, 0.5, 0.6, 0.6, 0.6),
        [(0, "pending"), (10, "inactive"), (15, "pending"), (25, "firing")],
    ),
    Case(
        "the evaluation that fires is itself beyond: no data only puts it off",
        replace(ABOVE, for_ms=10 * SECOND),
        values(0.6, None, None, None, 0.6),
        [(0, "pending"), (20, "firing")],
    ),
    Case(
        "a pending alert ignores the clear value",
        replace(ABOVE, clear=0.3, for_ms=10 * SECOND),
        values(0.6, 0.4),
        [(0, "pending"), (5, "inactive")],
    ),
    Case(
        "an alert keeps firing until an unbroken row of clear values is long enough",
        replace(ABOVE, keep_firing_for_ms=10 * SECOND),
        values(0.6, 0.4, 0.4, 0.6, 0.4, 0.4, 0.4),
        [(0, "firing"), (30, "resolved")],
    ),
    Case(
        "a value between clear and threshold breaks the row",
        replace(ABOVE, clear=0.3, keep_firing_for_ms=10 * SECOND),
        values(0.6, 0.2, 0.2, 0.4, 0.2, 0.2, 0.2),
        [(0, "firing"), (30, "resolved")],
    ),
    Case(
        "no data neither breaks a row of clear values nor ends it",
        replace(ABOVE, keep_firing_for_ms=10 * SECOND),
        values(0.6, 0.4, None, None, None, 0.4),
        [(0, "firing"), (25, "resolved")],
    ),
    Case("no data keeps a firing alert", ABOVE, values(0.6, None, None), [(0, "firing")]),
    Case(
        "no data resolves a firing alert where asked, at once",
        replace(ABOVE, on_no_data="resolve", keep_firing_for_ms=60 * SECOND),
        values(0.6, None),
        [(0, "firing"), (5, "resolved")],
    ),
    Case(
        "no data ends a pending alert where asked",
        replace(ABOVE, on_no_data="resolve", for_ms=60 * SECOND),
        values(0.6, None, None),
        [(0, "pending"), (5, "inactive")],
    ),
    Case(
        "too few samples are no data",
        ABOVE,
        [sample(0.6, 29), sample(0.6, 30), sample(0.1, 29)],
        [(5, "firing")],
    ),
    Case(
        "a sample without value is no data",
        ABOVE,
        [sample(0.6), sample(None, 0), sample(None, 100)],
        [(0, "firing")],
    ),
    Case(
        "a KPI without denominator needs no samples",
        ABOVE,
        [sample(0.6, None)],
        [(0, "firing")],
    ),
    Case(
        "a significant rule wants the whole interval above",
        replace(ABOVE, significant=True),
        [sample(0.6, lower=0.5, upper=0.7), sample(0.6, lower=0.51, upper=0.69)],
        [(5, "firing")],
    ),
    Case(
        "a significant rule wants the whole interval below",
        replace(BELOW, significant=True),
        [sample(0.4, lower=0.3, upper=0.5), sample(0.4, lower=0.31, upper=0.49)],
        [(5, "firing")],
    ),
    Case(
        "a significant rule clears by the value alone",
        replace(ABOVE, significant=True),
        [sample(0.6, lower=0.55, upper=0.65), sample(0.51, lower=0.3, upper=0.7), sample(0.5)],
        [(0, "firing"), (10, "resolved")],
    ),
    Case(
        "without bounds the value stands for them",
        replace(ABOVE, significant=True),
        [sample(0.5), sample(0.6)],
        [(5, "firing")],
    ),
    Case(
        "a rise fires where the lower bound is beyond factor × usual",
        RISE,
        [spiky(0.25, margin=0.05), spiky(0.26, margin=0.05)],
        [(5, "firing")],
    ),
    Case(
        "a rise clears where the value is back at factor × usual",
        RISE,
        [spiky(0.3), spiky(0.21), spiky(0.2)],
        [(0, "firing"), (10, "resolved")],
    ),
    Case(
        "a fall fires where the upper bound is beyond factor × usual",
        FALL,
        [spiky(0.1, 0.3, margin=0.05), spiky(0.09, 0.3, margin=0.05)],
        [(5, "firing")],
    ),
    Case(
        "a fall clears where the value is back at factor × usual",
        FALL,
        [spiky(0.1, 0.3), spiky(0.14, 0.3), spiky(0.15, 0.3)],
        [(0, "firing"), (10, "resolved")],
    ),
    Case(
        "a spike without usual value is no data",
        RISE,
        [spiky(0.3, None), spiky(0.3), spiky(0.1, None)],
        [(5, "firing")],
    ),
    Case(
        "too little time that data covers is no data",
        replace(RISE, min_covered=0.9),
        [spiky(0.3, covered=c) for c in (0.0, 0.89, 0.9, 1.0)],
        [(10, "firing")],
    ),
    Case(
        "a threshold can wait for data that covers its window too",
        replace(ABOVE, min_covered=1.0),
        [RuleSample(0.6, denominator=100, covered=c) for c in (0.99, 1.0)],
        [(5, "firing")],
    ),
    Case(
        "what covers too little resolves an alert where no data does",
        replace(RISE, min_covered=0.5, on_no_data="resolve"),
        [spiky(0.3), spiky(0.3, covered=0.4)],
        [(0, "firing"), (5, "resolved")],
    ),
    Case(
        "without min_covered nothing needs to be covered",
        RISE,
        [spiky(0.3, covered=0.0)],
        [(0, "firing")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_changes_of_a_row_of_samples(case: Case) -> None:
    assert seen(run(case.rule, case.samples)[1]) == case.changes


def test_a_change_says_what_was_seen() -> None:
    rule = replace(
        ABOVE, severity="critical", for_ms=EVERY, summary="Csat is low.", runbook_url="https://r/1"
    )
    first, second = run(rule, [sample(0.6), sample(0.7, lower=0.6, upper=0.8, numerator=70)])[1]
    assert (first.from_, first.to) == ("inactive", "pending")
    assert (second.from_, second.to) == ("pending", "firing")
    assert (second.value, second.lower, second.upper) == (0.7, 0.6, 0.8)
    assert (second.numerator, second.denominator, second.threshold) == (70, 100, 0.5)
    assert second.started_at == "1970-01-01T00:00:00Z"
    assert second.changed_at == "1970-01-01T00:00:05Z"
    assert (second.severity, second.kpi, second.window) == ("critical", "csat", "5m")
    assert (second.summary, second.runbook_url) == ("Csat is low.", "https://r/1")


def test_the_threshold_of_a_spike_is_the_one_in_effect() -> None:
    assert run(RISE, [spiky(0.3, 0.125)])[1][0].threshold == 0.25


def test_an_id_tells_rule_labels_time_and_target_apart_and_nothing_else() -> None:
    def ids(rule: Rule, start: int = 0, labels: tuple[tuple[str, str], ...] = ()) -> list[str]:
        state, found = AlertState(rule.name, labels), []
        for number, value in enumerate((0.6, 0.1)):
            state, change = step(rule, state, sample(value), start + number * EVERY)
            assert change is not None
            found.append(change.id)
        return found

    assert ids(ABOVE) == ids(replace(ABOVE, above=0.55, severity="info"))
    others = [
        *ids(ABOVE),
        *ids(replace(ABOVE, name="Other")),
        *ids(ABOVE, start=EVERY),
        *ids(ABOVE, labels=(("region", "eu"),)),
    ]
    assert len(set(others)) == len(others)


# Properties. Rules and samples are drawn from few values, so that edges are met often.

NUMBERS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
DURATIONS = st.sampled_from([0, EVERY, 7 * SECOND, 3 * EVERY])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    base = draw(st.sampled_from([ABOVE, BELOW, RISE, FALL]))
    clear = None
    if base.above is not None:
        clear = draw(st.sampled_from([None, 0.5, 0.3]))
    elif base.below is not None:
        clear = draw(st.sampled_from([None, 0.5, 0.7]))
    return replace(
        base,
        clear=clear,
        for_ms=draw(DURATIONS),
        keep_firing_for_ms=draw(DURATIONS),
        significant=draw(st.booleans()),
        on_no_data=draw(st.sampled_from(["keep", "resolve"])),
    )


@st.composite
def samples(draw: st.DrawFn) -> RuleSample | None:
    if draw(st.integers(0, 5)) == 0:
        return None
    value, margin = draw(NUMBERS), draw(st.sampled_from([None, 0.0, 0.1]))
    return RuleSample(
        value,
        None if margin is None else value - margin,
        None if margin is None else value + margin,
        denominator=draw(st.sampled_from([None, 29.0, 30.0, 100.0])),
        usual=draw(st.sampled_from([None, 0.1, 0.2, 0.4])),
    )


ROWS = st.lists(samples(), max_size=40)


@given(rules(), ROWS, st.data())
def test_states_written_and_read_at_any_point_make_the_same_changes(
    rule: Rule, row: list[RuleSample | None], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(row)))
    state, changes = AlertState(rule.name), []
    for number, one in enumerate(row):
        if number == cut:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=AlertState)
        state, change = step(rule, state, one, number * EVERY)
        changes.extend([change] if change else [])
    assert (state, changes) == run(rule, row)


@given(rules(), ROWS)
def test_changes_follow_from_each_other_and_alternate(
    rule: Rule, row: list[RuleSample | None]
) -> None:
    allowed = {
        ("inactive", "pending" if rule.for_ms else "firing"),
        ("pending", "firing"),
        ("pending", "inactive"),
        ("firing", "resolved"),
    }
    phase = "inactive"
    for change in run(rule, row)[1]:
        assert change.from_ == phase
        assert (change.from_, change.to) in allowed
        phase = "inactive" if change.to == "resolved" else change.to


@given(rules(), ROWS, st.data())
def test_no_data_passed_over_changes_nothing_but_time(
    rule: Rule, row: list[RuleSample | None], data: st.DataObject
) -> None:
    """Where states are kept, a sample less at some time is as if there was no evaluation then."""
    rule = replace(rule, on_no_data="keep")
    state, changes = AlertState(rule.name), []
    for number, one in enumerate(row):
        if one is None:
            continue
        state, change = step(rule, state, one, number * EVERY)
        changes.extend([change] if change else [])
    assert (state, changes) == run(rule, row)


@given(
    st.sampled_from([replace(ABOVE, clear=0.3), replace(ABOVE, clear=0.3, for_ms=EVERY)]),
    st.lists(st.floats(0.3, 0.5, exclude_min=True).map(sample), max_size=30),
    st.booleans(),
)
def test_inside_the_hysteresis_band_nothing_flaps(
    rule: Rule, row: list[RuleSample], firing: bool
) -> None:
    before = [sample(0.6)] * 3 if firing else []
    state, changes = run(rule, [*before, *row])
    assert state.phase == ("firing" if firing else "inactive")
    assert [c.to for c in changes if c.to != "pending"] == (["firing"] if firing else [])


@given(rules(), ROWS)
def test_every_change_has_a_sample_that_is_its_reason(
    rule: Rule, row: list[RuleSample | None]
) -> None:
    rises = rule.above is not None or (rule.factor or 0) > 1
    for change in run(rule, row)[1]:
        if change.value is None or change.threshold is None or (change.denominator or 99) < 30:
            assert rule.on_no_data == "resolve"
            assert change.to in {"inactive", "resolved"}
        elif change.to in {"pending", "firing"}:
            assert change.value > change.threshold if rises else change.value < change.threshold
        elif change.to == "resolved":
            assert change.value <= change.threshold if rises else change.value >= change.threshold


@given(rules(), st.lists(st.tuples(samples(), st.integers(-20, 20)), max_size=40))
def test_a_clock_set_back_makes_no_change_twice_and_none_out_of_order(
    rule: Rule, steps: list[tuple[RuleSample | None, int]]
) -> None:
    state, now, changes = AlertState(rule.name), 10_000 * EVERY, []
    for one, delta in steps:
        now += delta * EVERY
        before = state
        state, change = step(rule, state, one, now)
        if before.changed_at is not None and now <= before.changed_at:
            assert (state, change) == (before, None)
        changes.extend([change] if change else [])
    times = [_second(change) for change in changes]
    assert times == sorted(set(times))
    assert len({change.id for change in changes}) == len(changes)


def test_an_alert_changes_once_at_an_evaluation_whatever_is_seen_when_it_is_made_again() -> None:
    state, first = step(ABOVE, AlertState("Low"), sample(0.6), EVERY)
    assert first is not None
    for now in (EVERY, EVERY - 1):
        assert step(ABOVE, state, sample(0.1), now) == (state, None)
    assert step(ABOVE, state, sample(0.1), EVERY + 1)[1] is not None


@given(rules(), ROWS)
def test_an_evaluation_made_again_right_away_changes_nothing_more(
    rule: Rule, row: list[RuleSample | None]
) -> None:
    state = AlertState(rule.name)
    for number, one in enumerate(row):
        state, _ = step(rule, state, one, number * EVERY)
        again, change = step(rule, state, one, number * EVERY)
        assert (again, change) == (state, None)
