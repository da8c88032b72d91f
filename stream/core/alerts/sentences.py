"""One English sentence for a change: what, where, how much, against what, how sure, since when."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stream.core.alerts.change import Change, Contributor, rfc3339
from stream.core.alerts.machine import RuleSample, clear_threshold, has_data, rises
from stream.core.alerts.measures import measure
from stream.core.alerts.quantities import as_limit, duration, exactly, quantity
from stream.core.alerts.rules import PreparedRule
from stream.core.settings import SECOND, Rule
from stream.core.text import clipped, printable

#: A label's value is cut after so many characters, ...
LONGEST_LABEL = 40
#: ... and a sentence after so many.
LONGEST_SENTENCE = 600
#: The label of KPIs that add up amounts; ``currency`` is no dimension's name.
_CURRENCY = "currency"
#: A mix that is so much of the whole difference, against the rates, is told.
_TELLING_PART = 0.05


def sentence(prepared: PreparedRule, change: Change, sample: RuleSample | None) -> str:
    """One sentence, one line, for a change of a series' alert."""
    if prepared.rule.topic:
        return _bounded(_of_input(prepared, change))
    title = prepared.kpi.title if prepared.kpi is not None else change.kpi
    what = f"{title}{_for(change.labels)} over {change.window}"
    if sample is None or not has_data(prepared.rule, sample):
        return _bounded(f"{what} {_lack(prepared, sample)}, so the alert is {change.to}.")
    seen = f"{what} is {_measured(prepared, change, sample)}, {_judged(prepared, change, sample)}"
    if change.to in {"pending", "firing"}:
        seen += _usually(prepared, change) + _going(prepared, change) + _from(prepared, change)
    return _bounded(f"{seen}.")


def overflow_sentence(change: Change) -> str:
    """One sentence for a change of the alert on a rule's number of series."""
    needed, most = (f"{x or 0:,.0f}" for x in (change.value, change.threshold))
    rule = printable(change.rule)
    if change.to not in {"pending", "firing"}:
        # Of more than there are places, some are from when there were more.
        are_kept = (change.value or 0) > (change.threshold or 0)
        places = f", kept from before the limit of {most}" if are_kept else f" of at most {most}"
        return _bounded(
            f"{rule} has alerts for all its series again: {needed}{places}, {_after(change)}."
        )
    named = "; ".join(_list(part.labels) for part in change.contributors)
    unnamed = change.rest.series if change.rest is not None else 0
    more = f" and {unnamed:,} more" if unnamed else ""
    none = len(change.contributors) + unnamed
    return _bounded(
        f"{needed} series of {rule} are beyond its threshold, but at most {most} have alerts; "
        f"{none:,} {'has' if none == 1 else 'have'} none: {named}{more}."
    )


def summary_values(change: Change) -> Mapping[str, str]:
    """What stands for the fields of a summary, printable."""
    kpi, trend = measure(change.kpi), change.trend
    labels = {name: printable(value) for name, value in change.labels.items()}
    return labels | {
        "rule": printable(change.rule),
        "severity": printable(change.severity),
        "state": change.to,
        "kpi": change.kpi,
        "window": change.window,
        "labels": _list(change.labels),
        "value": quantity(kpi, change.value),
        "lower": quantity(kpi, change.lower),
        "upper": quantity(kpi, change.upper),
        "n": "unknown" if change.denominator is None else f"{change.denominator:,.12g}",
        "threshold": as_limit(kpi, change.threshold),
        "baseline": quantity(kpi, change.baseline),
        "since": moment(change.started_at),
        "trend": "unknown" if trend is None else trend.direction,
    }


def moment(time: str) -> str:
    """An RFC 3339 time in UTC as people read it: ``2026-05-04 08:35 UTC``."""
    return time.replace("T", " ").removesuffix("Z").removesuffix(":00") + " UTC"


def _bounded(text: str) -> str:
    return clipped(text, LONGEST_SENTENCE)


def _list(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in sorted(labels.items()))


def _short(value: str) -> str:
    return clipped(printable(value), LONGEST_LABEL)


def _for(labels: Mapping[str, str]) -> str:
    return f" for {_list(labels)}" if labels else ""


def _after(change: Change) -> str:
    lasted = duration(change.changed_ms - change.started_ms)
    return f"{lasted} after the alert began at {moment(change.started_at)}"


