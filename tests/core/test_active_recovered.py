"""Label sets that are over, come again and move, as the process and its log have them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any
from unittest import mock

import pytest

from stream.core import state
from stream.core.label_set import active_at
from stream.core.settings import DAY, HOUR, MINUTE, Settings, Window
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.timestamps import format_ms
from stream.core.values import Segment
from tests.core.running import new_shard, samples

NOON = 1_772_452_800_000
WEEK = Window("7d", 7 * DAY, HOUR)
Log = dict[bytes, bytes]


def settings_with(max_segments: int) -> Settings:
    return Settings(
        dimensions=("channel",),
        rollups=((), ("channel",)),
        windows=(WEEK,),
        max_segments=max_segments,
    )


def event(number: int, kind: str, at: int, channel: str, **more: Any) -> bytes:
    said = {"type": kind, "event_id": f"{number}", "occurred_at": format_ms(at)}
    return json.dumps(said | {"labels": {"channel": channel}} | more).encode()


def some_events(random: Random, numbers: Iterator[int], at: int) -> Iterator[bytes]:
    for _ in range(random.randint(0, 6)):
        kind = random.choice(["started", "cancelled", "base"])
        channel = random.choice("abcdefg")
        said: dict[str, Any] = {"subscription_id": f"{random.randrange(12)}{channel}"}
        occurred = at - random.choice([0, 0, HOUR, 20 * DAY, 30 * DAY])
        if kind == "base":
            # One that comes very late may be off by what was forgotten before it came.
            said, occurred = {"active": random.choice([0, 0, 5])}, at
        yield event(next(numbers), f"subscription.{kind}", occurred, channel, **said)


def active(shard: Shard, at: int) -> dict[bytes, tuple[Segment, int, int]]:
    """Where each label set counts, since when, and how many are active at the window's start."""
    unit = shard.tally.unit_ms
    return {
        key: (each.segment, each.since, active_at(WEEK.start(at), HOUR, unit, [each]))
        for key, each in shard.active.sets.items()
    }


def recovered(core: Settings, durable: Log) -> tuple[Shard, StateLog]:
    shard = new_shard(core)
    log = StateLog(shard)
    log.recover(durable)
    return shard, log


@pytest.mark.parametrize("seed", [0, 1, 145, 199, 219, 250])
def test_a_log_gives_what_the_process_has_though_sets_are_over_and_come_again(seed: int) -> None:
    random, numbers = Random(seed), count()
    core = settings_with(random.choice([2, 3, 6]))
    shard, durable, at = new_shard(core), Log(), NOON
    log = StateLog(shard)
    with mock.patch.multiple(state, BLOCK_BUDGET=random.choice([1, 300]), BLOCK_COST=0):
        for _ in range(60):
            at += random.choice([1000, MINUTE, 11 * MINUTE, HOUR, DAY, 3 * DAY])
            shard.advance(at)
            shard.ingest(None, list(some_events(random, numbers, at)))
            for key, value in log.flush(at):
                durable.pop(key, None)
                if value is not None:
                    durable[key] = value
            again, its_log = recovered(core, durable)
            now, read = active(shard, at), active(again, at)
            # Who recovers may forget earlier what is over, and adds nothing to any sum.
            assert {key: now.get(key) for key in read} == read
            assert all(not now[key][2] for key in now.keys() - read.keys())
            if random.random() < 0.15:
                shard, log = again, its_log


def test_a_set_stays_where_it_counts_though_amounts_find_no_room() -> None:
    core = settings_with(2)
    shard = new_shard(core)
    shard.ingest(
        None, [event(n, "subscription.base", NOON, c, active=100) for n, c in [(1, "d"), (2, "e")]]
    )
    paid: dict[str, Any] = {"amount": 5, "currency": "EUR"}
    for n in range(3):
        at = NOON + 8 * DAY + n * MINUTE
        started = event(10 + n, "subscription.started", at, "d", subscription_id=f"n{n}", **paid)
        shard.ingest(None, [started])
        gone = event(20 + n, "subscription.cancelled", at, "d", subscription_id=f"c{n}")
        shard.ingest(None, [gone])
    last = event(30, "subscription.started", NOON + 9 * DAY, "d", subscription_id="z", **paid)
    shard.ingest(None, [last])
    found = {s.labels: s for s in samples(core, [shard], shard.progress.now) if s.kpi == "churn"}
    of_d = found[("channel", "d"),]
    assert (of_d.numerator, of_d.denominator) == (3, 100)
