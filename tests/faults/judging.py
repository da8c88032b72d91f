"""Judges what the workers of a run made of what was sent: what they show, and what they keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from stream.core.catalogue import KPIS, TOPICS
from stream.core.series import kpi_of
from stream.kafka.partitions import partitions
from stream.metrics.exposition import Scraped
from stream.metrics.families import kpi_families
from tests.faults.audit import audit
from tests.faults.compare import Message, differing, probes
from tests.faults.outside import await_transactions
from tests.faults.verdict import Verdict
from tests.faults.watch import Watch, asleep
from tests.kafka.conftest import Site
from tests.kafka.topics import Read, records
from tests.kafka.truth import Key, Truth, kpi_series, outcomes
from tests.kafka.workers import Stuck, WorkerProcess

_FAMILIES: Final = {f.name: kpi_of(f.sample) for f in kpi_families(KPIS)}
#: Corrections and last words of each kind.
_PROBES: Final = 150
#: How long after the last record all series have to be right, in seconds.
_AT_REST_SECONDS: Final = 60.0


class Judge:
    """Compares what a run's workers show and keep with the truth; ``bootstrap`` is of a broker that
    answers whatever is done to the workers' way to it.
    """

    def __init__(
        self,
        site: Site,
        bootstrap: str,
        workers: Mapping[str, WorkerProcess],
        watch: Watch,
        verdict: Verdict,
    ) -> None:
        self._site = site
        self._bootstrap = bootstrap
        self._workers = workers
        self._watch = watch
        self._verdict = verdict

    def sources(self) -> list[Read]:
        """All records that were sent."""
        return records(self._bootstrap, [self._site.source(t) for t in TOPICS])

    def compare_corrected(self, settled: Callable[[int], None]) -> None:
        """Compare, send corrections, compare once more.

        ``settled`` waits until so many records are counted.
        """
        source = self.sources()
        settled(len(source))
        self._compare_series(source)
        self._watch.only_adding = False
        now = time.time_ns() // 1_000_000
        self._site.send(*probes(self._said(source), now, _PROBES))
        corrected = self.sources()
        settled(len(corrected))
        self._compare_series(corrected)

    def _said(self, source: Sequence[Read]) -> list[tuple[str, bytes | None]]:
        return [(r.topic.removeprefix(self._site.prefix), r.value) for r in source]

    def _living(self) -> list[WorkerProcess]:
        return [w for w in self._workers.values() if w.exit_code is None and not asleep(w)]

    def _compare_series(self, source: Sequence[Read]) -> None:
        """Every series of all living workers, each at the time that it stands for.

        A cart is abandoned once its shard has seen that nothing came, so that may take a moment.
        """
        truth = Truth(self._site.config.core(), self._site.prefix, source)
        deadline = time.monotonic() + _AT_REST_SECONDS
        wrong, count = self._wrong_series(truth)
        while wrong and time.monotonic() < deadline:
            time.sleep(0.5)
            wrong, count = self._wrong_series(truth)
        self._verdict.series += count
        self._verdict.events = len(source)
        self._verdict.findings += wrong

    def _wrong_series(self, truth: Truth) -> tuple[list[str], int]:
        scraped = self._scraped_at_rest()
        times = {
            s.labels["kpi"]: round(s.value * 1000)
            for s in scraped
            if s.name == "cx_evaluated_timestamp_seconds"
        }
        found, wanted = kpi_series(scraped), dict[Key, float]()
        for at in sorted(set(times.values())):
            mine = {kpi for kpi, t in times.items() if t == at}
            wanted.update({k: v for k, v in truth.series(at).items() if _FAMILIES[k[0]] in mine})
        missing = sorted(set(TOPICS) - {KPIS[kpi].topic for kpi in times})
        return [
            *([f"no series of the KPIs of {', '.join(missing)}"] if missing else []),
            *differing("events", outcomes(scraped), truth.outcomes()),
            *differing("series", found, wanted),
        ], len(wanted)

    def _scraped_at_rest(self) -> list[Scraped]:
        """One scrape of every living worker; none while a KPI is not shown."""
        for _ in range(50):
            scraped = [series for worker in self._living() for series in worker.scrape()]
            if {s.labels["kpi"] for s in scraped if s.name == "cx_evaluated_timestamp_seconds"}:
                return scraped
            time.sleep(0.1)
        raise Stuck("no worker shows series")

    def audit(self, counts: Mapping[str, int]) -> None:
        """Look into the state log and the dead letters, which nobody may write any more.

        ``counts``: how many partitions each source topic has, without its prefix.
        """
        prefix, group = self._site.prefix, self._site.config.kafka.group
        state, dead = f"{group}-state", [f"{prefix}{t}.dlq" for t in TOPICS]
        await_transactions(self._bootstrap, [state, *dead])
        at = time.time_ns() // 1_000_000
        letters = records(self._bootstrap, dead)

        def probing(read: Sequence[Read]) -> list[tuple[int, Message]]:
            last = probes(self._said(read), at, _PROBES)
            homes = [int(partitions([key or b""], counts[topic])[0]) for topic, key, _ in last]
            return list(zip(homes, last, strict=True))

        log, source = records(self._bootstrap, [state]), self.sources()
        found = audit(log, letters, source, prefix, self._site.config.core(), at, probing)
        self._verdict.letters = len(letters)
        self._verdict.events = self._verdict.events or len(source)
        self._verdict.findings += found.wrong
        self._verdict.stuck += found.unread
