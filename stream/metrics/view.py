"""What a worker shows of itself at one moment: plain data, without a metrics library.

The worker builds a ``WorkerView`` for each scrape. The KPIs, the alerts and all else of one scrape
come from the same object, so that they never contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stream.core.series import Evaluation, LabelPairs


class Timing(msgspec.Struct, frozen=True, gc=False):
    """How often something was done and how long it took, in seconds, since the worker's start."""

    count: int = 0
    total: float = 0.0
    #: The latest duration; None until it was done once.
    last: float | None = None

    def plus(self, seconds: float) -> Timing:
        """This timing with one more measurement."""
        return Timing(self.count + 1, self.total + seconds, seconds)


class AlertGauge(msgspec.Struct, frozen=True):
    """One alert of a rule: of one series, or of the total where the rule has no ``by``."""

    rule: str
    severity: str
    #: The labels of the alert's series, sorted by name, without the window.
    labels: LabelPairs
    firing: bool


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """An immutable picture of a worker. What is unknown is left out, and absent from the metrics.

    All times are ms since the epoch, all durations seconds, all counts those since the worker's
    start unless said otherwise. Topics are named without prefix.
    """

    #: The KPI series that this worker owns, or None where they are incomplete or stale: whoever
    #: makes the view decides that, since series must be absent rather than partial.
    evaluation: Evaluation | None = None
    #: The t that each KPI's series stand for, by KPI id.
    evaluated_ms: Mapping[str, int] = {}
    #: Lasting totals of records by (topic, outcome): part of the state, not reset at a restart.
    outcomes: Mapping[tuple[str, str], int] = {}
    #: The greatest ``occurred_at`` of an accepted event, by topic.
    last_event_ms: Mapping[str, int] = {}
    #: The part of each window (by label) since the first event ever counted, 0 to 1.
    covered: Mapping[str, float] = {}
    #: Published figures by (KPI, industry), in the unit of the KPI's gauge.
    benchmarks: Mapping[tuple[str, str], float] = {}
    #: The alerts that are firing or have a state that is worth showing as 0.
    alerts: tuple[AlertGauge, ...] = ()

    #: Whether the worker has its place in the group and lacks nothing of the shards and families
    #: that are its own, and if not, why.
    ready: bool = False

    #: Records not yet received, by (topic, partition); those behind an open transaction, too.
    lag: Mapping[tuple[str, int], int] = {}
    flush: Timing = Timing()
    #: Flushes that failed or were fenced, after which the shard was taken over anew.
    flush_failures: int = 0
    evaluated: Timing = Timing()
    #: Evaluations of the alert rules left out since they could not be made in time, by the topic of
    #: their KPIs.
    rule_evaluations_skipped: Mapping[str, int] = {}
    #: Take-overs of all assigned shards together.
    recovery: Timing = Timing()
    #: Shards whose state is owned and recovered, and those that are being recovered.
    shards: int = 0
    shards_recovering: int = 0
    #: Records written to the dead letters, by source topic.
    dead_letters: Mapping[str, int] = {}
    #: Segments (sets of dimension values) in memory.
    segments: int | None = None
    #: Those of the shard that has most.
    most_segments: int | None = None
    #: Entities and event ids in memory, by kind such as ``tickets``.
    remembered: Mapping[str, int] = {}
    #: Entities that this worker forgot early for want of memory, by kind.
    forgotten: Mapping[str, int] = {}
    #: Source records that were gone when this worker came to read them, by topic.
    gaps: Mapping[str, int] = {}
    #: Records of what shards tell that can't be read, by the topic of those KPIs that are ours.
    damaged_shares: Mapping[str, int] = {}
    #: Bases of subscriptions that found no room among the label sets.
    refused_bases: int = 0
    #: Starts and cancellations of subscriptions that found none, so that no base replaces them.
    without_room: int = 0
    #: Notifications by (sink, result): ``sent``, ``retried``, ``dropped``; tries to read them that
    #: failed (``unread``); where it is told again what fires also ``refreshed``, ``unrefreshed``.
    notifications: Mapping[tuple[str, str], int] = {}
