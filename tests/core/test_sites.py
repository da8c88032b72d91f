"""Several workers show what one would: shards move, workers die, and one registry decides.

Everything is in process: a worker is its values and its shards, the registry is a variable, and the
logs are lists. What the workers do with them is what ``stream.kafka`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from random import Random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import net
from stream.core.active import ActiveSums
from stream.core.catalogue import FAMILIES, KPIS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.merge import Family
from stream.core.series import Sample
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.sharing import ShareRecord, Sharing
from stream.core.state import LogRecord, StateLog
from stream.core.topics import subscription
from stream.core.values import Places, Values
from tests.core.running import samples, settings_of
from tests.core.test_merge import home_of, shown, time_of
from tests.reference.config import DAY, Config
from tests.reference.streams import NOON, configs, streams

_lives = count(1)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Few events are enough for several pieces of a label set."""
    with mock.patch.object(net, "FULL", 2):
        yield


class Workplace:
    """A shard's place in the topics: its log, and the records that its state lacks."""

    def __init__(self) -> None:
        self.log: list[LogRecord] = []
        self.unwritten: list[tuple[bytes, int]] = []


class Worker:
    """Some shards and the values that they share; ``site`` has all that is not in its memory."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.values = Values(site.core, shared=True)
        if site.registry is None:
            self.values.lost()
        else:
            self.values.decide(site.registry, [])
        self.owned: dict[int, tuple[Shard, StateLog, Sharing]] = {}

    def take_over(self, number: int) -> None:
        shard = Shard(self.site.core, self.values)
        log = StateLog(shard)
        latest = dict(self.site.places[number].log)
        log.recover({key: value for key, value in latest.items() if value is not None})
        self.owned[number] = shard, log, Sharing(shard, number, f"{next(_lives)}")
        for record, now in self.site.places[number].unwritten:
            shard.ingest(None, [record], now)

    def drop(self, number: int) -> None:
        shard, _, _ = self.owned.pop(number)
        shard.close()

    def settle(self) -> None:
        while self.values.is_undecided:
            after = self.values.propose(self.site.registry or [])
            asked = self.values.asked()
            self.site.registry = after
            self.values.decide(after, asked)

    def flush(self, number: int, now: int) -> None:
        self.settle()
        shard, log, told = self.owned[number]
        shard.segments.settle()
        shard.active.settle()
        shard.advance(now)
        shard.fold(now)
        for topic, records in told.collect(now, now).items():
            self.site.shares[topic] += records
        self.site.places[number].log += log.flush(now)
        self.site.places[number].unwritten = []


class Site:
    """Workers, and all that outlives them."""

    def __init__(self, core: Settings, shards: int, workers: int, rolls: Random) -> None:
        self.core = core
        self.rolls = rolls
        self.registry: Places | None = None
        self.places = [Workplace() for _ in range(shards)]
        self.shares: dict[str, list[ShareRecord]] = {topic: [] for topic in FAMILIES}
        self.workers = [Worker(self) for _ in range(workers)]
        self.owners = [rolls.randrange(workers) for _ in range(shards)]
        for number, owner in enumerate(self.owners):
            self.workers[owner].take_over(number)
        self.seen: list[tuple[bytes, int]] = []
        self._families = {topic: Family(core, shards) for topic in FAMILIES}
        self._kept = Evaluator(core).active_sums()
        self._read = dict.fromkeys(FAMILIES, 0)

    def ingest(self, record: bytes, now: int) -> int:
        number = home_of(record) % len(self.places)
        self.seen.append((record, now))
        self.places[number].unwritten.append((record, now))
        shard, _, _ = self.workers[self.owners[number]].owned[number]
        shard.ingest(None, [record], now)
        return number

    def move(self, number: int) -> None:
        """A rebalance, after which what was not written is read again."""
        self.workers[self.owners[number]].drop(number)
        self.owners[number] = self.rolls.randrange(len(self.workers))
        self.workers[self.owners[number]].take_over(number)

    def die(self, worker: int) -> None:
        """A worker is killed; another takes its place, and its shards go to anybody."""
        orphans = [n for n, owner in enumerate(self.owners) if owner == worker]
        self.workers[worker] = Worker(self)
        for number in orphans:
            self.owners[number] = self.rolls.randrange(len(self.workers))
            self.workers[self.owners[number]].take_over(number)

    def flush(self, number: int, now: int) -> None:
        self.workers[self.owners[number]].flush(number, now)

    def read(self) -> None:
        """Whoever owns the families reads on, as far as it happens to come."""
        for topic, log in self.shares.items():
            end = self.rolls.randint(self._read[topic], len(log))
            for key, value in log[self._read[topic] : end]:
                self._families[topic].take(key, value)
            self._read[topic] = end

    def totals(self, now: int) -> list[list[Sample]]:
        """What those show who have read on, and those who read from the start."""
        new = {topic: Family(self.core, len(self.places)) for topic in FAMILIES}
        for topic, log in self.shares.items():
            for key, value in log:
                new[topic].take(key, value)
            for key, value in log[self._read[topic] :]:
                self._families[topic].take(key, value)
            self._read[topic] = len(log)
        return [
            _totals(self.core, self._families, now, self._kept),
            _totals(self.core, new, now),
        ]

    def truth(self, now: int, values: Values) -> list[Sample]:
        """What one process shows that saw everything, with these values."""
        shards = [Shard(self.core, values) for _ in self.places]
        for record, at in self.seen:
            shards[home_of(record) % len(shards)].ingest(None, [record], at)
        return shown(samples(self.core, shards, now))


def _totals(
    core: Settings, families: dict[str, Family], at: int, kept: ActiveSums | None = None
) -> list[Sample]:
    found: list[Sample] = []
    for topic, family in families.items():
        assert family.missing(at) is None
        own = Wanted(frozenset(k.id for k in KPIS.values() if k.topic == topic))
        wanted = {w.label: own for w in core.windows}
        # What is kept is of one family, and only one has label sets.
        of_it = kept if topic == subscription.NAME else None
        found += Evaluator(core).evaluate(family.shares(at), at, wanted, of_it).samples
    return shown(found)


@settings(max_examples=150, deadline=None)
@given(
    configs,
    streams(),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_all_workers_together_show_what_one_would(
    config: Config, records: list[bytes], shards: int, workers: int, at_once: bool, seed: int
) -> None:
    """``at_once``: the registry is asked after each record, so it decides in their order."""
    rolls = Random(seed)
    site = Site(settings_of(config), shards, workers, rolls)
    now = NOON
    for record in records:
        # Places are freed after seven days: which ones depends on when the registry is told.
        if abs(time_of(record) - NOON) > 6 * DAY:
            continue
        now = max(now, time_of(record))
        number = site.ingest(record, now)
        if at_once:
            site.workers[site.owners[number]].settle()
        if rolls.random() < 0.3:
            site.flush(rolls.randrange(shards), now)
        if rolls.random() < 0.1:
            site.move(rolls.randrange(shards))
        if rolls.random() < 0.05:
            site.die(rolls.randrange(workers))
        site.read()
        if rolls.random() < 0.1:
            _settled(site, now, at_once)
    _settled(site, now, at_once)


def _settled(site: Site, now: int, at_once: bool) -> None:
    for number in range(len(site.places)):
        site.flush(number, now)
    if at_once:
        values = Values(site.core)
    else:
        values = Values(site.core, shared=True)
        values.decide(site.registry or [], [])
    wanted = site.truth(now, values)
    for found in site.totals(now):
        assert found == wanted
