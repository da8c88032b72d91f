"""What a change says to a person: one sentence, and the sub-series that moved the value most."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stream.core.alerts.change import Change, Contributor
from stream.core.alerts.machine import RuleSample, clear_threshold, has_data, rises
from stream.core.alerts.quantities import duration, printable, quantity
from stream.core.alerts.rules import PreparedRule, Rollups
from stream.core.series import Labels, Sample

#: How many contributors a change names.
MOST_CONTRIBUTORS = 5


def explained(
    prepared: PreparedRule, change: Change, sample: RuleSample | None, rollups: Rollups
) -> Change:
    """The change with its explanation and contributors.

    ``rollups`` are all samples of the rule's KPI and window; where finer rollups are missing, the
    change has no contributors.
    """
    named = contributors(prepared, change, sample, rollups)
    return msgspec.structs.replace(
        change, contributors=named, explanation=_sentence(prepared, change, sample, named)
    )


def contributors(
    prepared: PreparedRule, change: Change, sample: RuleSample | None, rollups: Rollups
) -> tuple[Contributor, ...]:
    """The sub-series that moved the value most in the change's direction, the strongest first.

    A sub-series of n contributions and value v adds n/N · (v − reference) to the difference between
    the alert's value and the reference: exact where the sub-series make up the whole. A KPI without
    denominator that grows with the window is a count, to which a sub-series adds its own. Other
    KPIs without denominator can't be taken apart.
    """
    reference = _reference(prepared, change, sample)
    if sample is None or reference is None:
        return ()
    labels = tuple(sorted(change.labels.items()))
    parts = [
        Contributor(dict(part.labels), moved, part.value, part.numerator, part.denominator)
        for part in _parts(prepared, labels, rollups)
        if (moved := _contribution(prepared, part, sample, reference)) is not None
    ]
    worse = change.to in {"pending", "firing"}
    sign = 1 if rises(prepared.rule) == worse else -1
    moving = [part for part in parts if sign * part.contribution > 0]
    moving.sort(key=lambda part: (-sign * part.contribution, sorted(part.labels.items())))
    return tuple(moving[:MOST_CONTRIBUTORS])


def _reference(prepared: PreparedRule, change: Change, sample: RuleSample | None) -> float | None:
    """What the value is compared with: the threshold, or for a spike the usual value."""
    if prepared.rule.factor is None:
        return change.threshold
    return None if sample is None else sample.usual


def _parts(prepared: PreparedRule, labels: Labels, rollups: Rollups) -> Iterable[Sample]:
    """The sub-series of a series, of the rollups that are finer than the rule's by the least."""
    finer = [set(names) for names in rollups if set(names) > set(prepared.by)]
    of_series = set(labels)
    for names, samples in rollups.items():
        if set(names) in finer and not any(other < set(names) for other in finer):
            for part_labels, part in samples.items():
                if of_series <= set(part_labels):
                    yield part


def _contribution(
    prepared: PreparedRule, part: Sample, whole: RuleSample, reference: float
) -> float | None:
    if part.value is None:
        return None
    if part.denominator is not None and whole.denominator:
        return part.denominator * (part.value - reference) / whole.denominator
    if prepared.kpi is not None and prepared.kpi.grows_with_window and part.denominator is None:
        return part.value
    return None


def _sentence(
    prepared: PreparedRule,
    change: Change,
    sample: RuleSample | None,
    named: tuple[Contributor, ...],
) -> str:
    """One sentence: what, where, how much, how sure, against what, since when, from where."""
    title = prepared.kpi.title if prepared.kpi is not None else change.kpi
    what = f"{title}{_where(change.labels)} over {change.window}"
    if sample is None or not has_data(prepared.rule, sample):
        return f"{what} {_lack(prepared, sample)}, so the alert is {change.to}."
    seen = f"{what} is {_measured(prepared, sample)}, {_judged(prepared, change, sample)}"
    return f"{seen}{_strongest(prepared, change, named)}."


def _where(labels: dict[str, str]) -> str:
    listed = ", ".join(f"{name} {printable(value)}" for name, value in sorted(labels.items()))
    return f" for {listed}" if listed else ""


def _lack(prepared: PreparedRule, sample: RuleSample | None) -> str:
    """Why there was no data."""
    if sample is None or sample.value is None:
        return "has no value"
    if sample.denominator is not None and sample.denominator < prepared.rule.min_samples:
        return f"has {sample.denominator:,.12g} of {prepared.rule.min_samples:,.12g} samples needed"
    return f"has no usual value over {prepared.rule.baseline}"


def _measured(prepared: PreparedRule, sample: RuleSample) -> str:
    """The value with what says how sure it is: ``7.5% (95% interval 5.6% to 9.9%, n = 600)``."""
    sure = []
    if sample.lower is not None and sample.upper is not None:
        lower, upper = (quantity(prepared.kpi, x) for x in (sample.lower, sample.upper))
        sure.append(f"95% interval {lower} to {upper}")
    if sample.denominator is not None:
        sure.append(f"n = {sample.denominator:,.12g}")
    return quantity(prepared.kpi, sample.value) + (f" ({', '.join(sure)})" if sure else "")


def _judged(prepared: PreparedRule, change: Change, sample: RuleSample) -> str:
    """How the value stands to the threshold, and what that means for the alert."""
    rule = prepared.rule
    side = "above" if rises(rule) else "below"
    limit = quantity(prepared.kpi, change.threshold)
    if rule.factor is not None:
        usual = quantity(prepared.kpi, sample.usual)
        limit += f" ({rule.factor:g} × the usual {usual} of {rule.baseline})"
    match change.to:
        case "pending":
            return f"{side} {limit}; fires if it is still so in {duration(rule.for_ms)}"
        case "firing":
            surely = "surely " if rule.significant or rule.factor is not None else ""
            return f"{surely}{side} {limit} since {change.started_at}"
        case "inactive":
            return f"no longer {side} {limit}"
        case "resolved":
            back = "at or below" if rises(rule) else "at or above"
            cleared = quantity(prepared.kpi, clear_threshold(rule, sample))
            held = f" for {duration(rule.keep_firing_for_ms)}" if rule.keep_firing_for_ms else ""
            return f"{back} {cleared}{held} again, after an alert that began {change.started_at}"


def _strongest(prepared: PreparedRule, change: Change, named: tuple[Contributor, ...]) -> str:
    if not named or change.to not in {"pending", "firing"}:
        return ""
    part = named[0]
    own = {name: value for name, value in part.labels.items() if name not in change.labels}
    return f"; moved most by {_where(own)[5:]} ({quantity(prepared.kpi, part.value)})"
