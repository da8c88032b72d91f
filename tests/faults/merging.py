"""Shards that change hands tell the owners of families what they hold: in process, no broker.

Readers are cut off in the midst of a share, begin anew from a compacted log, and look at all times:
what they show is a total, or nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import orjson
import xxhash

from stream.config import KafkaConfig
from stream.core import sharing
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.merge import SILENCE_MS, Family
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Window
from stream.core.sharing import ShareRecord, Sharing
from stream.core.timestamps import format_ms
from stream.core.values import Values
from stream.kafka import shards
from stream.kafka.shards import OwnedShard, ShardCounts
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk
from tests.core.running import samples
from tests.core.test_merge import Site, compacted, shown, totals
from tests.faults.crashes import LIVES, START, history, settings
from tests.kafka.fakes import DecidedRegistry, KeptWriter

SHARDS: Final = 3
_BEAT: Final = 7 * MINUTE
_CORE: Final = replace(
    settings(), windows=(Window("1h", HOUR, MINUTE), Window("7d", 7 * DAY, HOUR)), rollups=((),)
)
_VISITS: Final = "cx.visit"


class _Reader:
    """An owner of all families that reads as it comes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.families = {topic: Family(site.core, SHARDS) for topic in FAMILIES}
        self._read = dict.fromkeys(FAMILIES, 0)

    def read(self, topic: str, records: Iterable[ShareRecord], now: int) -> None:
        for key, value in records:
            self.families[topic].take(key, value, now)

    def unread(self, topic: str) -> Sequence[ShareRecord]:
        log = self._site.logs[topic]
        records, self._read[topic] = log[self._read[topic] :], len(log)
        return records

    def catch_up(self, now: int) -> None:
        for topic in FAMILIES:
            self.read(topic, self.unread(topic), now)

    def visits(self, at: int) -> float:
        """All visits that are shown."""
        found = totals(self._site.core, {_VISITS: self.families[_VISITS]}, at)
        wanted = ("conversion", "7d", ())
        return next((s.denominator or 0 for s in found if (s.kpi, s.window, s.labels) == wanted), 0)


class Merging:
    """Shards over some hours, and one who reads what they tell."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._records = history(LIVES["hours"], seed % 2)
        self._site = Site(_CORE, SHARDS)
        self._reader = _Reader(self._site)
        self._done = 0
        self.findings: list[str] = []

    def run(self) -> list[str]:
        """Live through some hours; what was wrong."""
        end = START + LIVES["hours"].span_ms
        for now in range(START + _BEAT, end, _BEAT):
            self._ingest(now)
            before = self._reader.visits(now)
            with mock.patch.object(sharing, "CELLS_AT_ONCE", self._rng.choice([1, 300, 10**6])):
                if self._rng.random() < 0.4:
                    self._site.take_over(self._rng.randrange(SHARDS))
                told = self._share(now)
            self._look(now, before, told)
            if len(self.findings) > 3:
                break
        return self.findings

    def _ingest(self, now: int) -> None:
        while self._done < len(self._records) and self._records[self._done][0] < now:
            _, topic, key, value = self._records[self._done]
            home = xxhash.xxh3_64_intdigest(key or b"") % SHARDS
            self._site.shards[home].ingest(topic, [value], now)
            self._done += 1

    def _share(self, now: int) -> int:
        """All shards tell what they have to; the time up to which all of them were complete."""
        site, complete = self._site, [now - self._rng.randrange(SECOND) for _ in range(SHARDS)]
        for shard, told, until in zip(site.shards, site._sharing, complete, strict=True):
            shard.advance(now)
            shard.fold(now)
            for topic, records in told.collect(now, until).items():
                site.logs[topic] += records
        return min(complete)

    def _look(self, now: int, before: float, told: int) -> None:
        reader, site = self._reader, self._site
        new = reader.unread(_VISITS)
        for number, record in enumerate(new):
            reader.read(_VISITS, [record], now)
            if number % 9 == 0 and (seen := reader.visits(now)) < before:
                self.findings.append(f"{seen} visits are shown after {before}")
        reader.catch_up(now)
        families = reader.families
        if not all(s.is_whole for s in site._sharing):
            return
        wanted = shown(samples(site.core, site.shards, now))
        again = {t: compacted(log, self._rng.randint(0, len(log))) for t, log in site.logs.items()}
        for name, held in (("", families), (" read anew", site.read(again))):
            if totals(site.core, held, now) != wanted:
                self.findings.append(f"the totals{name} at {now} are not those of the shards")
        if {f.complete_to() for f in families.values()} != {told}:
            self.findings.append(f"complete up to {families[_VISITS].complete_to()}, not {told}")
        if families[_VISITS].missing(now + SILENCE_MS) is not None:
            self.findings.append("a shard that has just spoken is missing")
        if families[_VISITS].missing(now + SILENCE_MS + 1) is None:
            self.findings.append("nobody misses shards that are silent")
        self._look_without_a_shard(now)

    def _look_without_a_shard(self, now: int) -> None:
        family, silent = Family(self._site.core, SHARDS), str(self._rng.randrange(SHARDS)).encode()
        for key, value in self._site.logs[_VISITS]:
            if (key or b"").split(b"/")[1] != silent:
                family.take(key, value, now)
        if family.missing(now) is None:
            self.findings.append("a part of the shards passes for all of them")


def flush_findings() -> list[str]:
    """Whether a flush writes state, dead letters and shares in one transaction."""
    return asyncio.run(_flush_findings())


async def _flush_findings() -> list[str]:
    names = Names("", "g")
    topics = TopicMap(names, dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 10**6))
    core, kafka, registry = _CORE, KafkaConfig(), DecidedRegistry()
    with mock.patch.object(shards, "TransactionalWriter", KeptWriter):
        made: Any = OwnedShard
        owned = made(0, core, Values(core), registry, kafka, topics)
    owned._sharing = Sharing(owned.shard, 0, "life")
    visit = {"event_id": "e", "type": "visit.ended", "occurred_at": format_ms(START)}
    values = [orjson.dumps({**visit, "visit_id": "v"}), b"{"]
    records = [
        SimpleNamespace(key=b"v", value=v, headers=(), offset=i) for i, v in enumerate(values)
    ]
    owned.apply(_VISITS, Chunk(_VISITS, 0, 1, 0, 2, records))
    await owned.flush(ShardCounts(), START)
    wanted = {names.state, names.shares, names.dead_letters(_VISITS)}
    found = [{record.topic for record in records} for records in owned._writer.written]
    return [] if found == [wanted] else [f"a flush writes {found}"]


def findings(seeds: Iterable[int]) -> list[str]:
    """What is wrong with the merge, by some seeds."""
    found = flush_findings()
    for seed in seeds:
        found += Merging(seed).run() if not found else []
    return found
