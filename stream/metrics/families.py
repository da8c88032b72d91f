"""Every metric family that a worker exposes, as data.

The exposition and the documentation read all names here, the dashboards, the exported rules and
``cxkpi top`` those of KPIs. What they show of the worker they name themselves; tests compare.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stream import __version__
from stream.core.kpi import Kpi
from stream.core.series import LabelPairs, quantile_id
from stream.metrics.view import Timing, WorkerView

Kind = Literal["gauge", "counter", "summary"]
#: The part of a KPI sample that a family shows, an attribute of ``Sample``.
Part = Literal["value", "lower", "upper", "numerator", "denominator"]


@dataclass(frozen=True, slots=True)
class KpiFamily:
    """One gauge of a KPI: its value, a bound, or a side of its fraction."""

    name: str
    kind: Kind
    help: str
    #: Labels of every series, to which those of its rollup are added.
    labels: tuple[str, ...]
    #: The ``kpi`` of the samples, and which part of them is shown.
    sample: str
    part: Part


@dataclass(frozen=True, slots=True)
class WorkerFamily:
    """A metric of the worker itself; ``read`` gives its series from a view, as (labels, value)."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[WorkerView], Iterable[tuple[LabelPairs, float | Timing]]]


@dataclass(frozen=True, slots=True)
class ProcessFamily:
    """A standard metric of the process, measured by the client library where the system has it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


Family = KpiFamily | WorkerFamily | ProcessFamily

_PARTS: tuple[tuple[Part, str, str], ...] = (
    ("value", "", "{title}: {help} Absent without data."),
    ("lower", "_lower", "{title}: lower end of the 95% confidence interval."),
    ("upper", "_upper", "{title}: upper end of the 95% confidence interval."),
    ("numerator", "_numerator", "{title}: numerator of the value; sums over series."),
    ("denominator", "_denominator", "{title}: denominator of the value; sums over series."),
)


def parts_of(kpi: Kpi) -> frozenset[Part]:
    """The parts that a KPI has at all."""
    parts: set[Part] = {"value"}
    if kpi.bounds is not None:
        parts |= {"lower", "upper"}
    if kpi.denominator is not None:
        parts |= {"numerator", "denominator"}
    return frozenset(parts)


def gauge_of(kpi: Kpi, part: Part = "value") -> str:
    """The name of the gauge that shows a part of a KPI."""
    return kpi.gauge + next(suffix for name, suffix, _ in _PARTS if name == part)


def kpi_families(kpis: Mapping[str, Kpi]) -> tuple[KpiFamily, ...]:
    """The families of a catalogue, in its order."""
    families: list[KpiFamily] = []
    for kpi in kpis.values():
        parts = parts_of(kpi)
        for part, suffix, text in _PARTS:
            if part in parts:
                families.append(
                    KpiFamily(
                        kpi.gauge + suffix,
                        "gauge",
                        text.format(title=kpi.title, help=_sentence(kpi.help)),
                        ("window", *kpi.labels),
                        kpi.id,
                        part,
                    )
                )
        if kpi.quantile_gauge is not None:
            families.append(
                KpiFamily(
                    kpi.quantile_gauge,
                    "summary",
                    f"{kpi.title}: quantiles, within 1%. Absent without data.",
                    ("window", "quantile", *kpi.labels),
                    quantile_id(kpi.id),
                    "value",
                )
            )
    return tuple(families)


def _sentence(text: str) -> str:
    """The text as one line that ends like a sentence."""
    line = " ".join(text.split())
    return line if line.endswith(".") else line + "."


def _by(name: str, numbers: Mapping[str, float]) -> Iterable[tuple[LabelPairs, float]]:
    for value, number in sorted(numbers.items()):
        yield ((name, value),), number


def _by_two(
    names: tuple[str, str], numbers: Mapping[tuple[str, str], float]
) -> Iterable[tuple[LabelPairs, float]]:
    for values, number in sorted(numbers.items()):
        yield tuple(zip(names, values, strict=True)), number


def _seconds(name: str, times: Mapping[str, int]) -> Iterable[tuple[LabelPairs, float]]:
    return _by(name, {value: ms / 1000 for value, ms in times.items()})


def _one(number: float | Timing | None) -> Iterable[tuple[LabelPairs, float | Timing]]:
    return () if number is None else (((), number),)


def _alerts(view: WorkerView) -> Iterable[tuple[LabelPairs, float]]:
    for alert in view.alerts:
        labels = (("rule", alert.rule), ("severity", alert.severity), *alert.labels)
        yield labels, float(alert.firing)


def _build(_: WorkerView) -> Iterable[tuple[LabelPairs, float]]:
    yield (("version", __version__), ("python", platform.python_version())), 1.0


def _timed(
    what: str, text: str, read: Callable[[WorkerView], Timing]
) -> tuple[WorkerFamily, WorkerFamily]:
    """How long something takes, on the whole and the latest time."""
    return (
        WorkerFamily(
            f"cx_worker_{what}_seconds", "summary", f"{text}.", (), lambda view: _one(read(view))
        ),
        WorkerFamily(
            f"cx_worker_last_{what}_seconds",
            "gauge",
            f"{text}: the latest.",
            (),
            lambda view: _one(read(view).last),
        ),
    )


#: The metrics beside the KPIs.
WORKER_FAMILIES: tuple[WorkerFamily, ...] = (
    WorkerFamily(
        "cx_events_total",
        "counter",
        "Records by source topic and outcome, over all partitions and restarts.",
        ("topic", "outcome"),
        lambda view: _by_two(("topic", "outcome"), view.outcomes),
    ),
    WorkerFamily(
        "cx_last_event_timestamp_seconds",
        "gauge",
        "Greatest time of occurrence of an accepted event, by source topic.",
        ("topic",),
        lambda view: _seconds("topic", view.last_event_ms),
    ),
    WorkerFamily(
        "cx_evaluated_timestamp_seconds",
        "gauge",
        "The time that the series of a KPI stand for.",
        ("kpi",),
        lambda view: _seconds("kpi", view.evaluated_ms),
    ),
    WorkerFamily(
        "cx_window_covered_ratio",
        "gauge",
        "The part of the window since the first event ever counted.",
        ("window",),
        lambda view: _by("window", view.covered),
    ),
    WorkerFamily(
        "cx_alert_firing",
        "gauge",
        "1 while an alert of the rule fires for the series with these labels, 0 while it is pending"
        " or has just ended, else absent.",
        ("rule", "severity"),
        _alerts,
    ),
    WorkerFamily(
        "cx_benchmark",
        "gauge",
        "Published figure of an industry for a KPI, in the KPI's unit. Every worker shows it.",
        ("kpi", "industry"),
        lambda view: _by_two(("kpi", "industry"), view.benchmarks),
    ),
    WorkerFamily("cx_build_info", "gauge", "1, with the version.", ("version", "python"), _build),
    WorkerFamily(
        "cx_worker_ready",
        "gauge",
        "1 while this worker has its place in the group and lacks nothing of the shards and KPI"
        " families that are its own, else 0: /readyz says why.",
        (),
        lambda view: _one(float(view.ready)),
    ),
    WorkerFamily(
        "cx_worker_lag_records",
        "gauge",
        "Source records of an assigned partition that were not received yet.",
        ("topic", "partition"),
        lambda view: (
            ((("topic", topic), ("partition", str(partition))), lag)
            for (topic, partition), lag in sorted(view.lag.items())
        ),
    ),
    *_timed("flush", "Time to make state, positions and dead letters durable", lambda v: v.flush),
    WorkerFamily(
        "cx_worker_flush_failures_total",
        "counter",
        "Flushes that failed or were fenced, after which the state was read anew.",
        (),
        lambda view: _one(view.flush_failures),
    ),
    *_timed("evaluation", "Time to evaluate all windows and KPIs", lambda v: v.evaluated),
    WorkerFamily(
        "cx_worker_rule_evaluations_skipped_total",
        "counter",
        "Evaluations of the alert rules on a topic's KPIs left out since they could not be made in"
        " time.",
        ("topic",),
        lambda view: _by("topic", view.rule_evaluations_skipped),
    ),
    *_timed(
        "recovery",
        "Time to take over the assigned shards, all together, after a start or a rebalance",
        lambda v: v.recovery,
    ),
    WorkerFamily(
        "cx_worker_shards",
        "gauge",
        "Assigned shards, by whether their state is owned or still being recovered.",
        ("state",),
        lambda view: _by("state", {"owned": view.shards, "recovering": view.shards_recovering}),
    ),
    WorkerFamily(
        "cx_worker_dead_letters_total",
        "counter",
        "Records written to the dead letters since the start, by source topic.",
        ("topic",),
        lambda view: _by("topic", view.dead_letters),
    ),
    WorkerFamily(
        "cx_worker_segments",
        "gauge",
        "Sets of dimension values in memory.",
        (),
        lambda view: _one(view.segments),
    ),
    WorkerFamily(
        "cx_worker_most_segments",
        "gauge",
        "Sets of dimension values of the shard that has most of them; max_segments is the limit.",
        (),
        lambda view: _one(view.most_segments),
    ),
    WorkerFamily(
        "cx_worker_remembered",
        "gauge",
        "Entities and event ids in memory, by kind.",
        ("kind",),
        lambda view: _by("kind", view.remembered),
    ),
    WorkerFamily(
        "cx_worker_forgotten_total",
        "counter",
        "Entities that this worker forgot before their time for want of memory, by kind, since its"
        " start.",
        ("kind",),
        lambda view: _by("kind", view.forgotten),
    ),
    WorkerFamily(
        "cx_worker_gap_records_total",
        "counter",
        "Source records that were gone when this worker came to read them, by topic, since its"
        " start.",
        ("topic",),
        lambda view: _by("topic", view.gaps),
    ),
    WorkerFamily(
        "cx_worker_damaged_shares",
        "gauge",
        "Records of what shards tell each other that can't be read now, by the topic of the KPIs.",
        ("topic",),
        lambda view: _by("topic", view.damaged_shares),
    ),
    WorkerFamily(
        "cx_worker_refused_bases_total",
        "counter",
        "Bases of active subscriptions that this worker did not take since label sets are at"
        " max_segments.",
        (),
        lambda view: _one(view.refused_bases),
    ),
    WorkerFamily(
        "cx_worker_subscriptions_without_room_total",
        "counter",
        "Starts and cancellations that this worker counted in sums, which no base replaces, since"
        " label sets are at max_segments.",
        (),
        lambda view: _one(view.without_room),
    ),
    WorkerFamily(
        "cx_worker_notifications_total",
        "counter",
        "Notifications of alert changes, by sink and result; unread: tries to read them that"
        " failed.",
        ("sink", "result"),
        lambda view: _by_two(("sink", "result"), view.notifications),
    ),
)

PROCESS_FAMILIES: tuple[ProcessFamily, ...] = (
    ProcessFamily("process_cpu_seconds_total", "counter", "CPU time of the process."),
    ProcessFamily("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    ProcessFamily("process_virtual_memory_bytes", "gauge", "Virtual memory of the process."),
    ProcessFamily("process_start_time_seconds", "gauge", "Start of the process."),
    ProcessFamily("process_open_fds", "gauge", "Open file descriptors of the process."),
    ProcessFamily("process_max_fds", "gauge", "Most file descriptors the process may open."),
)


def families(kpis: Mapping[str, Kpi]) -> tuple[Family, ...]:
    """Every family that a worker with this catalogue can expose."""
    return (*kpi_families(kpis), *WORKER_FAMILIES, *PROCESS_FAMILIES)
