"""However much is remembered, every record that a worker writes of it fits into its topic.

Producers choose how many entities, labels and segments there are, and a pause chooses how much
comes due at once: a record that does not fit would be made, and refused, again and again. All
bounds are scaled down together here, and so is the limit, so that it takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from random import Random
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest

from stream.core import (
    active,
    buckets,
    dedupe,
    memory,
    parts,
    segments,
    share_records,
    sharing,
    state,
    state_records,
    tally,
)
from stream.core.catalogue import FAMILIES, KPIS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.merge import Family
from stream.core.segments import FORMER_BLOCK
from stream.core.series import Sample
from stream.core.settings import DAY, HOUR, MINUTE, Settings, Window
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.state import StateLog
from stream.core.timestamps import format_ms
from stream.core.values import Values
from stream.kafka.topics import STATE_LIMIT
from tests.core.recorded_state import read, told
from tests.core.recorded_state import recovered as of_recorded
from tests.core.recorded_state import settings as recorded_settings
from tests.safety.shards import event
from tests.strategies import NOW

SCALE = 64
LIMIT = STATE_LIMIT // SCALE
BOUNDS: dict[ModuleType, tuple[str, ...]] = {
    active: ("MOST_LABEL_BYTES", "_SETS_AT_ONCE"),
    buckets: ("BUCKET_RECORDS",),
    dedupe: ("PART_IDS",),
    memory: ("PART_RECORDS", "PART_EXTRAS", "MOST_MOVED"),
    parts: ("ROWS",),
    segments: ("BLOCK_ROWS", "PART_BYTES"),
    share_records: ("ROWS",),
    sharing: ("CELLS", "SERIES", "ROWS", "CELLS_AT_ONCE", "SETS_AT_ONCE"),
    state_records: ("MOST_BLOCK_BYTES", "MOST_DELTA_BYTES"),
    tally: ("PART_CELLS",),
}
#: As many label sets and segments as may be configured, with as many labels as an event can have.
NAMES = tuple(f"d{i}" for i in range(16))
LARGEST = Settings(
    dimensions=NAMES,
    rollups=((), NAMES[:1], NAMES),
    windows=(Window("1h", HOUR, HOUR), Window("7d", 7 * DAY, DAY)),
    max_segments=100_000 // SCALE,
    max_values_per_dimension=400_000 // 16,
)
USUAL = Settings(windows=LARGEST.windows)


@pytest.fixture(autouse=True)
def _scaled() -> Iterator[None]:
    with ExitStack() as stack:
        for module, names in BOUNDS.items():
            small: dict[str, Any] = {name: max(1, getattr(module, name) // SCALE) for name in names}
            stack.enter_context(mock.patch.multiple(module, **small))
        yield


class Site:
    """A shard with its log and a reader of its shares; every record is looked at."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.shard = Shard(settings, Values(settings))
        self.log = StateLog(self.shard)
        self.kept: dict[bytes, bytes] = {}
        self.largest: dict[bytes, int] = {}

    def ingest(self, topic: str, values: Sequence[bytes], now: int) -> None:
        assert not self.shard.ingest(topic, values, now)

    def flush(self, now: int) -> list[bytes]:
        """Flush; the keys that were written."""
        records = self.log.flush(now)
        for key, value in records:
            self._look(key, value)
            self.kept.pop(key, None)
            if value is not None:
                self.kept[key] = value
        return [key for key, _ in records]

    def _look(self, key: bytes, value: bytes | None) -> None:
        size = len(key) + len(value or b"")
        assert size < LIMIT, (key[:60], size)
        kind = key.split(b"/")[0]
        self.largest[kind] = max(size, self.largest.get(kind, 0))

    def recovered(self) -> Shard:
        shard = Shard(self.settings, Values(self.settings))
        StateLog(shard).recover(self.kept)
        return shard

    def told(self, now: int, most: int = 100) -> dict[str, Family]:
        """What a reader has of a new life, once that is whole."""
        share = Sharing(self.shard, 0, "life")
        families = {topic: Family(self.settings, 1) for topic in FAMILIES}
        for _ in range(most):
            for topic, records in share.collect(now, now).items():
                for key, value in records:
                    self._look(key, value)
                    families[topic].take(key, value, now)
            if share.is_whole:
                break
        assert share.is_whole
        assert not any(family.damaged for family in families.values())
        return families


