"""Properties of all rules together, over rows of evaluations with gaps, repeats and restarts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.alerts import AlertStates, Change, RuleSet
from stream.core.alerts.change import change_id
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import HOUR, SECOND, Rule, Settings, Window
from stream.core.timestamps import parse
from tests.core.alerting import evaluate

PROPERTY = settings(max_examples=60, deadline=None)
EVERY = 5 * SECOND
START = 1_772_445_600_000
REGIONS: tuple[LabelPairs, ...] = tuple((("region", name),) for name in ("eu", "us"))

RULES = (
    Rule("Above", "csat", "5m", ("region",), above=0.5, clear=0.3),
    Rule("Below", "csat", "5m", ("region",), below=0.4, for_ms=2 * EVERY),
    Rule("Kept", "csat", "5m", above=0.5, keep_firing_for_ms=2 * EVERY, on_no_data="resolve"),
    Rule("Sure", "csat", "5m", ("region",), above=0.5, significant=True, for_ms=EVERY - 1),
    Rule("Rise", "csat", "5m", baseline="1h", factor=1.5, on_no_data="resolve"),
    Rule("Odd", "csat", "5m", below=0.4, clear=0.5, for_ms=7_001, keep_firing_for_ms=3_000),
)
RULE_SET = RuleSet.of(Settings(rules=RULES))
RULE_OF = {rule.name: rule for rule in RULES}
TARGETS = {"inactive": {"pending", "firing"}, "pending": {"firing", "inactive"}}

ONWARDS = st.integers(1, 3)
#: Values on, next to and beyond all thresholds.
VALUES = st.sampled_from([0.0, 0.3, 0.31, 0.4, 0.41, 0.5, 0.51, 0.7, 1.0])


@st.composite
def samples(draw: st.DrawFn, window: str, labels: LabelPairs) -> list[Sample]:
    """A series' sample; none, without value, and of too few contributions too."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return []
    if kind == 1:
        return [Sample("csat", window, labels, None, None, None, 0, 0)]
    value, margin = draw(VALUES), draw(st.sampled_from([0.0, 0.05]))
    n = draw(st.sampled_from([29, 30, 100, 100]))
    return [Sample("csat", window, labels, value, value - margin, value + margin, value * n, n)]


@st.composite
def rows(draw: st.DrawFn, steps: st.SearchStrategy[int] = ONWARDS) -> list[Evaluation]:
    """Evaluations in order of time; some between are left out."""
    at, found = START, []
    for _ in range(draw(st.integers(1, 14))):
        at += draw(steps) * EVERY
        seen = [s for labels in ((), *REGIONS) for s in draw(samples("5m", labels))]
        found.append(Evaluation(at, (*seen, *draw(samples("1h", ())))))
    return found


def run(
    evaluations: Sequence[Evaluation], states: AlertStates | None = None
) -> Iterator[tuple[AlertStates, tuple[Change, ...]]]:
    """The states and the changes after each evaluation."""
    states = states or AlertStates()
    for evaluation in evaluations:
        states, changes = evaluate(RULE_SET, states, evaluation, evaluation.at)
        yield states, changes


def changes_of(evaluations: Sequence[Evaluation]) -> list[Change]:
    return [change for _, changes in run(evaluations) for change in changes]


def alert_of(change: Change) -> tuple[str, LabelPairs]:
    return change.rule, tuple(sorted(change.labels.items()))


def by_alert(changes: Sequence[Change]) -> dict[tuple[str, LabelPairs], list[Change]]:
    found: dict[tuple[str, LabelPairs], list[Change]] = {}
    for change in changes:
        found.setdefault(alert_of(change), []).append(change)
    return found


def numbers(rule: Rule, evaluation: Evaluation, labels: LabelPairs) -> tuple[float, float] | None:
    """(what is beyond from here on, what clears) less the value, by the rule's own words.

    Both are negative where it is so; None where there is no data.
    """
    found = {(s.window, s.labels): s for s in evaluation.samples}
    seen = found.get(("5m", labels))
    if seen is None or seen.value is None or (seen.denominator or 0) < rule.min_samples:
        return None
    value, lower, upper = seen.value, seen.lower, seen.upper
    if rule.factor is not None:
        usual = found.get(("1h", labels))
        if usual is None or usual.value is None:
            return None
        limit = rule.factor * usual.value
        return limit - (lower if lower is not None else value), value - limit
    whole = rule.significant and lower is not None and upper is not None
    if rule.above is not None:
        clear = rule.above if rule.clear is None else rule.clear
        return rule.above - (lower if whole and lower is not None else value), value - clear
    assert rule.below is not None
    clear = rule.below if rule.clear is None else rule.clear
    return (upper if whole and upper is not None else value) - rule.below, clear - value


