"""All rules over one evaluation: find each rule's series, take each a step further."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream.core.alerts.change import Change
from stream.core.alerts.details import Look, indexed, look_closer
from stream.core.alerts.ended import sorted_out
from stream.core.alerts.explain import explained, explained_overflow
from stream.core.alerts.machine import AlertState, AlertStates, RuleSample, Watched, step
from stream.core.alerts.overflow import step_overflow
from stream.core.alerts.rules import PreparedRule, Rollups, RuleSet
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.series import Evaluation, LabelPairs, Sample

NOTHING: Mapping[LabelPairs, Sample] = {}
_Known = Mapping[LabelPairs, AlertState]


class Evaluated(NamedTuple):
    """The states after an evaluation, and its changes in order of rule and labels."""

    states: AlertStates
    changes: tuple[Change, ...]


class _Made(NamedTuple):
    """A change as the state machine made it, and what it was made of."""

    prepared: PreparedRule
    change: Change
    sample: RuleSample | None
    overflow: bool = False


def evaluate(
    rules: RuleSet,
    states: AlertStates,
    evaluation: Evaluation,
    now: int,
    look: Look,
) -> Evaluated:
    """Take every alert through the evaluation at ``now`` (ms).

    A series that is in no sample any more has no data. Alerts of rules that are no longer
    configured, or watch something else now, end. An evaluation that isn't later than ``states.at``
    is passed over: no change is made twice, or out of order.

    ``look`` is asked once for what changes say beyond their own sample (finer rollups, the usual
    value, the newest part), and only where there is a change.
    """
    if states.at is not None and now <= states.at:
        return Evaluated(states, ())
    index = _index(rules, evaluation)
    known: dict[str, dict[LabelPairs, AlertState]] = {}
    overflows: dict[str, AlertState] = {}
    going_on, after, ended = sorted_out(rules, states, now)
    for state in going_on:
        if state.overflow:
            overflows[state.rule] = state
        else:
            known.setdefault(state.rule, {})[state.labels] = state
    over: dict[str, set[LabelPairs]] = {}
    for state in after:
        over.setdefault(state.rule, set()).add(state.labels)
    made: list[_Made] = []
    for prepared in rules.rules:
        name = prepared.rule.name
        covered = _covered(prepared, evaluation)
        turn = _Turn(prepared, known.get(name, {}), index, now, covered)
        turn.take(overflows.get(name), over.get(name, set()))
        after += turn.after
        made += turn.made
    changes = sorted([*ended, *_told(rules, made, look)], key=lambda change: change.rule)
    return Evaluated(AlertStates(now, tuple(after)), tuple(changes))


def _told(rules: RuleSet, made: list[_Made], look: Look) -> Iterable[Change]:
    """The changes with what they say to a person."""
    if not made:
        return
    of_series = [one.prepared for one in made if not one.overflow]
    details = look_closer(of_series, look)
    for prepared, change, sample, overflow in made:
        if overflow:
            yield explained_overflow(rules, change)
        else:
            yield explained(rules, prepared, change, sample, details)


class _Turn:
    """One rule's turn in an evaluation."""

    def __init__(
        self,
        prepared: PreparedRule,
        known: _Known,
        index: Mapping[tuple[str, str], Rollups],
        now: int,
        covered: float,
    ) -> None:
        rule = prepared.rule
        self.after: list[AlertState] = []
        self.made: list[_Made] = []
        self._prepared = prepared
        self._watched = Watched.of(rule)
        self._known = known
        self._now = now
        self._covered = covered
        self._scale = float(prepared.usual_scale)
        present = index.get((rule.kpi, rule.window), {}).get(prepared.by, NOTHING)
        if rule.topic:
            # Samples of all topics that any rule misses events of are there.
            own = (("topic", rule.topic),)
            present = {labels: sample for labels, sample in present.items() if labels == own}
        self._present = present
        self._usual = index.get((rule.kpi, rule.baseline or ""), {}).get(prepared.by, NOTHING)

    def take(self, overflow: AlertState | None, over: set[LabelPairs]) -> None:
        """Take all series of the rule a step further, and the alert on their number.

        Those whose alert is just ``over`` wait for the next evaluation: they have had their change.
        Nobody else gets their places meanwhile.
        """
        series = sorted({*self._present, *self._known} - over)
        waiting = len(over - {()})
        if overflow is None and len(series) + waiting <= self._prepared.rule.max_series:
            for labels in series:
                self._keep(*self._step(labels))
            return
        self._take_limited(series, overflow, waiting, is_over=() in over)

    def _take_limited(
        self, series: list[LabelPairs], overflow: AlertState | None, waiting: int, *, is_over: bool
    ) -> None:
        """Those that are active first; what they leave goes to the others in order."""
        taken = {labels: self._step(labels) for labels in series if self._is_active(labels)}
        active = waiting + sum(state.phase != "inactive" for state, _ in taken.values())
        left_out: list[LabelPairs] = []
        for labels in series:
            if labels in taken:
                continue
            state, made = self._step(labels)
            if state.phase != "inactive":
                if active >= self._prepared.rule.max_series:
                    left_out.append(labels)
                    continue
                active += 1
            taken[labels] = state, made
        if self._prepared.overflow is not None and not is_over:
            rule = self._prepared.overflow
            before = overflow or AlertState(rule.name, overflow=True, watched=self._watched)
            state, change = step_overflow(rule, before, active, left_out, self._now)
            made = None if change is None else _Made(self._prepared, change, None, overflow=True)
            self._keep(state, made)
        for labels in sorted(taken):
            self._keep(*taken[labels])

    def _is_active(self, labels: LabelPairs) -> bool:
        state = self._known.get(labels)
        return state is not None and state.phase != "inactive"

    def _step(self, labels: LabelPairs) -> tuple[AlertState, _Made | None]:
        rule = self._prepared.rule
        before = AlertState(rule.name, labels, watched=self._watched)
        previous = self._known.get(labels) or before
        found = self._present.get(labels), self._usual.get(labels)
        sample = _rule_sample(self._prepared, *found, self._scale, self._covered)
        state, change = step(rule, previous, sample, self._now)
        return state, None if change is None else _Made(self._prepared, change, sample)

    def _keep(self, state: AlertState, made: _Made | None) -> None:
        if state.phase != "inactive" or state.changed_at == self._now:
            self.after.append(state)
        if made is not None:
            self.made.append(made)


