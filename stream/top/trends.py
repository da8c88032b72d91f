"""What a series of snapshots shows that no single one does: trends, rates and alert changes."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.core.kpi import Kpi
from stream.core.series import Sample, rollup_of
from stream.core.settings import RESERVED_LABELS
from stream.top.snapshot import Alert, Series, Snapshot

#: How many values of a series are kept for its trend.
_TREND = 240
#: Over how many seconds the rate of events is taken.
_RATE_SECONDS = 10.0
#: So long after the first topic is shown again the others may take, in seconds.
_RETURN_SECONDS = 60.0
_CHANGES = 50

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-~=+*#"


@dataclass(frozen=True, slots=True)
class Change:
    """An alert began to fire or was resolved, as seen between two snapshots."""

    seen: float
    alert: Alert
    firing: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """A KPI's series below the total, and how much worse than the total it is.

    1 is as far beyond the total as half of its own confidence interval, or, for a KPI without
    bounds, twice the total.
    """

    sample: Sample
    total: Sample
    worse: float


@dataclass(slots=True)
class Trends:
    """The memory of the view, as long as it runs."""

    latest: Snapshot | None = None
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_CHANGES))
    #: The alerts as they were shown last, and the topics of those.
    _alerts: Mapping[Alert, bool] = field(default_factory=dict)
    _topics: frozenset[str] = frozenset()
    #: Since when some topics are shown and others not that were.
    _missing_since: float | None = None
    _values: dict[Series, deque[float | None]] = field(default_factory=dict)
    _counts: deque[tuple[float, Mapping[tuple[str, str], float]]] = field(default_factory=deque)

    def observe(self, snapshot: Snapshot) -> list[Change]:
        """Take in the next snapshot; gives the alert changes since the one before."""
        changes = self._alert_changes(snapshot)
        self.changes.extend(changes)
        for series in {*self._values, *snapshot.samples}:
            sample = snapshot.samples.get(series)
            values = self._values.setdefault(series, deque(maxlen=_TREND))
            values.append(sample.value if sample else None)
            if sample is None and all(value is None for value in values):
                del self._values[series]
        self._counts.append((snapshot.taken, snapshot.events))
        while len(self._counts) > 2 and self._counts[1][0] <= snapshot.taken - _RATE_SECONDS:
            self._counts.popleft()
        self.latest = snapshot
        return changes

    def _alert_changes(self, snapshot: Snapshot) -> list[Change]:
        before, now, topics = self._alerts, snapshot.alerts, snapshot.topics
        if self._topics <= topics:
            self._missing_since = None
        elif self._is_outage(snapshot):
            now, topics = {**before, **now}, self._topics | topics
        else:
            # Another worker shows it now, so it is gone from here and was not resolved.
            before = {alert: fires for alert, fires in before.items() if alert in now}
        self._alerts, self._topics = now, topics
        if self.latest is None:
            return []
        return [
            Change(snapshot.taken, alert, firing=now.get(alert, False))
            for alert in sorted(before.keys() | now.keys())
            if before.get(alert, False) != now.get(alert, False)
        ]

    def _is_outage(self, snapshot: Snapshot) -> bool:
        """Whether topics that are not shown may yet come back: all of them, or some, one by one."""
        if not snapshot.topics:
            self._missing_since = None
            return True
        if self._missing_since is None:
            self._missing_since = snapshot.taken
        return snapshot.taken - self._missing_since <= _RETURN_SECONDS

    def trend(self, series: Series) -> list[float | None]:
        """The values seen of a series, the oldest first; None where it was absent."""
        return list(self._values.get(series, ()))

    def rates(self) -> dict[str, float] | None:
        """Records per second by outcome; None until two snapshots were seen that show them."""
        if len(self._counts) < 2 or self.latest is None:
            return None
        end, now = self._counts[-1]
        if not now and not self.latest.topics:
            return None
        rates: dict[str, float] = defaultdict(float)
        for key, number in now.items():
            # In an outage totals are absent: the rate is over the time since they were there.
            start, before = next((at, seen[key]) for at, seen in self._counts if key in seen)
            if end > start:
                # A total that fell began anew: what it counts since is not known.
                rates[key[1]] += max(0.0, number - before) / (end - start)
        return dict(rates) if rates or not now else None


def sparkline(values: Iterable[float | None], width: int, *, ascii_only: bool = False) -> str:
    """The last ``width`` values as a line of blocks between their least and their greatest."""
    levels = _ASCII if ascii_only else _BLOCKS
    shown = list(values)[-width:] if width > 0 else []
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    middle = len(levels) // 2 - 1
    return "".join(
        " "
        if value is None
        else levels[round((value - low) / span * (len(levels) - 1)) if span > 0 else middle]
        for value in shown
    )


def totals(snapshot: Snapshot, kpis: Mapping[str, Kpi]) -> list[Sample]:
    """The samples of the total, in the catalogue's order; of several currencies each."""
    return [
        sample
        for kpi in kpis
        for (_, labels), sample in sorted(snapshot.samples.items())
        if sample.kpi == kpi and not rollup_of(labels)
    ]


def without_data(snapshot: Snapshot, kpis: Mapping[str, Kpi]) -> list[str]:
    """The KPIs of the worker's topics whose total has no value, in the catalogue's order."""
    known = {s.kpi for s in totals(snapshot, kpis) if s.value is not None}
    return [kpi.id for kpi in kpis.values() if kpi.topic in snapshot.topics and kpi.id not in known]


def shown_part(snapshot: Snapshot, kpis: Mapping[str, Kpi]) -> str | None:
    """What a worker shows that doesn't show all topics, in words; None where it shows all."""
    if snapshot.topics >= {kpi.topic for kpi in kpis.values()}:
        return None
    named = ", ".join(sorted(snapshot.topics))
    return f"this worker shows {named or 'no topic'}; for the others see the other workers"


def worst_segments(
    snapshot: Snapshot, kpis: Mapping[str, Kpi], by: tuple[str, ...] | None = None
) -> list[Segment]:
    """The series that are worse than the total, the worst first; none of KPIs that add up.

    ``by`` is the rollup's labels in order of name; by default all rollups of one label.
    """
    found = []
    for (kpi_id, labels), sample in snapshot.samples.items():
        rollup = rollup_of(labels)
        if kpi_id not in kpis or not rollup or (rollup != by if by else len(rollup) != 1):
            continue
        rest = tuple(pair for pair in labels if pair[0] in RESERVED_LABELS)
        total = snapshot.samples.get((kpi_id, rest))
        worse = _worse(kpis[kpi_id], sample, total)
        if total is not None and worse > 0:
            found.append(Segment(sample, total, worse))
    return sorted(found, key=lambda one: (-one.worse, one.sample.kpi, one.sample.labels))


def _worse(kpi: Kpi, sample: Sample, total: Sample | None) -> float:
    if total is None or total.value is None or sample.value is None or kpi.good == "neither":
        return 0.0
    if kpi.adds_up:
        return 0.0
    gap = sample.value - total.value if kpi.good == "down" else total.value - sample.value
    if sample.lower is not None and sample.upper is not None:
        scale = (sample.upper - sample.lower) / 2
    else:
        scale = abs(total.value)
    return gap / scale if scale > 0 else 0.0
