"""A change of an alert's state, as it is written to the alert topic and sent to the sinks."""

from __future__ import annotations

from typing import Literal

import msgspec
import xxhash

from stream.core.series import Labels
from stream.core.timestamps import format_ms

#: The states of an alert. An alert that was resolved is inactive again.
Phase = Literal["inactive", "pending", "firing"]
#: What a change can lead to.
Target = Literal["inactive", "pending", "firing", "resolved"]


class Contributor(msgspec.Struct, frozen=True):
    """A sub-series and what it adds to the difference between the alert's value and its reference.

    ``contribution`` is in the KPI's own unit. The reference is the threshold, or for a spike the
    usual value. Over sub-series that make up the whole, the contributions sum to the difference.
    """

    labels: dict[str, str]
    contribution: float
    value: float | None = None
    numerator: float | None = None
    denominator: float | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One change of one alert. Its JSON form is the record of the alert topic.

    ``id`` depends on rule, labels, time and target alone: a change that is sent again has the same.
    Times are RFC 3339 in UTC: ``started_at`` is the first evaluation beyond the threshold,
    ``changed_at`` the evaluation that made the change. ``threshold`` is the one in effect, for a
    spike factor × usual value; None if there was none for want of data.
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
    summary: str = ""
    runbook_url: str = ""

    @property
    def key(self) -> bytes:
        """The record key: all changes of one alert share a partition, and so keep their order."""
        return msgspec.json.encode([self.rule, sorted(self.labels.items())])


def change_id(rule: str, labels: Labels, now: int, to: Target) -> str:
    """The identity of a change: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode([rule, labels, now, to]))


def rfc3339(at: int) -> str:
    """A time in ms since the epoch as RFC 3339 in UTC; milliseconds appear where there are any."""
    return format_ms(at).replace(".000Z", "Z")