def _covered(prepared: PreparedRule, evaluation: Evaluation) -> float:
    """The part that data covers of the windows that decide the rule: of each, at least."""
    first, at, starts = evaluation.first, evaluation.at, evaluation.starts
    parts = (w.covered(first, at, starts.get(w.label, BEFORE_ALL)) for w in prepared.deciding)
    return min(parts, default=1.0)


def _rule_sample(
    prepared: PreparedRule,
    sample: Sample | None,
    baseline: Sample | None,
    scale: float,
    covered: float,
) -> RuleSample | None:
    if sample is None:
        return None
    usual = baseline.value if baseline is not None else None
    return RuleSample(
        value=sample.value,
        lower=sample.lower,
        upper=sample.upper,
        numerator=sample.numerator,
        denominator=sample.denominator,
        usual=None if usual is None else usual * scale,
        covered=covered,
        baseline=baseline,
        scale=prepared.usual_scale,
    )


def _index(rules: RuleSet, evaluation: Evaluation) -> Mapping[tuple[str, str], Rollups]:
    """The samples that some rule asks for, by KPI and window, then by rollup and labels."""
    asked = {
        (prepared.rule.kpi, window)
        for prepared in rules.rules
        for window in (prepared.rule.window, prepared.rule.baseline)
    }
    return indexed(s for s in evaluation.samples if (s.kpi, s.window) in asked)
