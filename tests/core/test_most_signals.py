"""A customer has so many signals at a time, whenever somebody tidies up."""

from __future__ import annotations

import json
from random import Random
from unittest import mock

import pytest

from stream.core.memory import LAST, Memory
from stream.core.settings import DAY, HOUR, MINUTE, Settings
from stream.core.shard import Shard
from stream.core.topics import signal
from stream.core.values import Values
from tests.core.running import new_shard
from tests.reference.streams import NOON, text

CORE = Settings(rollups=((),))


def said(number: int, customer: str, name: str, at: int) -> bytes:
    event = {"event_id": f"e{number}", "type": "customer.signal", "occurred_at": text(at)}
    return json.dumps({**event, "customer_id": customer, "signal": name, "value": 50}).encode()


def remembered(shard: Shard) -> dict[int, int]:
    """When each signal was last heard of, as far as it is in memory by right."""
    (memory,) = (s for s in shard.stores() if isinstance(s, Memory) and s.name == "customers")
    since = shard.progress.now - CORE.memory_ms
    return {key: record[LAST] for key, record in memory.items() if record[LAST] >= since}


@pytest.mark.parametrize("tidies", [False, True])
@pytest.mark.parametrize(
    ("later", "has_room"),
    [
        (0, False),
        (7 * DAY, False),
        (7 * DAY + 1_000, True),
        (7 * DAY + HOUR, True),
        (30 * DAY, True),
    ],
)
def test_signals_whose_time_is_over_take_no_room(later: int, has_room: bool, tidies: bool) -> None:
    shard, most = new_shard(CORE), signal.MAX_SIGNALS
    assert not shard.ingest(None, [said(n, "c", f"s{n}", NOON) for n in range(most)])
    # Another customer's brings the time to where it is.
    assert not shard.ingest(None, [said(most, "d", "s", NOON + later)])
    if tidies:
        shard.settle(shard.progress.now)
    before = remembered(shard)
    assert not shard.ingest(None, [said(most + 1, "c", "new", NOON + later)])
    assert (remembered(shard) != before) is has_room


@pytest.mark.parametrize("seed", range(25))
def test_how_a_stream_is_cut_changes_nothing_of_what_is_remembered(seed: int) -> None:
    """Nor does it matter whether a signal is new or comes again after its time."""
    random = Random(seed)
    records, at = [], NOON
    for number in range(120):
        at += random.choice([0, 0, MINUTE, HOUR, DAY, 3 * DAY])
        occurred = at - random.choice([0, 0, 0, HOUR, DAY])
        records.append(said(number, random.choice("cd"), random.choice("abcdefgh"), occurred))
    with mock.patch.object(signal, "MAX_SIGNALS", 3):
        exact, cut = new_shard(CORE), new_shard(CORE)
        lone = Shard(CORE, Values(CORE), event_time=True, columns=False)
        rest = records
        while rest:
            size = random.choice([1, 2, 5, 20, 60])
            some, rest = rest[:size], rest[size:]
            cut.ingest(None, some)
            for record in some:
                lone.ingest(None, [record])
                exact.ingest(None, [record])
                exact.settle(exact.progress.now)
            if random.random() < 0.3:
                cut.settle(cut.progress.now)
            assert remembered(lone) == remembered(exact)
            assert remembered(cut) == remembered(exact)
