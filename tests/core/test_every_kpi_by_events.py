"""What holds of every KPI of the catalogue, from events to series: split, merge, take back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.core.labels import NO_LABELS
from stream.core.settings import DAY, MINUTE
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.kpi_events import (
    NOON,
    SETTINGS,
    Event,
    Rows,
    events_for,
    home,
    records,
    rows,
    timestamp,
)

every_kpi = pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
few = settings(max_examples=3, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def shards_of(*parts: Sequence[Event]) -> list[Shard]:
    """A shard for each part of a stream, in one process."""
    values = Values(SETTINGS)
    shards = [Shard(SETTINGS, values) for _ in parts]
    for shard, part in zip(shards, parts, strict=True):
        shard.ingest(None, records(part), NOON)
    return shards


def close(a: float | None, b: float | None) -> bool:
    """Equal but for the order in which floats were added up."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


def check_same(found: Rows, wanted: Rows) -> None:
    assert found.keys() == wanted.keys()
    for key, numbers in wanted.items():
        assert all(map(close, found[key], numbers)), (key, found[key], numbers)


@every_kpi
def test_its_events_give_it_a_value(kpi: Kpi) -> None:
    """Or all that follows would hold of nothing."""
    found = rows(kpi, shards_of(events_for(kpi, Random(1), 60, entities=25)))
    assert {w for (w, _), numbers in found.items() if numbers[0] is not None} >= {"1h", "24h"}


@every_kpi
@few
@given(seeds)
def test_a_stream_split_at_any_point_adds_up_to_the_whole(kpi: Kpi, seed: int) -> None:
    rolls = Random(seed)
    stream = events_for(kpi, rolls, 40)
    whole = rows(kpi, shards_of(stream))
    one, other = sorted(rolls.sample(range(len(stream) + 1), 2))
    parts = stream[:one], stream[one:other], stream[other:]
    check_same(rows(kpi, shards_of(*parts)), whole)
    check_same(rows(kpi, shards_of(parts[2], parts[0], parts[1])), whole)
    check_same(rows(kpi, shards_of(stream[:other], parts[2])), whole)
    check_same(rows(kpi, shards_of(parts[0], stream[one:])), whole)


@every_kpi
@few
@given(seeds)
def test_partitions_add_up_however_entities_lie_on_them(kpi: Kpi, seed: int) -> None:
    rolls = Random(seed)
    stream = events_for(kpi, rolls, 40, entities=8)
    whole = rows(kpi, shards_of(stream))
    places = {home(event): rolls.randrange(3) for event in stream}
    parts = [[e for e in stream if places[home(e)] == number] for number in range(3)]
    check_same(rows(kpi, shards_of(*parts)), whole)


@every_kpi
@few
@given(seeds)
def test_a_shard_that_is_written_and_read_at_any_point_goes_on_the_same(
    kpi: Kpi, seed: int
) -> None:
    rolls = Random(seed)
    stream = events_for(kpi, rolls, 40, entities=8)
    cut = rolls.randrange(len(stream) + 1)
    before = Shard(SETTINGS, Values(SETTINGS))
    log = StateLog(before)
    before.ingest(None, records(stream[:cut]), NOON)
    written = {key: value for key, value in log.flush(NOON) if value is not None}
    after = Shard(SETTINGS, Values(SETTINGS))
    StateLog(after).recover(written)
    after.ingest(None, records(stream[cut:]), NOON)
    check_same(rows(kpi, [after]), rows(kpi, shards_of(stream)))


