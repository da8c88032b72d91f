"""What a worker has to show: the core's numbers over the same records, in this process.

No Kafka, no flush, no recovery: each shard takes in its partition once, from first to last.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator
from stream.core.event import Outcome
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.values import Values
from stream.metrics.exposition import Scraped
from stream.metrics.families import kpi_families
from tests.kafka.topics import Read

#: A series: its name and labels.
Key = tuple[str, tuple[tuple[str, str], ...]]


class Truth:
    """Shards that have taken in all records of the source topics, once."""

    def __init__(self, settings: Settings, prefix: str, records: Iterable[Read]) -> None:
        self._settings = settings
        values = Values(settings)
        #: The shards by their partition.
        self.shards: dict[int, Shard] = {}
        #: The outcome of every record that was refused.
        self.refused: dict[Read, Outcome] = {}
        now = time.time_ns() // 1_000_000
        batches: dict[tuple[int, str], list[Read]] = {}
        for r in records:
            batches.setdefault((r.partition, r.topic.removeprefix(prefix)), []).append(r)
        for (partition, topic), batch in batches.items():
            if partition not in self.shards:
                self.shards[partition] = Shard(settings, values)
            for refusal in self.shards[partition].ingest(topic, [r.value for r in batch], now):
                self.refused[batch[refusal.place]] = refusal.outcome

    def outcomes(self) -> Counter[tuple[str, str]]:
        """Records by topic and outcome."""
        found: Counter[tuple[str, str]] = Counter()
        for shard in self.shards.values():
            for topic, counts in shard.progress.outcomes.items():
                found.update({(topic, outcome): n for outcome, n in counts.items()})
        return found

    def series(self, at: int) -> dict[Key, float]:
        """Every KPI series at time ``at`` (ms), as /metrics names them."""
        shares = []
        for shard in self.shards.values():
            shard.advance(at)
            shard.fold(at)
            shares.append(shard.share())
        evaluation = Evaluator(self._settings).evaluate(shares, at)
        found: dict[Key, float] = {}
        for family in kpi_families(KPIS):
            for sample in evaluation.samples:
                value = getattr(sample, family.part) if sample.kpi == family.sample else None
                if value is not None:
                    labels = tuple(sorted([("window", sample.window), *sample.labels]))
                    found[family.name, labels] = value
        return found


def kpi_series(scraped: Sequence[Scraped]) -> dict[Key, float]:
    """The KPI series of a scrape."""
    names = {family.name for family in kpi_families(KPIS)}
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for s in scraped if s.name in names}


def outcomes(scraped: Sequence[Scraped]) -> Counter[tuple[str, str]]:
    """cx_events_total by topic and outcome."""
    return Counter(
        {
            (s.labels["topic"], s.labels["outcome"]): int(s.value)
            for s in scraped
            if s.name == "cx_events_total"
        }
    )


def evaluated_at(scraped: Sequence[Scraped]) -> int | None:
    """The t (ms) of a scrape's KPI series; all have the same in one process."""
    times = {s.value for s in scraped if s.name == "cx_evaluated_timestamp_seconds"}
    assert len(times) <= 1
    return round(times.pop() * 1000) if times else None


def differences(found: dict[Key, float], wanted: dict[Key, float]) -> list[str]:
    """Series that are missing, that should not be there, or that differ beyond rounding."""
    wrong = [f"missing {key}" for key in wanted.keys() - found.keys()]
    wrong += [f"too many {key}" for key in found.keys() - wanted.keys()]
    wrong += [
        f"{key} is {found[key]}, not {wanted[key]}"
        for key in wanted.keys() & found.keys()
        if abs(found[key] - wanted[key]) > 1e-9 * max(1.0, abs(wanted[key]))
    ]
    return sorted(wrong)
