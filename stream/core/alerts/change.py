"""A change of an alert's state, as it is written to the alert topic and sent to the sinks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np
import xxhash

from stream.core.series import LabelPairs
from stream.core.settings import Rule
from stream.core.timestamps import format_ms

#: The states of an alert. An alert that was resolved is inactive again.
Phase = Literal["inactive", "pending", "firing"]
#: What a change can lead to.
Target = Literal["inactive", "pending", "firing", "resolved"]


class Contributor(msgspec.Struct, frozen=True):
    """A sub-series and what it adds to the difference between the alert's value and its reference.

    ``contribution`` is in the KPI's own unit, and ``mix`` + ``rate``: what comes from its share of
    the whole being another than before, and what from its own value being another. ``share`` and
    ``share_before`` are parts of the denominator (0 to 1). What was before is None where the
    reference is the threshold.
    """

    labels: dict[str, str]
    contribution: float
    value: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    mix: float = 0.0
    rate: float = 0.0
    before: float | None = None
    share: float | None = None
    share_before: float | None = None


class Rest(msgspec.Struct, frozen=True):
    """All sub-series that are not listed, together; so the list sums to the whole difference.

    What carries no label of the sub-series is in it too.
    """

    contribution: float
    mix: float = 0.0
    rate: float = 0.0
    #: How many sub-series these are.
    series: int = 0


class Trend(msgspec.Struct, frozen=True):
    """Where the value is going: its newest part against the window as a whole.

    ``change`` is the value over the newest part of the window less that of the window, in the
    KPI's unit; ``part`` is that part's length, such as ``15m``. It is ``steady`` where the 95%
    interval of the newest part holds the window's value; without bounds, where the change is
    within 1% of that value.
    """

    direction: Literal["rising", "falling", "steady"]
    change: float
    part: str


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One change of one alert. Its JSON form is the record of the alert topic.

    ``id`` depends on rule, labels, time and target alone: a change that is sent again has the same.
    Times are RFC 3339 in UTC: ``started_at`` is the first evaluation beyond the threshold,
    ``changed_at`` the evaluation that made the change. ``threshold`` is the one in effect, for a
    spike factor × usual value; None if there was none for want of data.

    ``kpi`` is ``input`` where events of a topic are missing (value and threshold are seconds, the
    label is the topic) and ``series`` where a rule has more series than it may have alerts for
    (value and threshold are numbers of series).

    ``baseline`` is the usual value, that of ``baseline_window``, scaled to the window where the KPI
    grows with it. ``reference`` is what ``contributors`` and ``rest`` sum up the difference to: the
    baseline, where there is none the threshold, and for a count without baseline 0.
    """

    id: str
    rule: str
    from_: Phase
    to: Target
    severity: str
    kpi: str
    window: str
    labels: dict[str, str]
    value: float | None
    lower: float | None
    upper: float | None
    numerator: float | None
    denominator: float | None
    threshold: float | None
    started_at: str
    changed_at: str
    explanation: str = ""
    contributors: tuple[Contributor, ...] = ()
    rest: Rest | None = None
    reference: float | None = None
    baseline: float | None = None
    baseline_window: str = ""
    trend: Trend | None = None
    summary: str = ""
    runbook_url: str = ""
    dashboard_url: str = ""

    @property
    def key(self) -> bytes:
        """The record key: all changes of one alert share a partition, and so keep their order."""
        return alert_key(self.rule, self.labels.items())

    @property
    def started_ms(self) -> int:
        """``started_at`` in ms since the epoch."""
        return _read_back(self.started_at)

    @property
    def changed_ms(self) -> int:
        """``changed_at`` in ms since the epoch."""
        return _read_back(self.changed_at)


def alert_key(rule: str, labels: Iterable[tuple[str, str]]) -> bytes:
    """What tells the alerts of one series from those of all others, in the topics."""
    return msgspec.json.encode([rule, sorted(labels)])


def change_id(rule: str, labels: LabelPairs, now: int, to: Target) -> str:
    """The identity of a change: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode([rule, labels, now, to]))


def change_of(
    rule: Rule, labels: LabelPairs, from_: Phase, to: Target, *, started: int, now: int
) -> Change:
    """A change of an alert of a rule, of which nothing was measured. Times are in ms."""
    return Change(
        id=change_id(rule.name, labels, now, to),
        rule=rule.name,
        from_=from_,
        to=to,
        severity=rule.severity,
        kpi=rule.kpi,
        window=rule.window,
        labels=dict(labels),
        value=None,
        lower=None,
        upper=None,
        numerator=None,
        denominator=None,
        threshold=None,
        started_at=rfc3339(started),
        changed_at=rfc3339(now),
        summary=rule.summary,
        runbook_url=rule.runbook_url,
    )


def rfc3339(at: int) -> str:
    """A time in ms since the epoch as RFC 3339 in UTC; milliseconds appear where there are any."""
    return format_ms(at).replace(".000Z", "Z")


def _read_back(time: str) -> int:
    """What ``rfc3339`` was given.

    Offsets take the ends of the calendar into the years 0 and 10000, which no event can name.
    """
    return int(np.datetime64(time.removesuffix("Z"), "ms").astype(np.int64))
