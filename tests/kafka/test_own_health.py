"""What a worker shows of itself where something is wrong that no KPI tells."""

from __future__ import annotations

import time

import orjson

from stream.broker import Broker
from stream.core.timestamps import format_ms
from tests.kafka.conftest import Sites
from tests.kafka.topics import delete, send
from tests.kafka.workers import WorkerProcess


def base(number: int) -> tuple[str, bytes, bytes]:
    """The active subscriptions of a plan of its own."""
    labels = {"plan": f"plan-{number}"}
    event = {"event_id": f"base-{number}", "type": "subscription.base", "active": 100}
    event |= {"occurred_at": format_ms(time.time_ns() // 10**6), "labels": labels}
    return "cx.subscription", b"the same for all", orjson.dumps(event)


def start(number: int) -> tuple[str, bytes, bytes]:
    """A subscription with the plan of a base."""
    labels = {"plan": f"plan-{number}"}
    event: dict[str, object] = {"event_id": f"start-{number}", "type": "subscription.started"}
    event |= {"subscription_id": f"s{number}", "labels": labels}
    event |= {"occurred_at": format_ms(time.time_ns() // 10**6)}
    return "cx.subscription", b"the same for all", orjson.dumps(event)


def shown(worker: WorkerProcess, name: str) -> dict[str, float]:
    return {s.labels.get("topic", ""): s.value for s in worker.scrape() if s.name == name}


def test_it_shows_bases_without_room_and_shares_that_it_can_t_read_now(
    sites: Sites, broker: Broker
) -> None:
    site = sites(broker.bootstrap, head="max_segments = 2", kafka="partitions = 1")
    worker = site.worker()
    worker.until_ready()
    without_room = "cx_worker_subscriptions_without_room_total"
    assert shown(worker, "cx_worker_refused_bases_total") == shown(worker, without_room) == {"": 0}
    assert set(shown(worker, "cx_worker_damaged_shares").values()) == {0}
    site.send(*map(base, range(5)))
    worker.until(
        lambda: shown(worker, "cx_worker_refused_bases_total") == {"": 3}, "counted the bases"
    )
    site.send(*map(start, range(4)))
    worker.until(lambda: shown(worker, without_room) == {"": 2}, "counted the starts")
    unprefixed = site.config.kafka.model_copy(update={"topic_prefix": ""})

    def damaged() -> float:
        return sum(shown(worker, "cx_worker_damaged_shares").values())

    # One that the next share writes anew, and one that nobody writes.
    for key in (b"beat/0", b"nobody's"):
        send(unprefixed, [(f"{site.group}-share", key, b"no share")])
    worker.until(lambda: damaged() == 1, "shown what it can't read and nobody mends")
    worker.until_ready()
    delete(site.bootstrap, f"{site.group}-share", b"nobody's")
    worker.until(lambda: damaged() == 0, "seen that it was deleted")