def in_order(found: Iterable[Sample]) -> list[Sample]:
    return sorted(
        (s for s in found if s.numerator or s.denominator),
        key=lambda s: (s.kpi, s.window, s.labels),
    )


def samples(shard: Shard, now: int) -> list[Sample]:
    return in_order(Evaluator(shard.settings).evaluate([shard.share()], now).samples)


def samples_told(site: Site, now: int) -> list[Sample]:
    found: list[Sample] = []
    for topic, family in site.told(now).items():
        own = Wanted(frozenset(k.id for k in KPIS.values() if k.topic == topic))
        wanted = {w.label: own for w in site.settings.windows}
        found += Evaluator(site.settings).evaluate(family.shares(now), now, wanted).samples
    return in_order(found)


def signals(count: int, at: int, spread: int, *labels: dict[str, str]) -> list[bytes]:
    return [
        event(
            "customer.signal",
            format_ms(at + n * spread // count),
            customer_id=str(n),
            signal="usage",
            value=n % 101,
            labels=labels[n % len(labels)] if labels else {},
        )
        for n in range(count)
    ]


def test_as_many_segments_as_there_may_be_with_labels_of_any_text() -> None:
    """64 characters of four bytes in each of 16 dimensions, which pack badly."""
    site, rolls = Site(LARGEST), Random(1)
    pool = ["".join(chr(rolls.randrange(0x20000, 0x2A6D0)) for _ in range(64)) for _ in range(500)]
    labels = [{name: rolls.choice(pool) for name in NAMES} for _ in range(LARGEST.max_segments)]
    site.ingest("cx.signal", signals(len(labels), NOW - MINUTE, 1, *labels), NOW)
    bases = [
        event("subscription.base", format_ms(NOW - MINUTE), active=5, labels=one) for one in labels
    ]
    site.ingest("cx.subscription", bases, NOW)
    site.flush(NOW)
    assert len(site.shard.segments) == len(labels)
    assert samples(site.recovered(), NOW) == samples(site.shard, NOW) == samples_told(site, NOW)
    for second in range(200):
        site.shard.progress.positions["cx.visit"] = second
        site.flush(NOW + second)
    assert sum(key.startswith(b"block/segments:") for key in site.kept) > 40
    assert samples(site.recovered(), NOW) == samples(site.shard, NOW)
    for kind in (b"delta", b"block", b"rows", b"health"):
        assert site.largest[kind] > LIMIT / 100, "so that the test can tell"


def test_a_busy_ten_minutes_that_come_of_age() -> None:
    """A million signals, sent again before they were a week old: all of them go on."""
    site, count = Site(USUAL), 1_000_000 // SCALE
    for day in (0, 6):
        now = NOW + day * DAY
        site.ingest("cx.signal", signals(count, now, 9 * MINUTE), now + 9 * MINUTE)
        site.flush(now + 9 * MINUTE)
    memory_of = site.shard.stores()[-1]
    assert isinstance(memory_of, memory.Memory)
    looks, now = 0, NOW
    for minute in range(60):
        now = NOW + 7 * DAY + minute * MINUTE
        moved = sum(key.startswith(b"block/customers:") for key in site.flush(now))
        looks += moved > 0
        assert len(memory_of) == count
    assert looks > 10
    assert memory_of._buckets.next_end > NOW + DAY, "all have moved in the end"
    assert samples(site.recovered(), now) == samples(site.shard, now)


def test_a_million_carts_that_are_abandoned_after_a_pause() -> None:
    site, count = Site(USUAL), 1_000_000 // SCALE
    carts = [event("cart.opened", format_ms(NOW + n % 1000), cart_id=f"{n}") for n in range(count)]
    site.ingest("cx.cart", carts, NOW)
    site.flush(NOW)
    now = NOW + 2 * DAY
    site.shard.advance(now)
    written = site.flush(now)
    assert sum(key.startswith(b"delta") for key in written) > 10
    found = samples(site.shard, now)
    assert [s.numerator for s in found if s.kpi == "cart_abandonment" and not s.labels] == [count]
    assert samples(site.recovered(), now) == found


def test_two_million_ids_of_one_minute() -> None:
    """As where events have only a date."""
    site, count = Site(USUAL), 2_000_000 // SCALE
    visits = [event("visit.ended", format_ms(NOW), visit_id="v") for n in range(count)]
    site.ingest("cx.visit", visits, NOW)
    keys = site.flush(NOW)
    assert any(b"#1" in key for key in keys)
    again = site.recovered()
    assert {r.outcome for r in again.ingest("cx.visit", visits, NOW)} == {"duplicate"}
    later = [event("visit.ended", format_ms(NOW + DAY), visit_id="v")]
    site.ingest("cx.visit", later, NOW + DAY)
    site.flush(NOW + DAY)
    assert not [key for key in site.kept if b"#" in key], "further records go with their block"


def test_a_pane_with_the_most_cells() -> None:
    """As of 100,000 segments with some hundred counters each, and one that has few in the end."""
    site = Site(USUAL)
    rng = np.random.default_rng(1)
    cells = np.unique(rng.integers(0, 1 << 20, 30_000_000 // SCALE))
    site.shard.segments.rows[:] = [("web", "eu", None)] * (1 << 7)
    store = site.shard.windows
    pane = NOW // HOUR
    store.load(f"1h/{pane}", tally.dumped_cells(cells, rng.integers(1, 1 << 40, cells.size)))
    store._touched.add(f"1h/{pane}")
    assert any(b"#1" in key for key in site.flush(NOW))
    families = site.told(NOW)
    low, values = (
        np.concatenate(parts)
        for parts in zip(
            *(f.shares(NOW)[0].panes.between("1h", pane, pane) for f in families.values()),
            strict=True,
        )
    )
    order = np.argsort(low)
    for found, wanted in zip((low[order], values[order]), store.pane("1h", pane), strict=True):
        assert (found == wanted).all()


def test_the_first_share_of_a_life_tells_a_bounded_number_of_label_sets() -> None:
    site = Site(USUAL)
    now = NOW
    started = [
        event("subscription.started", format_ms(NOW), subscription_id=f"{n}", labels={"n": f"{n}"})
        for n in range(1_000)
    ]
    site.ingest("cx.subscription", started, now)
    site.flush(now)
    share = Sharing(site.shard, 0, "life")
    family, sizes = Family(USUAL, 1), []
    while not share.is_whole:
        records = share.collect(now, now)["cx.subscription"]
        sizes.append(len(records))
        for key, value in records:
            family.take(key, value, now)
        assert share.is_whole == (family.missing(now) is None), "it counts only once it is whole"
    assert max(sizes) < sharing.SETS_AT_ONCE + 20
    assert len(family.shares(now)[0].active) == len(site.shard.active.sets) == 1_000


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_the_one_block_of_segments_that_states_had_is_replaced_by_the_first_flush(
    number: int,
) -> None:
    records, corrections, _ = read(number)
    former = f"block/segments:{FORMER_BLOCK}".encode()
    assert former in records
    shard = Shard(recorded_settings(), Values(recorded_settings()))
    log = StateLog(shard)
    log.recover(records)
    for key, value in log.flush(shard.progress.now):
        records.pop(key, None)
        if value is not None:
            records[key] = value
    assert former not in records
    assert sum(key.startswith(b"block/segments:") for key in records) > 0
    assert told(of_recorded(records), corrections) == told(
        of_recorded(read(number)[0]), corrections
    )


def test_parts_of_any_size_give_the_same_state() -> None:
    """Flushes, blocks and restarts of a stream of all types, in the smallest parts there can be."""
    records, corrections, _ = read(7)
    small: dict[ModuleType, dict[str, Any]] = {
        memory: {"PART_RECORDS": 3, "PART_EXTRAS": 1, "MOST_MOVED": 1},
        tally: {"PART_CELLS": 3},
        dedupe: {"PART_IDS": 3},
        segments: {"BLOCK_ROWS": 1, "PART_BYTES": 1},
        active: {"MOST_LABEL_BYTES": 1},
        state_records: {"MOST_BLOCK_BYTES": 40, "MOST_DELTA_BYTES": 1},
        state: {"BLOCK_BUDGET": 300, "BLOCK_COST": 0},
    }
    with ExitStack() as stack:
        for module, bounds in small.items():
            stack.enter_context(mock.patch.multiple(module, **bounds))
        for _ in range(3):
            shard = Shard(recorded_settings(), Values(recorded_settings()))
            log = StateLog(shard)
            log.recover(records)
            for flush in range(20):
                for key, value in log.flush(shard.progress.now + flush):
                    records.pop(key, None)
                    if value is not None:
                        records[key] = value
        assert any(b"#" in key for key in records)
        assert told(of_recorded(records), corrections) == told(of_recorded(read(7)[0]), corrections)