@PROPERTY
@given(rows())
def test_nothing_changes_without_a_sample_that_is_beyond_or_clears(row: list[Evaluation]) -> None:
    by_time = {evaluation.at: evaluation for evaluation in row}
    for change in changes_of(row):
        rule, (_, labels) = RULE_OF[change.rule], alert_of(change)
        found = numbers(rule, by_time[parse(change.changed_at)], labels)
        if found is None:
            assert rule.on_no_data == "resolve"
            assert change.to in {"inactive", "resolved"}
            continue
        beyond, clears = found
        if change.to in {"pending", "firing"}:
            assert beyond < 0
        elif change.to == "inactive":
            assert beyond >= 0
        else:
            assert clears <= 0


@PROPERTY
@given(rows())
def test_an_alert_changes_once_at_an_evaluation_and_goes_on_from_where_it_was(
    row: list[Evaluation],
) -> None:
    for _, changes in run(row):
        alerts = [alert_of(change) for change in changes]
        assert alerts == sorted(set(alerts))
    for own in by_alert(changes_of(row)).values():
        assert own[0].from_ == "inactive"
        for before, after in pairwise(own):
            assert after.from_ == ("inactive" if before.to == "resolved" else before.to)
            assert parse(before.changed_at) < parse(after.changed_at)
        assert all(c.to in TARGETS.get(c.from_, {"resolved"}) for c in own)


@PROPERTY
@given(rows())
def test_ids_are_unique_and_say_rule_labels_time_and_target(row: list[Evaluation]) -> None:
    changes = changes_of(row)
    assert len({change.id for change in changes}) == len(changes)
    for c in changes:
        assert c.id == change_id(*alert_of(c), parse(c.changed_at), c.to)


@PROPERTY
@given(rows(), st.integers(0, 13))
def test_states_that_are_written_and_read_at_any_point_change_nothing(
    row: list[Evaluation], cut: int
) -> None:
    whole = list(run(row))
    states = whole[cut - 1][0] if 0 < cut <= len(whole) else AlertStates()
    for coder in (msgspec.json, msgspec.msgpack):
        again: AlertStates = coder.decode(coder.encode(states), type=AlertStates)
        assert list(run(row[cut:], again)) == whole[cut:]


@PROPERTY
@given(rows(), st.integers(0, 13), st.integers(1, 5))
def test_an_owner_that_takes_over_and_evaluates_anew_makes_no_change_again(
    row: list[Evaluation], cut: int, again: int
) -> None:
    """Whoever reads the states last written may evaluate for times that were evaluated before."""
    whole = list(run(row))
    for states, changes in whole[cut : cut + 1]:
        repeated = row[max(0, cut + 1 - again) : cut + 1]
        assert all(not made for _, made in run(repeated, states))
        assert (
            list(run([*repeated, *row[cut + 1 :]], states))[-1] == whole[-1] or not row[cut + 1 :]
        )
        assert all(parse(c.changed_at) == row[cut].at for c in changes)


@PROPERTY
@given(rows(st.integers(-3, 3)))
def test_a_clock_that_is_set_back_is_as_if_nothing_was_evaluated(row: list[Evaluation]) -> None:
    onwards, latest = list[Evaluation](), row[0].at - 1
    for evaluation in row:
        if evaluation.at > latest:
            onwards.append(evaluation)
            latest = evaluation.at
    assert changes_of(row) == changes_of(onwards)


