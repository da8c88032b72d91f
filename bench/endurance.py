"""``python -m bench.endurance``: memory over many events, and recovery, in the core alone.

Events of all entity types whose time passes so fast that 100,000 of each type are remembered at
once and everything expires again and again: entities, panes, ids, customers' signals, and values of
a dimension that come and go. The state log is kept in memory, compacted, and counted apart from
what the process needs for the rest.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import click
import numpy as np

from bench.core import DAY, SECOND, Core, Settings
from bench.measured import resident_mib
from stream.generate.draws import stamps

#: How many entities of each type are remembered at once.
LIVE: Final = 100_000
#: How long an answer, a ticket and a cart are remembered by default.
_MEMORY: Final = 7 * DAY
#: Event time between two entities of a type.
_STEP: Final = _MEMORY / LIVE
#: Events for each entity of each type: an answer, a close, a cart opened and bought, a start and a
#: cancellation, a visit, a signal.
_PER_STEP: Final = 8
_STEPS_A_BATCH: Final = 1_000
#: A subscription lasts so many steps, so that as many are active.
_LASTS: Final = LIVE // 2
_START: Final = 1_700_000_000_000
_CHANNELS: Final = ("web", "app", "phone", "email", "store")
_REGIONS: Final = ("eu", "us", "apac", "latam")

#: What is recovered: so many tickets and answers together, in so many sets of labels.
ENTITIES: Final = 1_000_000
SEGMENTS: Final = 10_000
_BATCH: Final = 20_000

Batch = tuple[int, dict[str, list[bytes]]]


@dataclass(frozen=True, slots=True)
class Row:
    """What there is after so many events."""

    events: int
    days: float
    #: Resident memory, without and with the log that is kept in memory for the test, in MiB.
    rss_mib: float
    log_mib: float
    log_records: int
    tombstones: int
    remembered: dict[str, int]
    #: CPU seconds per million events since the row before: to take them in, and to flush.
    ingest_cpu: float
    flush_cpu: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What it took to make a shard's state from its log."""

    entities: int
    segments: int
    log_mib: float
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Endured:
    """All of it."""

    rows: list[Row]
    recovery: Recovery


