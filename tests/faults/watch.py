"""Looks at the pages of all living workers all the time: they may be late, but never partial."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.core.catalogue import KPIS
from stream.core.series import kpi_of
from stream.metrics.families import kpi_families
from tests.kafka.workers import WorkerProcess

_EVERY_SECONDS: Final = 0.4
#: How long a page may take, in seconds. One whose process falls asleep meanwhile never comes.
_PAGE_SECONDS: Final = 3.0
#: Gauge → KPI.
_FAMILIES: Final = {f.name: kpi_of(f.sample) for f in kpi_families(KPIS)}
#: Corrections may take so much of a total back; a shard that is missing takes more.
_MOSTLY: Final = 0.9
#: The carts sent are old, so an open one counts as abandoned as soon as a worker has caught up, and
#: no more when it is behind again: of four shards one that is missing still takes more.
_MOSTLY_OF: Final = {"cx_cart_abandonment": 0.8}
_MANY: Final = 200
#: These say how many there were at the window's start, which goes up and down.
_LIVE: Final = 'cx_worker_shards{state="owned"}'
_NO_SUMS: Final = ("churn", "retention")
#: Nothing is ever taken back from these.
_ONLY_GROW: Final = ("cx_events_total", "cx_conversion", "cx_acquisition", "cx_pages")
_EVALUATED: Final = 'cx_evaluated_timestamp_seconds{kpi="'
_TOPICS: Final = frozenset(k.topic for k in KPIS.values())


@dataclass
class Page:
    """What a worker shows: totals that only grow, and the KPIs that it has series of."""

    totals: dict[str, float] = field(default_factory=dict)
    kpis: set[str] = field(default_factory=set)
    #: Topics whose KPIs it has evaluated.
    topics: set[str] = field(default_factory=set)
    shards: int = 0


def read_page(text: str) -> Page:
    """The few series that matter here; parsing all of them would keep a core busy."""
    page = Page()
    for line in text.splitlines():
        name = line.partition("{")[0]
        kpi = _FAMILIES.get(name)
        if kpi is not None:
            page.kpis.add(kpi)
        if line.startswith(_EVALUATED):
            page.topics.add(KPIS[line[len(_EVALUATED) :].partition('"')[0]].topic)
        if line.startswith(_LIVE):
            page.shards = int(float(line.rpartition(" ")[2]))
        sums = kpi is not None and kpi not in _NO_SUMS and '_denominator{window="7d"}' in line
        if sums or name == "cx_events_total":
            series, _, value = line.rpartition(" ")
            page.totals[series] = float(value)
    return page


def asleep(worker: WorkerProcess) -> bool:
    """Whether the process is stopped, by whomever."""
    try:
        stat = Path(f"/proc/{worker.pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


class Watch:
    """Scrapes in a thread. ``workers`` is read, never changed; replace entries as a whole."""

    def __init__(self, workers: Mapping[str, WorkerProcess]) -> None:
        self._workers = workers
        self._ended = threading.Event()
        self._most: dict[str, float] = {}
        self._fault_at: float | None = None
        #: How many records can have been counted at most.
        self.sent: Callable[[], int] = lambda: 1 << 60
        #: While corrections are sent, totals may fall.
        self.only_adding = True
        self.findings: list[str] = []
        self.scrapes = 0
        #: The largest step back of a total that was shown, as a share of it.
        self.step_back = 0.0
        #: Seconds from a fault until all series were shown again.
        self.recoveries: list[float] = []
        #: Records with an outcome, as shown last.
        self.counted = 0.0
        #: Live shards by worker, as shown last.
        self.shards: dict[str, int] = {}
        #: Whether the last round showed all that a worker can show.
        self.complete = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def fault(self) -> None:
        """Something was broken just now."""
        if self._fault_at is None:
            self._fault_at = time.monotonic()

    def begin_anew(self) -> None:
        """What was counted is counted once more."""
        self._most = {}

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            began = time.monotonic()
            pages = self._pages()
            twice = _shown_twice(pages)
            if twice:
                # A family may have changed hands between two scrapes of a round.
                again = _shown_twice(self._pages())
                if twice & again:
                    self.findings.append(f"shown by two workers: {sorted(twice & again)[:3]}")
            self._look(pages, began)

    def _pages(self) -> dict[str, Page]:
        found = {}
        for name, worker in list(self._workers.items()):
            if worker.exit_code is None and not asleep(worker) and worker.address is not None:
                page = worker.address + "/metrics"
                try:
                    with urllib.request.urlopen(page, timeout=_PAGE_SECONDS) as answer:
                        found[name] = read_page(answer.read().decode())
                except (OSError, urllib.error.URLError, ValueError):
                    continue
        return found

    def _look(self, pages: Mapping[str, Page], began: float) -> None:
        totals: dict[str, float] = {}
        for page in pages.values():
            totals.update(page.totals)
        self.scrapes += len(pages)
        self.shards = {name: page.shards for name, page in pages.items()}
        events = [v for s, v in totals.items() if s.startswith("cx_events_total")]
        self.complete = {t for page in pages.values() for t in page.topics} == _TOPICS
        if self.complete:
            self.counted = sum(events)
        if self.complete and self._fault_at is not None and self._fault_at < began:
            self.recoveries.append(time.monotonic() - self._fault_at)
            self._fault_at = None
        if self.only_adding:
            self._compare(totals)
            if self.complete and self.counted > (sent := self.sent()):
                self.findings.append(f"{self.counted:.0f} are counted, {sent} were sent")

    def _compare(self, totals: Mapping[str, float]) -> None:
        for series, value in totals.items():
            most = self._most.get(series, 0.0)
            if value < most:
                self.step_back = max(self.step_back, 1 - value / most)
                mostly = 1.0 if series.startswith(_ONLY_GROW) else _mostly(series)
                if mostly == 1.0 or (most > _MANY and value < mostly * most):
                    self.findings.append(f"partial: {series} is {value:.0f} after {most:.0f}")
            self._most[series] = max(most, value)


def _mostly(series: str) -> float:
    found = (share for name, share in _MOSTLY_OF.items() if series.startswith(name))
    return next(found, _MOSTLY)


def _shown_twice(pages: Mapping[str, Page]) -> set[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for page in pages.values():
        twice |= seen & page.kpis
        seen |= page.kpis
    return twice
