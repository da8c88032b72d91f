"""The rules of the configuration as Prometheus rules.

Prometheus makes an alert pending, firing and resolved by whether its expression has a series at an
evaluation, with ``for`` and ``keep_firing_for`` as ``stream.core.alerts.machine`` has them. What it
lacks, hysteresis and a state that outlives a lack of data, is said in the expression: ``ALERTS``
and ``ALERTS_FOR_STATE`` hold what the evaluation before has left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stream.config import durations
from stream.core.alerts import PreparedRule
from stream.core.alerts.machine import rises
from stream.core.alerts.measures import Measure, measure
from stream.core.alerts.quantities import as_limit
from stream.core.settings import SECOND, Rule, Settings
from stream.rules.document import AlertingRule
from stream.rules.promql import (
    STATIC,
    InputSeries,
    KpiSeries,
    Series,
    active_since,
    alerts_of,
    covered,
    number,
)
from stream.rules.text import literal, shown_value, summary, where

#: Labels of Prometheus' own, which an alert's series can't carry.
_PROMETHEUS_OWN = frozenset({"alertname", "alertstate"})

_NEVER_AN_EVENT = (
    "A topic that never had an event is no alert here; a worker counts from the first event of any"
    " topic."
)
_GAP_AT_THE_END_OF_FOR = (
    "While it is pending, a lack of data that lasts until `for` is over makes it inactive here;"
    " a worker waits for the next sample."
)
_GAP_WHILE_CLEARING = (
    "A lack of data starts `keep_firing_for` over here; a worker passes it over. So this may fire"
    " longer."
)
_COVERED_ELSEWHERE = (
    "How much data covers is shown by the worker that shows the KPIs of cx.survey: while none does,"
    " there is no data here. A window that was added later and started empty counts here from the"
    " first event ever; a worker waits for it."
)
_RESOLVED_LATER = (
    "Without data it is resolved after `keep_firing_for` here; a worker resolves it at once."
)


def obstacle(prepared: PreparedRule) -> str | None:
    """Why Prometheus can't express a rule, or None."""
    own = sorted(_PROMETHEUS_OWN & set(prepared.by))
    if own:
        return f"its alerts would carry the label {own[0]}, which is Prometheus' own"
    return None


def series_of(prepared: PreparedRule, settings: Settings, job: str) -> Series:
    """What a rule of a checked configuration watches."""
    rule, watched = prepared.rule, measure(prepared.rule.kpi)
    if isinstance(watched, Measure):
        return InputSeries(job, rule.topic, watched)
    if watched is None:
        raise ValueError(f"there is no KPI {rule.kpi}")
    return KpiSeries(job, watched, settings.dimensions, prepared.by)


def kpi_rule(prepared: PreparedRule, series: Series, *, alert: str, runbook: str) -> AlertingRule:
    """The alerting rule of a rule without ``obstacle``.

    ``runbook`` is the address of the page for rules that name none.
    """
    rule = prepared.rule
    labels = dict(zip(STATIC, (rule.kpi, rule.name, rule.severity, rule.window), strict=True))
    return AlertingRule(
        alert=alert,
        expr=_Expression(prepared, series, alert).text(),
        labels={name: literal(text) for name, text in labels.items() if text},
        annotations=_annotations(rule, series, runbook),
        for_=durations.label(rule.for_ms) if rule.for_ms else None,
        keep_firing_for=(
            durations.label(rule.keep_firing_for_ms) if rule.keep_firing_for_ms else None
        ),
        notes=tuple(_notes(rule)),
    )


def _notes(rule: Rule) -> Iterator[str]:
    """Where Prometheus' states can differ from a worker's."""
    if rule.topic:
        yield _NEVER_AN_EVENT
    if rule.min_covered > 0:
        yield _COVERED_ELSEWHERE
    if rule.on_no_data == "keep" and rule.for_ms:
        yield _GAP_AT_THE_END_OF_FOR
    if rule.keep_firing_for_ms:
        yield _GAP_WHILE_CLEARING if rule.on_no_data == "keep" else _RESOLVED_LATER


def _annotations(rule: Rule, series: Series, runbook: str) -> dict[str, str]:
    side, title = "above" if rises(rule) else "below", series.watched.title
    if rule.factor is not None:
        limit = f"{number(rule.factor)} × the usual value of {rule.baseline}"
    else:
        limit = as_limit(series.watched, rule.threshold)
    surely = "surely " if _whole(rule, series) else ""
    said = f"{title} is {surely}{side} {limit}."
    if rule.topic:
        said = f"No event of {literal(rule.topic)} for over {limit}."
    over = f" over {rule.window}" if rule.window else ""
    # Where data lacks, the value is NaN, which isn't equal to itself.
    seen = f"{{{{ if eq $value $value }}}}is {shown_value(series.watched.unit)}"
    lacking = "{{ else }}has no data{{ end }}"
    return {
        "summary": summary(rule, series, limit) or said,
        "description": f"{title}{where(series.labels)}{over} {seen}{lacking};"
        f" it was {surely}{side} {limit}.",
        "runbook_url": literal(rule.runbook_url) or runbook,
    }


