"""Pieces of PromQL over the worker's metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from stream.config import durations
from stream.core.alerts.measures import Measure
from stream.core.kpi import Kpi
from stream.core.settings import SECOND
from stream.metrics.families import Part, gauge_of, parts_of
from stream.metrics.scraping import moving, scraped

#: What an exported alert carries beside the labels of its series.
STATIC: Final = ("kpi", "rule", "severity", "window")


def number(value: float) -> str:
    """A number that PromQL reads as exactly this one."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """A metric and the values that its labels must have; ``""`` stands for the label's absence."""
    inner = ",".join(f"{name}={string(value)}" for name, value in matchers.items())
    return f"{metric}{{{inner}}}" if inner else metric


def string(text: str) -> str:
    """A text as a PromQL string, which follows Go."""
    plain = (c.isascii() and c.isprintable() and c not in '"\\' for c in text)
    escaped = "".join(c if p else _escape(c) for c, p in zip(text, plain, strict=True))
    return f'"{escaped}"'


def _escape(character: str) -> str:
    code = ord(character)
    if character in '"\\':
        return f"\\{character}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def without(labels: Iterable[str], vector: str) -> str:
    """A vector without some labels; where two series become one, the greater value counts."""
    return f"max without ({', '.join(labels)}) ({vector})"


class Series(Protocol):
    """What a rule watches, as Prometheus has it."""

    @property
    def job(self) -> str:
        """The job under which it is scraped."""

    @property
    def watched(self) -> Kpi | Measure:
        """What it is to people."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of each series, beside those of the scrape."""

    @property
    def parts(self) -> frozenset[Part]:
        """What there is beside the value."""

    def vector(self, window: str, part: Part = "value") -> str:
        """A part of it by its labels, whoever exposes it."""


@dataclass(frozen=True, slots=True)
class KpiSeries:
    """The series of a KPI, window and rollup: its own, and none of a finer or other rollup."""

    job: str
    kpi: Kpi
    dimensions: Sequence[str]
    by: Sequence[str]

    @property
    def watched(self) -> Kpi | Measure:
        """The KPI."""
        return self.kpi

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the rollup and of the KPI."""
        return (*map(scraped, self.by), *self.kpi.labels)

    @property
    def parts(self) -> frozenset[Part]:
        """Those of the KPI."""
        return parts_of(self.kpi)

    def vector(self, window: str, part: Part = "value") -> str:
        """A part of the KPI by the labels of the rollup, whoever exposes it."""
        head = f"{gauge_of(self.kpi, part)}{{job={string(self.job)},window={string(window)}"
        rest = "".join(
            f',{scraped(name)}{"!=" if name in self.by else "="}""' for name in self.dimensions
        )
        return without((*moving(self.dimensions), "window"), f"{head}{rest}}}")


@dataclass(frozen=True, slots=True)
class InputSeries:
    """How many seconds ago the latest event of a topic happened."""

    job: str
    topic: str
    watched: Measure

    @property
    def labels(self) -> tuple[str, ...]:
        """The topic."""
        return ("topic",)

    @property
    def parts(self) -> frozenset[Part]:
        """The value alone."""
        return frozenset({"value"})

    def vector(self, window: str, part: Part = "value") -> str:
        """The seconds; there are no windows and no other parts."""
        del window, part
        matchers = {"job": self.job, "topic": self.topic}
        last = without(moving(), selector("cx_last_event_timestamp_seconds", matchers))
        return f"(time() - {last})"


def covered(job: str, window: str) -> str:
    """The part of a window that data covers, without labels, whoever exposes it."""
    matchers = {"job": job, "window": window}
    return f"max ({selector('cx_window_covered_ratio', matchers)})"


def alerts_of(job: str, alert: str, state: str | None = None) -> str:
    """The alerts of an exported rule as the evaluation before left them, by their series."""
    matchers = {"alertname": alert, "job": job}
    if state is not None:
        matchers["alertstate"] = state
    return without(("alertname", "alertstate", *STATIC), selector("ALERTS", matchers))


def active_since(job: str, alert: str) -> str:
    """When the alerts of an exported rule became pending, in seconds, by their series."""
    matchers = {"alertname": alert, "job": job}
    return without(("alertname", *STATIC), selector("ALERTS_FOR_STATE", matchers))


def rose(
    counter: str,
    workers: Mapping[str, str],
    matchers: Mapping[str, str],
    by: Sequence[str],
    within_ms: int,
) -> str:
    """By how much a counter of workers rose within a time, where its first value counts, too.

    ``increase`` doesn't see what a series begins with: what was counted before it was first asked
    for. All that a process has counted that began within the time is as new, or since a former one
    was asked for last before that. What an older one has is compared with what it had then, so that
    what it shows again, after it was not asked for a while, is not new, and what rose meanwhile is.
    """
    series = selector(counter, {**workers, **matchers})
    started = selector("process_start_time_seconds", workers)
    names, seconds = ", ".join(by), number(within_ms / SECOND)
    over = durations.label(within_ms)
    before = f"last_over_time({started}[1d] offset {over})"
    return (
        f"sum by ({names}) (\n"
        f"  ({series} > 0 and on (job, instance) {started} > time() - {seconds})\n"
        f"  or\n"
        f"  ({series} > 0 and on (job, instance) {started} != {before})\n"
        f"  or\n"
        f"  ({series} - last_over_time({series}[1d] offset {over}) >= 0)\n"
        f"  or\n"
        f"  increase({series}[{over}])\n"
        f")"
    )
