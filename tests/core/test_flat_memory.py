"""However long a shard runs at one rate, it takes no more memory than after the first weeks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream.core.dedupe import SeenIds
from stream.core.memory import Memory
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.timestamps import format_ms
from stream.core.values import Values

START = 1_768_392_000_000
#: What is remembered longest is gone after twice seven days and a little.
SETTLED = 20
DAYS = 50


def events(at: int, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """One life of every kind of entity."""
    opened = format_ms(at - HOUR)
    yield "cx.visit", {"type": "visit.ended", "visit_id": name}
    yield (
        "cx.survey",
        {"type": "survey.responded", "response_id": name, "survey": "nps", "score": 9},
    )
    yield (
        "cx.survey",
        {
            "type": "survey.responded",
            "response_id": f"{name}-e",
            "survey": "emotion",
            "emotions": {"happy": 5},
        },
    )
    yield "cx.ticket", {"type": "ticket.closed", "ticket_id": name, "opened_at": opened}
    yield "cx.cart", {"type": "cart.opened", "cart_id": name}
    yield "cx.subscription", {"type": "subscription.started", "subscription_id": name}
    yield "cx.subscription", {"type": "subscription.cancelled", "subscription_id": name}
    yield "cx.signal", {"type": "customer.signal", "customer_id": name, "signal": "a", "value": 5}


def size(shard: Shard) -> dict[str, int]:
    sizes = {
        store.name: store.nbytes for store in shard.stores() if isinstance(store, Memory | SeenIds)
    }
    sizes["cells"] = sum(cells.nbytes for cells in shard.windows.cells.values())
    return sizes


def test_a_shard_takes_no_more_memory_after_many_weeks() -> None:
    settings = Settings(dedupe_ms=30 * MINUTE)
    shard = Shard(settings, Values(settings))
    log, durable = StateLog(shard), dict[bytes, bytes]()
    by_day: list[dict[str, int]] = []
    blocks: list[int] = []
    for day in range(DAYS):
        for hour in range(0, 24, 2):
            now = START + day * DAY + hour * HOUR
            batches: dict[str, list[bytes]] = {}
            for i in range(8):
                for n, (topic, event) in enumerate(events(now, f"{now}-{i}")):
                    said = {"event_id": f"{now}-{i}-{n}", "occurred_at": format_ms(now), **event}
                    batches.setdefault(topic, []).append(json.dumps(said).encode())
            for topic, values in batches.items():
                assert not shard.ingest(topic, values, now)
            shard.advance(now)
            for key, value in log.flush(now):
                durable.pop(key, None)
                if value is not None:
                    durable[key] = value
        by_day.append(size(shard))
        blocks.append(len(durable))
    for name in by_day[0]:
        early = max(sizes[name] for sizes in by_day[SETTLED : SETTLED + 10])
        assert max(sizes[name] for sizes in by_day[SETTLED + 10 :]) <= 1.05 * early, name
    assert max(blocks[SETTLED + 10 :]) <= 1.05 * max(blocks[SETTLED : SETTLED + 10])
    assert shard.forgotten() == dict.fromkeys(shard.forgotten(), 0)


@pytest.mark.parametrize("back", [0, MINUTE, DAY])
def test_a_clock_that_is_set_back_leaves_the_limit_of_what_is_remembered_as_it_is(
    back: int,
) -> None:
    limit, each = 5_000, 250
    settings = Settings(rollups=((),), max_remembered=limit)
    shard = Shard(settings, Values(settings))
    log = StateLog(shard)
    log.flush(START)
    now = START - back
    for step in range(120):
        now += 10 * SECOND
        names = [f"{step}-{i}" for i in range(each)]
        said = {"type": "ticket.closed", "occurred_at": format_ms(now), "opened_at": format_ms(now)}
        closes = [json.dumps({"event_id": n, "ticket_id": n, **said}).encode() for n in names]
        assert not shard.ingest("cx.ticket", closes, now)
        log.flush(max(now, shard.progress.now))
        assert shard.remembered()["tickets"] <= limit
    assert shard.forgotten()["tickets"]


def test_ids_go_by_the_time_of_events_though_a_clock_is_set_back() -> None:
    settings = Settings(rollups=((),))
    shard = Shard(settings, Values(settings))
    log = StateLog(shard)
    log.flush(START)
    now = START - DAY
    for step in range(100):
        now += MINUTE
        said = {"type": "visit.ended", "visit_id": "v", "occurred_at": format_ms(now)}
        shard.ingest("cx.visit", [json.dumps({"event_id": f"{step}", **said}).encode()], now)
        log.flush(max(now, shard.progress.now))
    assert shard.remembered()["event_ids"] < 20