def _whole(rule: Rule, series: Series) -> bool:
    """Whether the whole confidence interval has to be beyond."""
    return rule.asks_for_whole_interval and "lower" in series.parts


@dataclass(frozen=True, slots=True)
class _Expression:
    """Builds the expression of one rule. Its value is the KPI's, or NaN while data lacks."""

    prepared: PreparedRule
    series: Series
    alert: str

    @property
    def rule(self) -> Rule:
        return self.prepared.rule

    def text(self) -> str:
        """The branches, each with a comment that says what it stands for."""
        return "\nor\n".join(f"# {why}\n{branch}" for why, branch in self._branches())

    def _branches(self) -> Iterator[tuple[str, str]]:
        rule, side = self.rule, "above" if rises(self.rule) else "below"
        sure = "surely " if _whole(rule, self.series) else ""
        yield f"{sure}{side} the limit", self._beyond()
        if _whole(rule, self.series) or (
            rule.clear is not None and rule.clear != self.rule.threshold
        ):
            yield "firing, and not back yet", self._not_back()
        if rule.on_no_data == "keep":
            yield "firing, and no data: nothing is known to have changed", self._firing_unseen()
            if rule.for_ms:
                yield "pending, and no data", self._pending_unseen()

    @property
    def _value(self) -> str:
        return self.series.vector(self.rule.window)

    def _enough(self) -> list[str]:
        """The conditions on the number of contributions and on how much data covers."""
        rule, found = self.rule, list[str]()
        if "denominator" in self.series.parts and rule.min_samples > 0:
            n = self.series.vector(rule.window, "denominator")
            found.append(f"{n} >= {number(rule.min_samples)}")
        if rule.min_covered > 0:
            part = covered(self.series.job, rule.baseline or rule.window)
            found.append(f"on () {part} >= {number(rule.min_covered)}")
        return found

    def _limit(self) -> str:
        """The threshold, a number or for a spike a vector."""
        rule = self.rule
        if rule.factor is None or rule.baseline is None:
            return number(self.rule.threshold or 0.0)
        # Multiplied before it is divided: of whole numbers that is rounded only once.
        limit = f"{number(rule.factor)} * {self.series.vector(rule.baseline)}"
        scale = self.prepared.usual_scale
        for sign, size in (("*", scale.numerator), ("/", scale.denominator)):
            if size != 1:
                limit += f" {sign} {size}"
        return limit

    def _cleared(self) -> str:
        """Where a firing alert is back."""
        clear = self.rule.clear
        return self._limit() if clear is None else number(clear)

    def _beyond(self) -> str:
        sign = ">" if rises(self.rule) else "<"
        if not _whole(self.rule, self.series):
            return _all([f"{self._value} {sign} {self._limit()}", *self._enough()])
        bound = self.series.vector(self.rule.window, "lower" if rises(self.rule) else "upper")
        # Where a series has no bounds its value stands for them.
        beyond = f"({bound} or {self._value}) {sign} {self._limit()}"
        return _all([self._value, beyond, *self._enough()])

    def _not_back(self) -> str:
        sign = ">" if rises(self.rule) else "<"
        firing = alerts_of(self.series.job, self.alert, "firing")
        return _all([f"{self._value} {sign} {self._cleared()}", *self._enough(), firing])

    def _data(self) -> str:
        """The value, where it says anything."""
        usual = [] if self.rule.baseline is None else [self.series.vector(self.rule.baseline)]
        return f"({_all([self._value, *self._enough(), *usual])})"

    def _firing_unseen(self) -> str:
        firing = alerts_of(self.series.job, self.alert, "firing")
        return f"NaN * ({firing}\nunless {self._data()})"

    def _pending_unseen(self) -> str:
        """Prometheus fires a pending alert by time alone, so it must not be there when it is up."""
        pending = alerts_of(self.series.job, self.alert, "pending")
        since = active_since(self.series.job, self.alert)
        lasting = f"time() - {since} < {number(self.rule.for_ms / SECOND)}"
        return f"NaN * ({pending}\nand {lasting}\nunless {self._data()})"


def _all(conditions: list[str]) -> str:
    return "\nand ".join(conditions)