def batches(events: int) -> Iterator[Batch]:
    """Batches of events with the time after each, in order of time."""
    for first in range(0, events // _PER_STEP, _STEPS_A_BATCH):
        steps = range(first, first + _STEPS_A_BATCH)
        at = (_START + np.arange(first, first + _STEPS_A_BATCH) * _STEP).astype(np.int64)
        yield int(at[-1]), _events(steps, stamps(at))


def _events(steps: range, times: list[str]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {
        name: [] for name in ("survey", "ticket", "cart", "subscription", "visit", "signal")
    }

    def add(topic: str, kind: str, i: int, stamp: str, rest: str) -> None:
        # A campaign is a value of the dimension for two days; there is always a new one.
        campaign = int(i * _STEP) // DAY - i % 2
        channel = f"campaign-{campaign}" if i % 7 == 0 else _CHANNELS[i % 5]
        found[topic].append(
            f'{{"event_id":"{kind}-{i}","type":"{topic}.{kind}","occurred_at":"{stamp}",'
            f'"customer_id":"customer-{i}",'
            f'"labels":{{"channel":"{channel}","region":"{_REGIONS[i // 5 % 4]}"}},'
            f"{rest}}}".encode()
        )

    for i, stamp in zip(steps, times, strict=True):
        score = i * 7919 % 11
        answer = f'"response_id":"r{i}","survey":"nps","score":{score}'
        add("survey", "responded", i, stamp, answer)
        add("ticket", "closed", i, stamp, f'"ticket_id":"t{i}","opened_at":"2023-11-01T00:00:00Z"')
        add("cart", "opened", i, stamp, f'"cart_id":"c{i}"')
        if i % 3:
            add("cart", "purchased", i, stamp, f'"cart_id":"c{i}","value":10')
        add("subscription", "started", i, stamp, f'"subscription_id":"s{i}"')
        if i >= _LASTS:
            old = i - _LASTS
            add("subscription", "cancelled", i, stamp, f'"subscription_id":"s{old}"')
        add("visit", "ended", i, stamp, f'"visit_id":"v{i}","pages":3')
        found["signal"].append(_signal(i, stamp))
    return {f"cx.{topic}": values for topic, values in found.items()}


def _signal(i: int, stamp: str) -> bytes:
    return (
        f'{{"event_id":"signal-{i}","type":"customer.signal","occurred_at":"{stamp}",'
        f'"customer_id":"customer-{i}","labels":{{"channel":"web","region":"eu"}},'
        f'"signal":"usage","value":{i % 101}}}'
    ).encode()


def run(events: int, rows: int = 16) -> Endured:
    """Feed so many events and look so many times.

    Raises:
        RuntimeError: the core refuses an event.
    """
    gc.collect()
    core = Core(Settings())
    core.tune()
    found: list[Row] = []
    done = looked = 0
    ingest = flush = 0.0
    total = -(-events // _PER_STEP // _STEPS_A_BATCH)
    looks = {total * (i + 1) // rows for i in range(rows)}
    for number, (now, batch) in enumerate(batches(events), 1):
        began = time.process_time()
        refused = sum(core.feed(topic, values, now) for topic, values in batch.items())
        between = time.process_time()
        core.flush(now)
        ingest += between - began
        flush += time.process_time() - between
        if refused:
            raise RuntimeError(f"the core refused {refused} events")
        done += sum(len(values) for values in batch.values())
        if number in looks:
            millions = (done - looked) / 1e6
            found.append(_look(core, done, now, ingest / millions, flush / millions))
            looked, ingest, flush = done, 0.0, 0.0
            _tell(found[-1])
    del core
    return Endured(found, recovery())


def _look(core: Core, done: int, now: int, ingest: float, flush: float) -> Row:
    return Row(
        events=done,
        days=(now - _START) / DAY,
        rss_mib=resident_mib(),
        log_mib=core.log_bytes / 1024**2,
        log_records=len(core.records),
        tombstones=core.tombstones,
        remembered=core.remembered(),
        ingest_cpu=ingest,
        flush_cpu=flush,
    )


def _tell(row: Row) -> None:
    print(
        f"  {row.events:>12,} events, {row.days:7.1f} days: {row.rss_mib:,.0f} MiB resident,"
        f" of which log {row.log_mib:,.1f} MiB in {row.log_records:,} records;"
        f" {row.tombstones:,} tombstones; {row.ingest_cpu:.2f} + {row.flush_cpu:.2f} CPU s/million;"
        f" remembered {row.remembered}",
        file=sys.stderr,
    )


def recovery(entities: int = ENTITIES) -> Recovery:
    """Make the state anew from the log of that many entities in 10,000 segments."""
    core = Core(Settings())
    now = _START
    for first in range(0, entities // 2, _BATCH // 2):
        now = _START + first * 10
        for topic, values in _remembered(range(first, first + _BATCH // 2), now).items():
            core.feed(topic, values, now)
        core.flush(now)
    # Some quiet time, in which the blocks of what changed last are written too.
    for _ in range(20):
        now += SECOND
        core.flush(now)
    gc.collect()
    began, cpu = time.monotonic(), time.process_time()
    other = core.recovered()
    took = time.monotonic() - began, time.process_time() - cpu
    sizes, wanted = other.remembered(), core.remembered()
    if sizes != wanted or other.evaluate(now) != core.evaluate(now):
        raise RuntimeError(f"recovered {sizes} instead of {wanted}")
    remembered = sum(n for kind, n in sizes.items() if kind != "event_ids")
    found = Recovery(remembered, SEGMENTS, core.log_bytes / 1024**2, *took)
    print(
        f"  recovery of {remembered:,} entities in {SEGMENTS:,} segments from a log of"
        f" {found.log_mib:,.1f} MiB: {took[0]:.1f} s, CPU {took[1]:.1f} s",
        file=sys.stderr,
    )
    return found


def _remembered(numbers: range, now: int) -> dict[str, list[bytes]]:
    (stamp,) = stamps(np.array([now], dtype=np.int64))

    def event(topic: str, kind: str, i: int, rest: str) -> bytes:
        segment = i % SEGMENTS
        labels = f'{{"channel":"c{segment // 100}","region":"r{segment % 100}"}}'
        return (
            f'{{"event_id":"{topic}-{i}","type":"{topic}.{kind}","occurred_at":"{stamp}",'
            f'"labels":{labels},{rest}}}'
        ).encode()

    answer = '"response_id":"response-%d","survey":"nps","score":9'
    close = '"ticket_id":"ticket-%d","opened_at":"2023-11-01T00:00:00Z"'
    return {
        "cx.survey": [event("survey", "responded", i, answer % i) for i in numbers],
        "cx.ticket": [event("ticket", "closed", i, close % i) for i in numbers],
    }


@click.command()
@click.option(
    "--events",
    type=click.IntRange(100_000),
    default=4_500_000,
    show_default=True,
    help="50000000 for the whole run.",
)
@click.option("--rows", type=click.IntRange(1), default=16, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def main(events: int, rows: int, as_json: bool) -> None:
    """Feed the core events that expire again and again; tell what memory and log it needs."""
    print(f"Endurance: {events:,} events", file=sys.stderr)
    endured = asdict(run(events, rows))
    if as_json:
        print(json.dumps(endured))


if __name__ == "__main__":
    main()
