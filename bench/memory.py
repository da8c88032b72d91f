"""``python -m bench.memory``: what a remembered entity takes, and how long a recovery does.

Each kind is measured in a process of its own: the growth of its resident memory while so many
entities are taken in and flushed, the bytes of the arrays, and the time of folding the state log,
without Kafka, into a new shard.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from stream.core.dedupe import SeenIds
from stream.core.memory import Memory
from stream.core.settings import HOUR, SECOND, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.timestamps import format_ms
from stream.core.values import Values

_START: Final = 1_768_392_000_000
_BATCH: Final = 4_000
_FLUSH: Final = 20_000
#: So that all blocks are written.
_LAST_FLUSHES: Final = 300

Make = Callable[[int, int], dict[str, Any]]


def _ticket(i: int, at: int) -> dict[str, Any]:
    opened = format_ms(at - HOUR - i % HOUR)
    return {"type": "ticket.closed", "ticket_id": f"t-{i}", "opened_at": opened, "sentiment": 0.5}


def _answer(i: int, at: int) -> dict[str, Any]:
    return {"type": "survey.responded", "response_id": f"r-{i}", "survey": "nps", "score": i % 11}


def _cart(i: int, at: int) -> dict[str, Any]:
    return {"type": "cart.opened", "cart_id": f"c-{i}"}


def _subscription(i: int, at: int) -> dict[str, Any]:
    return {"type": "subscription.started", "subscription_id": f"s-{i}"}


def _signal(i: int, at: int) -> dict[str, Any]:
    return {"type": "customer.signal", "customer_id": f"u-{i}", "signal": "usage", "value": i % 100}


def _visit(i: int, at: int) -> dict[str, Any]:
    return {"type": "visit.ended", "visit_id": f"v-{i}"}


KINDS: Final[dict[str, tuple[str, Make]]] = {
    "tickets": ("cx.ticket", _ticket),
    "answers": ("cx.survey", _answer),
    "carts": ("cx.cart", _cart),
    "subscriptions": ("cx.subscription", _subscription),
    "customers": ("cx.signal", _signal),
    # Nothing is remembered of visits but the ids of their events.
    "event_ids": ("cx.visit", _visit),
}


def _batches(make: Make, count: int) -> Iterator[tuple[int, list[bytes]]]:
    """Events over an hour, or ten minutes for what is remembered no longer."""
    for start in range(0, count, _BATCH):
        values = []
        at = _START
        for i in range(start, min(count, start + _BATCH)):
            at = _START + i * 9 * 60 * SECOND // count
            said = {"event_id": f"e-{i}", "occurred_at": format_ms(at), **make(i, at)}
            values.append(json.dumps(said).encode())
        yield at, values


def _resident() -> int:
    with open("/proc/self/statm") as status:  # noqa: PTH123
        return int(status.read().split()[1]) * 4096


def _filled(kind: str, count: int, keep: dict[bytes, bytes] | None) -> tuple[Shard, int]:
    """A shard that has taken in so many entities, and by how much resident memory has grown.

    Its log goes to ``keep``, or nowhere.
    """
    topic, make = KINDS[kind]
    # The ids of the events are of interest only where they are what is measured.
    settings = Settings() if kind == "event_ids" else Settings(dedupe_ms=0)
    shard = Shard(settings, Values(settings))
    log = StateLog(shard)
    before = since = 0
    for at, values in _batches(make, count):
        shard.ingest(topic, values, _START + HOUR)
        since += len(values)
        if since >= _FLUSH:
            since = 0
            _flush(log, at, keep)
            # What the first flush needs is needed by all.
            before = before or _resident()
    for _ in range(_LAST_FLUSHES):
        at += 10 * SECOND
        shard.progress.positions[topic] = at
        _flush(log, at, keep)
    gc.collect()
    return shard, _resident() - before


def _flush(log: StateLog, at: int, keep: dict[bytes, bytes] | None) -> None:
    for key, value in log.flush(at):
        if keep is not None:
            keep.pop(key, None)
            if value is not None:
                keep[key] = value


def _measure(kind: str, count: int) -> None:
    shard, grown = _filled(kind, count, None)
    entities = shard.remembered()[kind]
    stores = [s for s in shard.stores() if isinstance(s, Memory | SeenIds)]
    arrays = sum(s.nbytes for s in stores if s.name == kind or kind == "event_ids")
    shard.close()
    kept: dict[bytes, bytes] = {}
    _filled(kind, count, kept)
    again = Shard(shard.settings, Values(shard.settings))
    started = time.process_time()
    StateLog(again).recover(kept)
    seconds = time.process_time() - started
    print(
        f"{kind:14s} {entities:9,d} entities: {arrays / entities:5.1f} bytes each in arrays,"
        f" {grown / entities:5.1f} resident, {sum(map(len, kept.values())) / entities:5.1f} in the"
        f" log; {again.remembered()[kind]:,} recovered in {seconds:.2f} CPU s",
        flush=True,
    )


@click.command()
@click.option("--entities", "count", type=click.IntRange(10_000), default=1_000_000)
def main(count: int) -> None:
    """Measure the memory of each kind of entity."""
    for kind in KINDS:
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(kind, count))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(1)


if __name__ == "__main__":
    main()
