"""What one scrape says about a worker."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream.config import durations
from stream.core.errors import StopError
from stream.core.kpi import Kpi
from stream.core.series import LabelPairs, Sample
from stream.metrics.exposition import Scraped, parse
from stream.metrics.families import KpiFamily, kpi_families

#: A KPI's series within a window: its id and the labels of its rollup.
Series = tuple[str, LabelPairs]
#: An alert: rule, severity and the labels of its series.
Alert = tuple[str, str, LabelPairs]

_WINDOW = re.compile(r'[{,]window="([^"\\]+)"')
_PREFERRED_WINDOW = "1h"


class NoWorker(StopError):
    """What answers at the address is no worker; the message is one line for the user."""


class NotExposed(StopError):
    """The window or label that was asked for isn't there; the message is one line."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One window of a worker's KPIs, and the worker's own state, at one scrape."""

    #: When it was taken, in seconds since the epoch.
    taken: float
    #: The windows that the worker exposes, shortest first, and the one that the samples are of.
    windows: tuple[str, ...]
    window: str
    samples: Mapping[Series, Sample]
    #: Records by (topic, outcome).
    events: Mapping[tuple[str, str], float]
    #: Whether each known alert is firing.
    alerts: Mapping[Alert, bool]
    #: The worker's metrics without labels, by name, such as ``cx_worker_ready``.
    worker: Mapping[str, float] = field(default_factory=dict)
    #: The part of the window since the first event ever counted.
    covered: float | None = None
    #: The time that the KPIs stand for, in seconds since the epoch: the oldest of them.
    evaluated: float | None = None
    #: The topics whose KPIs and alerts this worker shows; other workers show the others.
    topics: frozenset[str] = frozenset()
    #: Records not received yet; None while the worker isn't ready: it may know of no more.
    lag: float | None = None
    dead_letters: float = 0.0
    #: Why the worker isn't ready, where it says so.
    reason: str | None = None

    @property
    def ready(self) -> bool | None:
        """Whether the worker is ready; None where the page doesn't say."""
        value = self.worker.get("cx_worker_ready")
        return None if value is None else bool(value)

    @property
    def outcomes(self) -> dict[str, float]:
        """Records by outcome, over all topics."""
        sums: dict[str, float] = defaultdict(float)
        for (_, outcome), number in self.events.items():
            sums[outcome] += number
        return dict(sums)


def window_size(label: str) -> int:
    """The size of a window in ms, from its label such as ``5m``; 0 where it can't be read."""
    try:
        return durations.parse(label)
    except ValueError:
        return 0


def read(text: str, taken: float, kpis: Mapping[str, Kpi], window: str | None = None) -> Snapshot:
    """Read the text of a worker's ``/metrics``; ``window`` is by default 1h, or the shortest.

    Raises NoWorker where the text is another page, NotExposed where the window isn't there.
    """
    windows = tuple(sorted(set(_WINDOW.findall(text)), key=window_size))
    chosen = window or _usual(windows)
    if window and windows and window not in windows:
        raise NotExposed(f"window {window} is not exposed; the worker has {', '.join(windows)}")
    try:
        scraped = list(parse(_of_window(text, chosen)))
    except ValueError as error:
        raise NoWorker(f"is no cxkpi worker: {error}") from error
    if not any(one.name.startswith("cx_") for one in scraped):
        raise NoWorker("is no cxkpi worker: its page has no cx_ metric")
    return _snapshot(scraped, taken, windows, chosen, kpis)


def _usual(windows: tuple[str, ...]) -> str:
    if _PREFERRED_WINDOW in windows or not windows:
        return _PREFERRED_WINDOW
    return windows[0]


def _of_window(text: str, window: str) -> str:
    """The text without the series of other windows: parsing them would take most of the time."""
    lines = []
    for line in text.split("\n"):  # Label values may hold what splitlines() takes for a new line.
        found = _WINDOW.search(line)
        if found is None or found[1] == window:
            lines.append(line)
    return "\n".join(lines)


def _snapshot(
    scraped: Iterable[Scraped],
    taken: float,
    windows: tuple[str, ...],
    window: str,
    kpis: Mapping[str, Kpi],
) -> Snapshot:
    families = {family.name: family for family in kpi_families(kpis)}
    parts: dict[Series, dict[str, float]] = defaultdict(dict)
    by_name: dict[str, list[Scraped]] = defaultdict(list)
    for one in scraped:
        family = families.get(one.name)
        if family is None:
            by_name[one.name].append(one)
        else:
            parts[_series(family, one)][family.part] = one.value
    evaluated = by_name.get("cx_evaluated_timestamp_seconds", ())
    lags = [one.value for one in by_name.get("cx_worker_lag_records", ())]
    worker = {name: found[0].value for name, found in by_name.items() if not found[0].labels}
    letters = [one.value for one in by_name.get("cx_worker_dead_letters_total", ())]
    return Snapshot(
        taken=taken,
        windows=windows,
        window=window,
        samples={
            (kpi, labels): Sample(kpi, window, labels, **{"value": None, **values})
            for (kpi, labels), values in parts.items()
        },
        events={
            (one.labels.get("topic", ""), one.labels.get("outcome", "")): one.value
            for one in by_name.get("cx_events_total", ())
        },
        alerts={_alert(one): one.value == 1 for one in by_name.get("cx_alert_firing", ())},
        worker=worker,
        covered=next((one.value for one in by_name.get("cx_window_covered_ratio", ())), None),
        evaluated=min((one.value for one in evaluated), default=None),
        topics=frozenset(
            kpis[kpi].topic for one in evaluated if (kpi := one.labels.get("kpi", "")) in kpis
        ),
        lag=sum(lags) if lags and worker.get("cx_worker_ready") != 0 else None,
        dead_letters=sum(letters),
    )


def _series(family: KpiFamily, one: Scraped) -> Series:
    labels = tuple(sorted((k, v) for k, v in one.labels.items() if k != "window"))
    return family.sample, labels


def _alert(one: Scraped) -> Alert:
    labels = dict(one.labels)
    rule, severity = labels.pop("rule", ""), labels.pop("severity", "")
    return rule, severity, tuple(sorted(labels.items()))