@PROPERTY
@given(rows(), st.integers(2, 10_000))
def test_while_nothing_is_evaluated_nothing_changes_and_no_row_is_broken(
    row: list[Evaluation], gap: int
) -> None:
    """A gap makes rows longer in time, which is all: what is due comes at the next evaluation."""
    shifted = [msgspec.structs.replace(e, at=e.at + gap * EVERY) for e in row]
    plain, after = changes_of(row), changes_of(shifted)
    assert [(c.rule, c.labels, c.to) for c in plain] == [(c.rule, c.labels, c.to) for c in after]
    half = len(row) // 2
    *_, (states, _) = [(AlertStates(), ()), *run(row[:half])]
    *_, (ended, _) = run(shifted[half : half + 1], states)
    now = {alert.key: alert.phase for alert in ended.alerts}
    told = {s.labels for s in row[half].samples if s.window == "5m" and (s.denominator or 0) >= 30}
    # The gap is longer than any rule waits, so what is told after it decides.
    waited = [a for a in states.alerts if a.phase == "pending" and a.labels in told]
    assert all(now.get(alert.key) != "pending" for alert in waited)


@PROPERTY
@given(st.lists(st.sampled_from([0.31, 0.4, 0.5]), max_size=12), st.booleans())
def test_inside_the_hysteresis_band_nothing_flaps(band: list[float], firing: bool) -> None:
    values = [*([0.7] if firing else []), *band]
    row = [
        Evaluation(START + i * EVERY, (Sample("csat", "5m", REGIONS[0], v, v, v, 100 * v, 100),))
        for i, v in enumerate(values)
    ]
    changes = [c for c in changes_of(row) if c.rule == "Above"]
    assert [c.to for c in changes] == ["firing"] * firing


@PROPERTY
@given(st.integers(0, 4 * EVERY), st.integers(0, 4 * EVERY), st.integers(999, 3 * EVERY))
def test_for_and_keep_firing_for_end_at_the_first_evaluation_that_is_late_enough(
    for_ms: int, keep_ms: int, every: int
) -> None:
    rule = replace(RULES[2], for_ms=for_ms, keep_firing_for_ms=keep_ms)
    rules = RuleSet.of(Settings(rules=(rule,)))
    beyond, clear = -(-for_ms // every), -(-keep_ms // every)
    values = [*[0.7] * (beyond + 1), *[0.5] * (clear + 1)]
    states, found = AlertStates(), []
    for i, v in enumerate(values):
        sample = Sample("csat", "5m", (), v, v, v, 100 * v, 100)
        states, changes = evaluate(rules, states, Evaluation(i * every, (sample,)), i * every)
        found += [(c.to, i) for c in changes]
    pending = [("pending", 0)] if for_ms else []
    assert found == [*pending, ("firing", beyond), ("resolved", beyond + 1 + clear)]


@PROPERTY
@given(rows(), st.integers(-14 * EVERY, 14 * EVERY), st.sampled_from([0.01, 0.5, 0.9, 1.0]))
def test_no_alert_begins_before_enough_is_covered(
    row: list[Evaluation], since: int, part: float
) -> None:
    """And from then on all is as it would be if evaluations began there."""
    windows = (Window("5m", 50 * SECOND, 5 * SECOND), Window("1h", 100 * SECOND, 5 * SECOND))
    first = START + since
    asking = tuple(replace(rule, min_covered=part) for rule in RULES)
    for rule, plain in zip(asking, RULES, strict=True):
        size = 100 if rule.baseline else 50
        covered = [e for e in row if e.at >= first and (e.at - first) / (size * SECOND) >= part]
        one, other = (
            _changes_since(rules, row_, windows, first)
            for rules, row_ in ((rule, row), (plain, covered))
        )
        assert one == other


@PROPERTY
@given(rows(), st.none() | st.integers(START - HOUR, START + HOUR))
def test_without_min_covered_the_first_event_changes_nothing(
    row: list[Evaluation], first: int | None
) -> None:
    assert changes_of([msgspec.structs.replace(e, first=first) for e in row]) == changes_of(row)


def _changes_since(
    rule: Rule, row: Sequence[Evaluation], windows: tuple[Window, ...], first: int
) -> list[Change]:
    rules, states = RuleSet.of(Settings(windows=windows, rules=(rule,))), AlertStates()
    found = list[Change]()
    for evaluation in row:
        seen = msgspec.structs.replace(evaluation, first=first)
        states, changes = evaluate(rules, states, seen, seen.at)
        found += changes
    return found