def leaves_nothing(kpi: Kpi, rolls: Random, number: int) -> list[Event]:
    """Events that take each other back, or say again what was said."""
    base: Event = {"labels": {"channel": "web"}}
    ago = NOON - rolls.randrange(60, 3000) * 1000

    def event(kind: str, later: int = 0, **fields: Any) -> Event:
        which = {"event_id": f"x{number}-{kind}-{later}", "type": kind}
        return {**base, **which, "occurred_at": timestamp(ago + later), **fields}

    topic = kpi.topic
    if kpi.id == "sentiment" or topic == "cx.ticket":
        close: Event = {
            "ticket_id": f"x{number}",
            "opened_at": timestamp(ago - DAY),
            "sentiment": -1,
        }
        close |= {"first_response_seconds": 9, "automated": True}
        reopened = event("ticket.reopened", 1, ticket_id=f"x{number}")
        return [event("ticket.closed", **close), reopened]
    if topic == "cx.survey":
        said = events_for(kpi, rolls, 12)
        answer = next(e for e in said if e["type"] == "survey.responded")
        fields = {k: answer[k] for k in ("survey", "score", "emotions") if k in answer}
        ignored = {"survey": "emotion", "emotions": {"bored": 5}, "response_id": f"x{number}"}
        return [
            event("survey.responded", response_id=f"x{number}", **fields),
            event("survey.updated", 1, **ignored),
        ]
    if topic == "cx.subscription":
        # Started twice, cancelled twice, from before the window until before the window.
        old = {"subscription_id": f"x{number}"}
        return [
            {**event(f"subscription.{kind}", again), **old, "occurred_at": timestamp(at)}
            for kind, at in (("started", NOON - 30 * DAY), ("cancelled", NOON - 20 * DAY))
            for again in (0, 1)
        ]
    if topic == "cx.signal":
        signal = {"customer_id": "n0", "signal": "usage"}
        return [event("customer.signal", -50 * MINUTE, value=rolls.randint(0, 100), **signal)]
    visit = event("visit.ended", visit_id="n0", pages=1000, converted=True)
    return [{**visit, "event_id": "e0"}]


#: KPIs whose events are never taken back: a cart's only move, and amounts stay.
LASTING = {"cart_abandonment", "cart_recovered", "upsell", "clv"}


@pytest.mark.parametrize("kpi_id", sorted(KPIS.keys() - LASTING))
@few
@given(seeds)
def test_what_events_take_back_leaves_no_trace(kpi_id: str, seed: int) -> None:
    kpi, rolls = KPIS[kpi_id], Random(seed)
    stream = events_for(kpi, rolls, 30, entities=8)
    if kpi.topic == "cx.signal":
        # The customer whose older values come has a newer one in both streams.
        newer = {"customer_id": "n0", "signal": "usage", "value": 41, "labels": {"channel": "app"}}
        kind = {"event_id": "new", "type": "customer.signal", "occurred_at": timestamp(NOON)}
        stream.insert(0, {**newer, **kind})
    more = list(stream)
    for number in range(10):
        # A repeat is known as one as long as event time has not moved on by ``dedupe``.
        place = 1 if kpi.topic == "cx.visit" else rolls.randrange(1, len(more) + 1)
        for event in leaves_nothing(kpi, rolls, number):
            more.insert(place, event)
            place = rolls.randrange(place + 1, len(more) + 1)
    assert len(more) > len(stream)
    check_same(rows(kpi, shards_of(more)), rows(kpi, shards_of(stream)))


@pytest.mark.parametrize("kpi", ["cart_abandonment", "cart_recovered"])
@few
@given(seeds)
def test_carts_say_the_same_in_any_order_of_arrival(kpi: str, seed: int) -> None:
    rolls = Random(seed)
    stream = events_for(KPIS[kpi], rolls, 40, entities=8)
    wanted = rows(KPIS[kpi], shards_of(sorted(stream, key=lambda e: str(e["occurred_at"]))))
    for _ in range(3):
        rolls.shuffle(stream)
        check_same(rows(KPIS[kpi], shards_of(stream)), wanted)


def test_a_million_starts_and_cancellations_leave_nobody_active() -> None:
    shard = Shard(SETTINGS, Values(SETTINGS))
    rolls = Random(1)
    times = [NOON - rolls.randrange(8 * DAY) for _ in range(500)]
    for _ in range(1000):
        rolls.shuffle(times)
        for at in times:
            shard.active.count(NO_LABELS, at, 1, NOON)
        rolls.shuffle(times)
        for at in times:
            shard.active.count(NO_LABELS, at, -1, NOON)
    for kpi in ("churn", "retention", "clv"):
        assert rows(KPIS[kpi], [shard]) == {}


@pytest.mark.parametrize("kpi", ["health", "at_risk"])
def test_of_many_values_of_a_customer_only_the_last_counts(kpi: str) -> None:
    rolls = Random(1)
    signal = {"type": "customer.signal", "customer_id": "c", "signal": "usage"}
    said = [
        {**signal, "event_id": f"e{n}", "occurred_at": timestamp(NOON - n), "value": n % 101}
        for n in range(5000)
    ]
    rolls.shuffle(said)
    found = rows(KPIS[kpi], shards_of(said))
    assert {numbers[0] for numbers in found.values()} == {0.0 if kpi == "health" else 1.0}
    assert {numbers[4] for numbers in found.values()} == {1.0}
