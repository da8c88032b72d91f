"""What a flush tells of each part of the state is enough, also before a block of it is written."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest

from stream.core import state
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import new_shard, outcomes, samples
from tests.reference.streams import NOON, text

OWN = Settings()


def event(kind: str, after: int, number: str = "", **fields: Any) -> bytes:
    common = {"event_id": f"{kind}{number}", "type": kind, "occurred_at": text(NOON + after)}
    return json.dumps({**common, "labels": {"channel": "web", "region": "eu"}, **fields}).encode()


#: An entity's first event, and one that says something of it only where it is remembered.
LIVES = {
    "answers": (
        event("survey.responded", 0, response_id="r", survey="nps", score=10),
        event("survey.updated", 1, response_id="r", survey="nps", score=0),
    ),
    "tickets": (
        event("ticket.closed", 0, ticket_id="t", opened_at=text(NOON - 60_000)),
        event("ticket.reopened", 1, ticket_id="t"),
    ),
    "carts": (
        event("cart.opened", 0, cart_id="c"),
        event("cart.purchased", 3_600_000, cart_id="c"),
    ),
    "subscriptions": (
        event("subscription.started", 0, subscription_id="s"),
        event("subscription.cancelled", 86_400_000, subscription_id="s"),
    ),
    "customers": (
        event("customer.signal", 0, customer_id="a", signal="usage", value=10),
        event("customer.signal", -1, "older", customer_id="a", signal="usage", value=90),
    ),
    "ids": (event("visit.ended", 0, visit_id="v"), event("visit.ended", 0, visit_id="v")),
}


def read(shard: Shard, *records: bytes) -> Any:
    found = outcomes(records, shard.ingest(None, list(records)))
    return found, samples(OWN, [shard], NOON + 2 * 86_400_000)


@pytest.mark.parametrize("kind", LIVES)
def test_what_a_flush_without_blocks_holds_is_remembered_after_a_restart(kind: str) -> None:
    first, later = LIVES[kind]
    going = new_shard(OWN)
    going.ingest(None, [first])
    stopped = new_shard(OWN)
    stopped.ingest(None, [first])
    with mock.patch.object(state, "BLOCK_BUDGET", 0):
        records = dict(StateLog(stopped).flush(NOON))
    assert not [key for key in records if key.startswith(b"block")]
    started = new_shard(OWN, Values(OWN))
    StateLog(started).recover({key: value for key, value in records.items() if value is not None})
    wanted = read(going, later)
    assert read(started, later) == wanted
    # Where nothing is remembered the second event says something else, so the test can tell.
    assert read(new_shard(OWN), later) != wanted


def test_many_small_blocks_are_written_a_part_at_a_time_and_all_in_the_end() -> None:
    """As many as would take the time of the flush's bytes, the oldest changes first."""
    shard = new_shard(OWN)
    log = StateLog(shard)
    written: list[set[bytes]] = []
    kept: dict[bytes, bytes] = {}

    def flush() -> None:
        records = log.flush(NOON)
        written.append({key for key, value in records if key.startswith(b"block") and value})
        for key, value in records:
            kept.pop(key, None)
            if value is not None:
                kept[key] = value

    numbers = range(1_500)
    shard.ingest(
        None,
        [
            event(
                "subscription.started", 0, f"{i}", subscription_id=f"{i}", labels={"plan": f"{i}"}
            )
            for i in numbers
        ],
    )
    flush()
    sets = {key for key in written[0] if key.startswith(b"block/active:")}
    assert 50 < len(sets) < len(numbers) / 4
    for i in range(20):
        shard.ingest(None, [event("visit.ended", 0, f"{i}", visit_id=f"{i}")])
        flush()
    assert sum(key.startswith(b"block/active:") for key in kept) == len(numbers)
    # A block that has not changed since is not written again.
    assert not sets & set().union(*written[1:])
    started = new_shard(OWN, Values(OWN))
    StateLog(started).recover(kept)
    assert samples(OWN, [started], NOON) == samples(OWN, [shard], NOON)
