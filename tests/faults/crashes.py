"""A shard that crashes at random flushes, in this process: the log alone, without a broker.

The broker's part is played by a dictionary, which is what a compacted log comes down to, and by the
choice whether a flush was committed before the crash.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Final
from unittest import mock

from stream.core import state
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog, StateRefused
from stream.core.values import Values
from stream.generate.company import events
from stream.generate.noise import Noise, noisy
from tests.faults.compare import probes, shard_differences
from tests.faults.verdict import FALLEN_APART

#: When it is sent, topic, key and value.
Sent = tuple[int, str, bytes | None, bytes]

START: Final = 1_770_000_000_000


@dataclass(frozen=True)
class Life:
    """What a shard lives through: a span of time with so many events a second."""

    span_ms: int
    rate: float
    flush_ms: int


#: Dense: panes and ids expire. Sparse: entities and their buckets do.
LIVES: Final = {
    "hours": Life(3 * HOUR, 0.25, MINUTE),
    "weeks": Life(30 * DAY, 0.001, 4 * HOUR),
}


#: Making records takes longer than living through them, so seeds share so many histories.
HISTORIES: Final = 2
#: Corrections come at the ends of so many parts of a life, but the last.
CORRECTED: Final = 12


@dataclass
class Crashes:
    """What was done to the shard, and what was found."""

    flushes: int = 0
    lost: int = 0
    kept: int = 0
    records: int = 0
    findings: list[str] = field(default_factory=list)


def settings() -> Settings:
    """Few values per dimension, so that some fold into ``other`` and free their places."""
    return Settings(cart_timeout_ms=10 * MINUTE, max_values_per_dimension=3)


@lru_cache(maxsize=2 * HISTORIES)
def history(life: Life, seed: int) -> list[Sent]:
    """The records of a life, some of them repeated, bad, late or about nothing, and corrections."""
    noise = Noise(duplicates=0.03, garbage=0.02, late=0.005, orphans=0.01, seed=seed)
    found: list[Sent] = list(noisy(events(START, START + life.span_ms, life.rate, seed), noise))
    for part in range(1, CORRECTED):
        at = START + life.span_ms * part // CORRECTED
        before = [(topic, value) for when, topic, _, value in found if when < at]
        found += [(at, *message) for message in probes(before, at, 20)]
    return sorted(found, key=itemgetter(0))


def _ingest(shard: Shard, records: list[Sent], beat_ms: int) -> None:
    """Take in records, each at the beat that follows it, whenever that is done."""
    positions = shard.progress.positions
    for beat, some in groupby(records, key=lambda r: (r[0] - START) // beat_ms + 1):
        by_topic: dict[str, list[bytes | None]] = {}
        for _, topic, _, value in some:
            by_topic.setdefault(topic, []).append(value)
        for topic, values in by_topic.items():
            shard.ingest(topic, values, START + beat * beat_ms)
            positions[topic] = positions.get(topic, 0) + len(values)


def _recovered(log: dict[bytes, bytes]) -> tuple[Shard, StateLog]:
    shard = Shard(settings(), Values(settings()))
    written = StateLog(shard)
    written.recover(log)
    return shard, written


def run(life: Life, seed: int, crash: float = 0.2) -> Crashes:
    """Live a life with a crash at each flush with probability ``crash``; half are after commits."""
    found = Crashes()
    rng = random.Random(seed)
    records = history(life, seed % HISTORIES)
    found.records = len(records)
    try:
        with mock.patch.multiple(
            state, BLOCK_BUDGET=rng.choice([1, 500, 3_000, 20_000]), BLOCK_COST=0
        ):
            log = _live(life, records, rng, crash, found)
        if log is not None:
            _judge(life, records, log, found)
    except FALLEN_APART as error:
        found.findings.append(f"the state falls apart: {error!r}")
    return found


def _live(
    life: Life, records: list[Sent], rng: random.Random, crash: float, found: Crashes
) -> dict[bytes, bytes] | None:
    """The log at the end; None where it could not be read."""
    log: dict[bytes, bytes] = {}
    shard, written = _recovered(log)
    beats = range(START, START + life.span_ms + 2 * life.flush_ms, life.flush_ms)
    for _, at in pairwise(beats):
        done = sum(shard.progress.positions.values())
        due = [r for r in records[done:] if r[0] < at]
        _ingest(shard, due, life.flush_ms)
        shard.advance(at)
        if rng.random() < 0.05:
            continue
        flush = written.flush(at + rng.randrange(SECOND))
        found.flushes += 1
        fate = rng.random()
        if fate >= crash / 2:
            for key, value in flush:
                if value is None:
                    log.pop(key, None)
                else:
                    log[key] = value
        if fate < crash:
            found.lost += fate < crash / 2
            found.kept += fate >= crash / 2
            try:
                shard, written = _recovered(log)
            except StateRefused as error:
                found.findings.append(f"refused: {error}")
                return None
    return log


def _judge(life: Life, records: list[Sent], log: dict[bytes, bytes], found: Crashes) -> None:
    at = START + life.span_ms + 3 * life.flush_ms
    truth = Shard(settings(), Values(settings()))
    _ingest(truth, records, life.flush_ms)
    try:
        shard, _ = _recovered(log)
    except StateRefused as error:
        found.findings.append(f"refused: {error}")
        return
    # The last flush may have been lost or left out: its records are read again.
    done = sum(shard.progress.positions.values())
    _ingest(shard, records[done:], life.flush_ms)
    more = probes([(topic, value) for _, topic, _, value in records], at, 300)
    for either in (shard, truth):
        either.settle(at)
    found.findings += shard_differences(shard, truth, at, more)