def _of_input(prepared: PreparedRule, change: Change) -> str:
    """For a rule that misses events."""
    rule = prepared.rule
    silence = round((change.value or 0.0) * SECOND)
    silent = duration(silence)
    allowed = exactly(round((rule.above or 0.0) * SECOND))
    # The alert began only once the silence was too long.
    quiet = moment(rfc3339((change.changed_ms - silence) // SECOND * SECOND))
    missing = f"No event of {rule.topic} for {silent} (allowed: {allowed}), since {quiet}"
    again = f"Events of {rule.topic} come again, the latest {silent} ago"
    match change.to:
        case "pending":
            return f"{missing}; fires if none comes in {exactly(rule.for_ms)}."
        case "firing":
            return f"{missing}."
        case "inactive":
            return f"{again}."
        case "resolved":
            return f"{again}, {_after(change)}."


def _lack(prepared: PreparedRule, sample: RuleSample | None) -> str:
    """Why there was no data."""
    rule = prepared.rule
    if sample is None or sample.value is None:
        return "has no value"
    if sample.denominator is not None and sample.denominator < rule.min_samples:
        return f"has {sample.denominator:,.12g} of {rule.min_samples:,.12g} samples needed"
    if sample.covered < rule.min_covered:
        covered, needed = (f"{100 * part:.3g}%" for part in (sample.covered, rule.min_covered))
        return f"has data for {covered} of {rule.baseline or rule.window} and needs {needed}"
    return f"has no usual value over {rule.baseline}"


def _number(change: Change, denominator: float) -> str:
    """Of how many or, where amounts are compared, of how much: ``n = 600``, ``of 600 EUR``."""
    currency = change.labels.get(_CURRENCY)
    if currency is None:
        return f"n = {denominator:,.12g}"
    return f"of {denominator:,.12g} {printable(currency)}"


def _measured(prepared: PreparedRule, change: Change, sample: RuleSample) -> str:
    """The value and how sure it is: ``7.5% (95% sure: 5.6% to 9.9%, n = 600)``."""
    sure = []
    if sample.lower is not None and sample.upper is not None:
        lower, upper = (quantity(prepared.kpi, x) for x in (sample.lower, sample.upper))
        sure.append(f"95% sure: {lower} to {upper}")
    if sample.denominator is not None:
        sure.append(_number(change, sample.denominator))
    return quantity(prepared.kpi, sample.value) + (f" ({', '.join(sure)})" if sure else "")


def _judged(prepared: PreparedRule, change: Change, sample: RuleSample) -> str:
    """How the value stands to the threshold, and what that means for the alert."""
    rule = prepared.rule
    side = "above" if rises(rule) else "below"
    beyond = as_limit(prepared.kpi, change.threshold)
    shown = quantity(prepared.kpi, change.value)
    if shown in {beyond, quantity(prepared.kpi, change.threshold)} and change.to != "inactive":
        side = f"just {side}"
    side = _surely(rule, sample) + side
    if rule.factor is not None:
        usual = quantity(prepared.kpi, sample.usually)
        beyond += f" ({rule.factor:g} × the usual {usual} of {rule.baseline})"
    match change.to:
        case "pending":
            return f"{side} {beyond}; fires if it is still so in {exactly(rule.for_ms)}"
        case "firing":
            return f"{side} {beyond} since {moment(change.started_at)}"
        case "inactive":
            return f"no longer {side} {beyond}"
        case "resolved":
            back = "at or below" if rises(rule) else "at or above"
            cleared = as_limit(prepared.kpi, clear_threshold(rule, sample))
            held = f" for {exactly(rule.keep_firing_for_ms)}" if rule.keep_firing_for_ms else ""
            return f"{back} {cleared}{held} again, {_after(change)}"


def _surely(rule: Rule, sample: RuleSample) -> str:
    """Whether an interval was beyond: where there is none the value stands for it, less sure."""
    bound = sample.lower if rises(rule) else sample.upper
    return "surely " if rule.asks_for_whole_interval and bound is not None else ""


def _usually(prepared: PreparedRule, change: Change) -> str:
    """The usual value, where the threshold has not told it yet."""
    if prepared.rule.factor is not None or change.baseline is None:
        return ""
    return f"; usually {quantity(prepared.kpi, change.baseline)} (over {change.baseline_window})"


def _going(prepared: PreparedRule, change: Change) -> str:
    trend = change.trend
    if trend is None or change.value is None:
        return ""
    if trend.direction == "steady":
        return f"; no clear change in the last {trend.part}"
    newest = quantity(prepared.kpi, change.value + trend.change)
    grows = prepared.kpi is not None and prepared.kpi.grows_with_window
    over = "at the pace of the last" if grows else "in the last"
    return f"; {trend.direction} ({newest} {over} {trend.part})"


def _from(prepared: PreparedRule, change: Change) -> str:
    """Where the difference comes from: the strongest sub-series, and whether the mix did it."""
    if not change.contributors or change.value is None or change.reference is None:
        return ""
    difference = change.value - change.reference
    part = change.contributors[0]
    if part.contribution * difference <= 0 or (difference > 0) != rises(prepared.rule):
        # Bad, but better than usual: what made it better is no answer to why it fires.
        return ""
    return f"; moved most by {_part(prepared, change, part)}{_paradox(change, difference)}"


def _part(prepared: PreparedRule, change: Change, part: Contributor) -> str:
    own = {name: value for name, value in part.labels.items() if name not in change.labels}
    value = quantity(prepared.kpi, part.value) if part.value is not None else "none now"
    if change.baseline is None:
        return f"{_list(own)} ({value})"
    if abs(part.mix) > abs(part.rate) and part.share is not None:
        now, before = (f"{100 * (share or 0.0):.3g}%" for share in (part.share, part.share_before))
        return f"{_list(own)} ({value}), now {now} of all, usually {before}"
    usually = "" if part.before is None else f", usually {quantity(prepared.kpi, part.before)}"
    return f"{_list(own)} ({value}{usually})"


def _paradox(change: Change, difference: float) -> str:
    """Simpson's paradox: the parts' own values would have moved the whole the other way."""
    rest = change.rest.rate if change.rest is not None else 0.0
    rates = math.fsum([rest, *(part.rate for part in change.contributors)])
    if rates * difference >= 0 or abs(rates) < _TELLING_PART * abs(difference):
        return ""
    way = "down" if difference > 0 else "up"
    return f"; it is the mix that moved: by their own values its parts would have gone {way}"
