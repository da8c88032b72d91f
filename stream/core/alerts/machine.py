"""The state machine of one alert: inactive, pending, firing.

``step`` is a pure function of the rule, the state before, the sample and the evaluation's time.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from stream.core.alerts.change import Change, Phase, Target, alert_key, change_of
from stream.core.alerts.exact import CLOSE, UNSCALED, Exact, as_written, exact
from stream.core.series import LabelPairs, Sample
from stream.core.settings import Rule


class RuleSample(msgspec.Struct, frozen=True, gc=False):
    """What a rule sees of its series: the KPI's sample and, for a spike, the usual value.

    ``usual`` is the baseline's value, already scaled to the size of the rule's window, as near as
    floats come; ``baseline`` and ``scale`` are what it was made of, where that is known.
    ``covered`` is the part (0 to 1) of the window, of a spike's baseline where it has one, that
    data covers.
    """

    value: float | None
    lower: float | None = None
    upper: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    usual: float | None = None
    covered: float = 1.0
    baseline: Sample | None = None
    scale: Fraction = UNSCALED

    @property
    def usually(self) -> float | None:
        """The usual value, rounded once."""
        return None if self.usual is None else float(_usual(self.usual, self).number)


class Watched(msgspec.Struct, frozen=True, gc=False):
    """What a rule watches: an alert of a rule that comes to watch something else is over.

    Another threshold, time or number of samples is none of it: the alert goes on under those.
    """

    kpi: str
    window: str
    by: tuple[str, ...]
    severity: str
    #: Whether values that are too high are looked for, and against which window's.
    rises: bool
    baseline: str | None = None
    topic: str = ""

    @classmethod
    def of(cls, rule: Rule) -> Watched:
        """What a rule watches."""
        by = tuple(sorted(rule.by))
        return cls(rule.kpi, rule.window, by, rule.severity, rises(rule), rule.baseline, rule.topic)


class AlertState(msgspec.Struct, frozen=True, gc=False):
    """The state of one alert: a rule and the labels of a series. Times are ms since the epoch.

    ``started_at`` is the first evaluation beyond the threshold, None while inactive; ``changed_at``
    that of the latest change; ``clearing_since`` the first of the present unbroken row of
    evaluations that would clear a firing alert. ``overflow`` marks the one alert of a rule that
    says that more series are beyond than it may have alerts for; it has no labels. ``watched`` is
    what the rule watched; None where an earlier version did not note it.
    """

    rule: str
    labels: LabelPairs = ()
    phase: Phase = "inactive"
    started_at: int | None = None
    changed_at: int | None = None
    clearing_since: int | None = None
    overflow: bool = False
    watched: Watched | None = None

    @property
    def key(self) -> bytes:
        """The key of the records of its changes."""
        return alert_key(self.rule, self.labels)

    @property
    def known_until(self) -> int | None:
        """The latest evaluation that left a trace in this state."""
        return self.changed_at if self.clearing_since is None else self.clearing_since


def is_watched(state: AlertState, rule: Rule | None) -> bool:
    """Whether an alert is one of the rule, if there is one, as that is now."""
    return rule is not None and state.watched in (None, Watched.of(rule))


class AlertStates(msgspec.Struct, frozen=True):
    """All alerts that are not inactive, or only just so, after the evaluation at ``at``."""

    at: int | None = None
    alerts: tuple[AlertState, ...] = ()


def threshold(rule: Rule, sample: RuleSample | None) -> float | None:
    """The threshold in effect: ``above`` or ``below``; of a spike factor × usual value.

    It is rounded once, so that a value that is shown as it is exactly there.
    """
    if rule.factor is None:
        return rule.threshold
    if sample is None or sample.usual is None:
        return None
    return float(_usual(sample.usual, sample).times(as_written(rule.factor)).number)


def rises(rule: Rule) -> bool:
    """Whether the rule looks for values that are too high, rather than too low."""
    return rule.factor > 1 if rule.factor is not None else rule.above is not None


def has_data(rule: Rule, sample: RuleSample | None) -> bool:
    """Whether the sample says anything: a value, a threshold, enough contributions and time.

    KPIs without a denominator have no number of contributions to ask for.
    """
    return (
        sample is not None
        and sample.value is not None
        and (rule.threshold if rule.factor is None else sample.usual) is not None
        and sample.covered >= rule.min_covered
        and (sample.denominator is None or sample.denominator >= rule.min_samples)
    )


def _beyond(rule: Rule, sample: RuleSample) -> bool:
    """Whether a sample with data is beyond the threshold; with its whole interval where asked."""
    rising = rises(rule)
    bound = (sample.lower if rising else sample.upper) if rule.asks_for_whole_interval else None
    over = _over(rule, sample, rule.threshold, bound)
    if over is None:
        return False
    return over > 0 if rising else over < 0


def _clear(rule: Rule, sample: RuleSample) -> bool:
    """Whether a sample with data would clear a firing alert."""
    over = _over(rule, sample, rule.threshold if rule.clear is None else rule.clear)
    if over is None:
        return False
    return over <= 0 if rises(rule) else over >= 0


def _over(
    rule: Rule, sample: RuleSample, fixed: float | None, bound: float | None = None
) -> float | Fraction | None:
    """How far a sample is above a limit: less than 0 below it, 0 exactly at it; None without one.

    The limit is ``fixed``, of a spike factor × usual value. ``bound`` is compared in place of the
    value where it is given.
    """
    seen = sample.value if bound is None else bound
    if seen is None:
        return None
    if rule.factor is None:
        # Both are rounded once, so where one is above the other in floats it is above it.
        return None if fixed is None else seen - fixed
    usual = sample.usual
    if not usual:
        return None if usual is None else seen
    limit = rule.factor * usual
    over = seen - limit
    if abs(over) > CLOSE * abs(limit):
        return over
    value = (
        exact(seen, sample.numerator, sample.denominator)
        if bound is None
        else Exact(Fraction(bound), is_known=False)
    )
    return value.over(_usual(usual, sample).times(as_written(rule.factor)))


def _usual(usual: float, sample: RuleSample) -> Exact:
    """The usual value as a fraction."""
    baseline = sample.baseline
    if baseline is None or baseline.value is None:
        return exact(usual)
    value = exact(baseline.value, baseline.numerator, baseline.denominator)
    return value.times(sample.scale)


def clear_threshold(rule: Rule, sample: RuleSample | None) -> float | None:
    """The value at which a firing alert clears: ``clear``, else the threshold in effect."""
    if rule.factor is None and rule.clear is not None:
        return rule.clear
    return threshold(rule, sample)


def step(
    rule: Rule, previous: AlertState, sample: RuleSample | None, now: int
) -> tuple[AlertState, Change | None]:
    """Take one alert through the evaluation at ``now`` (ms); ``sample`` is None if there is none.

    Every change of an alert is later than the one before: an evaluation that isn't later than what
    the state knows (a clock set back, an evaluation made again) is passed over.
    """
    known = previous.known_until
    if known is not None and now <= known:
        return previous, None
    if sample is None or not has_data(rule, sample):
        if rule.on_no_data == "keep" or previous.phase == "inactive":
            return previous, None
        return end(rule, previous, sample, now)
    match previous.phase:
        case "inactive":
            return _from_inactive(rule, previous, sample, now)
        case "pending":
            return _from_pending(rule, previous, sample, now)
        case "firing":
            return _from_firing(rule, previous, sample, now)


def _from_inactive(
    rule: Rule, previous: AlertState, sample: RuleSample, now: int
) -> tuple[AlertState, Change | None]:
    if not _beyond(rule, sample):
        return previous, None
    phase: Phase = "pending" if rule.for_ms > 0 else "firing"
    state = _moved(previous, phase, now, started=now)
    return state, _change(rule, previous, phase, sample, now, now)


def _from_pending(
    rule: Rule, previous: AlertState, sample: RuleSample, now: int
) -> tuple[AlertState, Change | None]:
    if not _beyond(rule, sample):
        return end(rule, previous, sample, now)
    started = now if previous.started_at is None else previous.started_at
    if now - started < rule.for_ms:
        return previous, None
    state = _moved(previous, "firing", now, started=started)
    return state, _change(rule, previous, "firing", sample, now, started)


def _from_firing(
    rule: Rule, previous: AlertState, sample: RuleSample, now: int
) -> tuple[AlertState, Change | None]:
    if not _clear(rule, sample):
        if previous.clearing_since is None:
            return previous, None
        return msgspec.structs.replace(previous, clearing_since=None), None
    since = now if previous.clearing_since is None else previous.clearing_since
    if now - since < rule.keep_firing_for_ms:
        return msgspec.structs.replace(previous, clearing_since=since), None
    return end(rule, previous, sample, now)


def end(
    rule: Rule, previous: AlertState, sample: RuleSample | None, now: int
) -> tuple[AlertState, Change]:
    """Back to inactive: a firing alert is resolved, a pending one never was one."""
    to: Target = "resolved" if previous.phase == "firing" else "inactive"
    started = now if previous.started_at is None else previous.started_at
    state = _moved(previous, "inactive", now, started=None)
    return state, _change(rule, previous, to, sample, now, started)


def _moved(previous: AlertState, phase: Phase, now: int, *, started: int | None) -> AlertState:
    """The alert in another phase from now on."""
    return msgspec.structs.replace(
        previous, phase=phase, started_at=started, changed_at=now, clearing_since=None
    )


def _change(
    rule: Rule,
    previous: AlertState,
    to: Target,
    sample: RuleSample | None,
    now: int,
    started: int,
) -> Change:
    change = change_of(rule, previous.labels, previous.phase, to, started=started, now=now)
    measured = sample or RuleSample(None)
    return msgspec.structs.replace(
        change,
        value=measured.value,
        lower=measured.lower,
        upper=measured.upper,
        numerator=measured.numerator,
        denominator=measured.denominator,
        threshold=threshold(rule, sample),
    )
