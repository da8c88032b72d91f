"""``cxkpi worker``, as an operator runs and scrapes it."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.answers import Answers
from bench.job import PANE_SECONDS, WINDOW_SECONDS
from bench.measured import Failed, Measurement, cpu_seconds, peak_mib
from bench.site import Site, wait_a_moment
from stream.broker.process import GuardedProcess

#: What Prometheus would do.
SCRAPE_SECONDS: Final = 1.0
#: Towards the end the page is looked at more often, so that the end is seen when it comes.
_LAST_SCRAPES_SECONDS: Final = 0.1
#: Gauges may be 2 s old; so long they may take to show the last event on a loaded machine.
_SETTLE_SECONDS: Final = 20.0

_ADDRESS: Final = re.compile(r"Metrics at (\S+)")
_SHARDS: Final = re.compile(r'^cx_worker_shards\{state="owned"\} (\S+)$', re.MULTILINE)
_OUTCOMES: Final = re.compile(r'^cx_events_total\{[^}]*outcome="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)

#: One window, one rollup: what the peers of the like-for-like table do.
_ONE_ROLLUP: Final = 'rollups = [["channel", "region"]]'
_ONE_WINDOW: Final = f"""
[[window]]
size = "{WINDOW_SECONDS // 3600}h"
pane = "{PANE_SECONDS}s"
"""


def measure(site: Site, group: str, outcomes: Mapping[str, int]) -> Measurement:
    """Let a new group work off all events with the default configuration.

    It counts from just before the first shard is live, when nothing can have been read, until
    all events stand in ``cx_events_total``; the scrapes are part of the work.
    """
    with started(site, group) as watch:
        return watch.work_off(outcomes)


def measure_answers(site: Site, group: str, answers: Answers) -> Measurement:
    """The like-for-like job; its gauges must show the truth afterwards."""
    with started(site, group, answers.prefix, _ONE_ROLLUP, _ONE_WINDOW) as watch:
        measured = watch.work_off({"accepted": answers.count})
        watch.until(lambda page: wrong_gauges(page, answers) is None, _SETTLE_SECONDS)
        if (wrong := wrong_gauges(watch.page(), answers)) is not None:
            raise Failed(f"{group} has not counted the truth: {wrong}")
        return measured


def wrong_gauges(page: str, answers: Answers) -> str | None:
    """What the page shows of NPS that is not the truth; None where it shows nothing else."""
    for segment, wanted in answers.by_segment().items():
        channel, region = segment.split("/")
        labels = {"channel": channel, "region": region, "window": f"{WINDOW_SECONDS // 3600}h"}
        found = tuple(
            gauge(page, f"cx_nps_{part}", labels) for part in ("numerator", "denominator")
        )
        if found != wanted:
            return f"NPS of {segment} has numerator and denominator {found} instead of {wanted}"
    return None


def gauge(page: str, name: str, labels: Mapping[str, str]) -> float | None:
    """The value of the series with exactly these labels; None where the page has none."""
    for found, value in re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", page, re.MULTILINE):
        if dict(re.findall(r'(\w+)="([^"]*)"', found)) == labels:
            return float(value)
    return None


@contextmanager
def started(
    site: Site, group: str, prefix: str = "", top: str = "", tables: str = ""
) -> Iterator[Watch]:
    """A worker of a new group, gone after the block; ``top`` and ``tables`` add to its settings."""
    config = site.folder / f"{group}.toml"
    config.write_text(
        f'{top}\n[kafka]\nbootstrap = "{site.bootstrap}"\ngroup = "{group}"\n'
        f'topic_prefix = "{prefix}"\n[http]\nport = 0\n{tables}'
    )
    with site.process(group, "-m", "stream", "worker", "--config", str(config)) as (process, log):
        yield Watch(process, log, group)


class Watch:
    """Looks at a worker from outside."""

    def __init__(self, process: GuardedProcess, log: Path, name: str) -> None:
        self._process, self._log, self._name = process, log, name
        self._started = time.monotonic()
        self._url = ""

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._process.pid

    def _wait(self) -> None:
        wait_a_moment(self._started, self._name, self._log, self._process)

    def page(self) -> str:
        """What a scrape shows.

        Raises:
            Failed: the worker has ended or does not answer.
        """
        while not self._url:
            self._wait()
            found = _ADDRESS.search(self._log.read_text())
            self._url = found[1] if found else ""
        try:
            with urllib.request.urlopen(self._url, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError as error:
            said = self._log.read_text(errors="replace")[-2000:]
            raise Failed(f"{self._name} can't be scraped ({error}):\n{said}") from error

    def work_off(self, outcomes: Mapping[str, int]) -> Measurement:
        """Measure until all records have their outcome."""
        cpu, began = self.until_it_reads()
        self._until_counted(outcomes)
        cpu, seconds = cpu_seconds(self.pid) - cpu, time.monotonic() - began
        return Measurement(sum(outcomes.values()), cpu, seconds, peak_mib(self.pid))

    def until_it_reads(self) -> tuple[float, float]:
        """Wait for the first live shard; CPU and clock when there was none yet."""
        while True:
            before = cpu_seconds(self.pid), time.monotonic()
            page = self.page()
            found = _SHARDS.search(page)
            if float(found[1]) if found else self._is_ready():
                return before
            self._wait()

    def _is_ready(self) -> bool:
        """What is asked where the page does not tell of shards."""
        try:
            with urllib.request.urlopen(self._url.replace("/metrics", "/readyz"), timeout=30):
                return True
        except OSError:
            return False

    def until(self, is_so: Callable[[str], bool], seconds: float) -> bool:
        """Scrape until the page is as wanted; False where it is not in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_so(self.page()):
                return True
            time.sleep(_LAST_SCRAPES_SECONDS)
        return False

    def outcomes(self) -> dict[str, float]:
        """How many records have had each outcome, where it is not 0."""
        outcomes: dict[str, float] = {}
        for outcome, n in _OUTCOMES.findall(self.page()):
            if float(n):
                outcomes[outcome] = outcomes.get(outcome, 0) + float(n)
        return outcomes

    def _until_counted(self, wanted: Mapping[str, int]) -> None:
        """Scrape each second until all records are counted.

        Raises:
            Failed: they have other outcomes, so it did not do the work that is compared.
        """
        began = time.monotonic()
        total, counted = sum(wanted.values()), 0.0
        outcomes: dict[str, float] = {}
        while counted < total:
            left = (time.monotonic() - began) * (total - counted) / counted if counted else 1.0
            time.sleep(min(SCRAPE_SECONDS, max(_LAST_SCRAPES_SECONDS, left)))
            self._wait()
            outcomes = self.outcomes()
            counted = sum(outcomes.values())
        if outcomes != dict(wanted):
            raise Failed(f"{self._name} has found other outcomes than {dict(wanted)}: {outcomes}")
