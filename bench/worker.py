"""``cxkpi worker`` with its default configuration, as an operator runs and scrapes it."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path
from typing import Final

from bench.measured import Failed, Measurement, cpu_seconds, peak_mib
from bench.site import Site, wait_a_moment
from stream.broker.process import GuardedProcess

#: What Prometheus would do.
SCRAPE_SECONDS: Final = 1.0
#: Towards the end the page is looked at more often, so that the end is seen when it comes.
_LAST_SCRAPES_SECONDS: Final = 0.1

_ADDRESS: Final = re.compile(r"Metrics at (\S+)")
_SHARDS: Final = re.compile(r'^cx_worker_shards\{state="owned"\} (\S+)$', re.MULTILINE)
_OUTCOMES: Final = re.compile(r'^cx_events_total\{[^}]*outcome="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)


def measure(site: Site, events: int, group: str) -> Measurement:
    """Let a new group work off all events.

    It counts from just before the first shard is live, when nothing can have been read, until
    all events stand in ``cx_events_total``; the scrapes are part of the work.
    """
    config = site.folder / f"{group}.toml"
    config.write_text(
        f'[kafka]\nbootstrap = "{site.bootstrap}"\ngroup = "{group}"\n[http]\nport = 0\n'
    )
    with site.process(group, "-m", "stream", "worker", "--config", str(config)) as (process, log):
        watch = _Watch(process, log, group)
        cpu, began = watch.until_it_reads()
        watch.until_counted(events)
        cpu, seconds = cpu_seconds(process.pid) - cpu, time.monotonic() - began
        return Measurement(events, cpu, seconds, peak_mib(process.pid))


class _Watch:
    """Looks at a worker from outside."""

    def __init__(self, process: GuardedProcess, log: Path, name: str) -> None:
        self._process, self._log, self._name = process, log, name
        self._started = time.monotonic()
        self._url = ""

    def _wait(self) -> None:
        wait_a_moment(self._started, self._name, self._log, self._process)

    def _page(self) -> str:
        while not self._url:
            self._wait()
            found = _ADDRESS.search(self._log.read_text())
            self._url = found[1] if found else ""
        with urllib.request.urlopen(self._url, timeout=30) as answer:
            return str(answer.read().decode())

    def until_it_reads(self) -> tuple[float, float]:
        """Wait for the first live shard; CPU and clock when there was none yet."""
        while True:
            before = cpu_seconds(self._process.pid), time.monotonic()
            found = _SHARDS.search(self._page())
            if found is not None and float(found[1]):
                return before
            self._wait()

    def until_counted(self, events: int) -> None:
        """Scrape each second until all events are counted.

        Raises:
            Failed: not all were accepted, so it did not do the work that is compared.
        """
        began = time.monotonic()
        counted = 0.0
        outcomes: dict[str, float] = {}
        while counted < events:
            left = (time.monotonic() - began) * (events - counted) / counted if counted else 1.0
            time.sleep(min(SCRAPE_SECONDS, max(_LAST_SCRAPES_SECONDS, left)))
            self._wait()
            outcomes = {}
            for outcome, n in _OUTCOMES.findall(self._page()):
                outcomes[outcome] = outcomes.get(outcome, 0) + float(n)
            counted = sum(outcomes.values())
        if outcomes.get("accepted") != events:
            raise Failed(f"{self._name} has not accepted all events: {outcomes}")
