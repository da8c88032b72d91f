"""``python -m bench.scaling``: the same work done by one, two and three workers of a group.

Each worker is a process of its own. CPU comes from /proc, so a machine with fewer cores than
workers tells the same; the clock would not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_lz4

from bench import events
from bench.crew import Change, Crew, counted, crew, watch_change
from bench.measured import Failed, peak_mib
from bench.merge import FIGURES
from bench.site import PATIENCE, Site, site, wait_a_moment
from bench.stored import Stored, stamp
from bench.worker import SCRAPE_SECONDS
from stream.broker.process import GuardedProcess
from stream.clock import now_ms
from stream.generate.draws import Record
from stream.generate.pacing import SLICE
from stream.kafka.partitions import partitions
from stream.replay.recorded import address

PARTS: Final = ("crews", "held", "shards")
#: So many events are sent over and over while a rate is held.
_HELD_EVENTS: Final = 300_000
#: One, two and three workers have the same number of shards each.
SHARDS: Final = 6
#: So many instead, to tell what a shard takes.
MANY_SHARDS: Final = 24
CREWS: Final = (1, 2, 3)
#: How long a rate is held before and while it is measured, in seconds.
_WARM: Final = 8.0
_HELD: Final = 25.0
#: Rates of the paced producer, events per second.
RATES: Final = (0, 1_000, 5_000, 15_000)
#: The load during changes, events per second, and for how long at most.
_QUIET_RATE: Final = 1_000
_CHANGES_SECONDS: Final = 120.0
_BATCH_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Crewed:
    """The stored events, worked off by so many workers."""

    workers: int
    events: int
    #: CPU seconds of each worker.
    cpu: list[float]
    seconds: float
    #: The most resident memory of each worker, MiB.
    peak_mib: list[float]
    #: Bytes that were appended to the topics of state and shares.
    state_bytes: int
    share_bytes: int

    @property
    def total(self) -> float:
        """CPU seconds per million events, summed over the workers."""
        return sum(self.cpu) / self.events * 1e6

    @property
    def busiest(self) -> float:
        """CPU seconds per million events of the group, of the worker that has most to do."""
        return max(self.cpu) / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Rated:
    """Two workers under a steady load."""

    wanted: int
    rate: float
    #: CPU seconds per second, both workers.
    cores: float
    state_per_second: float
    share_per_second: float


def work_off(here: Site, workers: int, turn: int) -> Crewed:
    """Let so many workers work off the events of the site's file, which all appear at once."""
    with crew(here, f"crew{workers}-{turn}", workers, SHARDS) as found:
        sizes = found.written("state"), found.written("share")
        count, before, began = asyncio.run(_appear(here, found))
        while sum(counted(pages := found.pages()).values()) < count:
            time.sleep(SCRAPE_SECONDS / 2)
            if time.monotonic() - began > PATIENCE:
                raise Failed(f"{workers} workers have counted {counted(pages)} of {count}")
        cpu = [after - b for after, b in zip(found.cpu(), before, strict=True)]
        return Crewed(
            workers,
            count,
            cpu,
            time.monotonic() - began,
            [peak_mib(w.pid) for w in found.watches],
            found.written("state") - sizes[0],
            found.written("share") - sizes[1],
        )


async def _appear(here: Site, found: Crew) -> tuple[int, list[float], float]:
    """Write all events in one transaction: nobody reads them before it ends.

    How many there are, and each worker's CPU and the clock at that moment.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=here.bootstrap,
        transactional_id=f"{found.group}-events",
        transaction_timeout_ms=600_000,
        max_batch_size=_BATCH_BYTES,
        compression_type="lz4" if has_lz4() else None,
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        count = 0
        builders: dict[tuple[str, int], Any] = {}
        with here.events_file.open("rb") as lines:
            while some := [address(line.rstrip(b"\n")) for line in islice(lines, SLICE)]:
                count += len(some)
                homes = partitions([e.key or b"" for e in some], SHARDS).tolist()
                for event, home in zip(some, homes, strict=True):
                    place = f"{found.prefix}{event.topic}", home
                    builder = builders.get(place)
                    if builder is not None:
                        if builder.append(timestamp=None, key=event.key, value=event.value):
                            continue
                        await producer.send_batch(builder, place[0], partition=home)
                    builders[place] = builder = producer.create_batch()
                    builder.append(timestamp=None, key=event.key, value=event.value)
        for (topic, home), builder in builders.items():
            await producer.send_batch(builder, topic, partition=home)
        await producer.flush()
        before, began = found.cpu(), time.monotonic()
        await producer.commit_transaction()
        return count, before, began
    finally:
        await producer.stop()


def hold(here: Site, found: Crew, rate: int) -> Rated:
    """A steady load on these workers, scraped each second."""
    with _load(here, found, rate, _WARM + _HELD):
        _scraped(found, _WARM)
        before, began = sum(found.cpu()), time.monotonic()
        state, share = found.written("state"), found.written("share")
        events_before = sum(counted(found.pages()).values())
        _scraped(found, _HELD)
        seconds = time.monotonic() - began
        return Rated(
            rate,
            (sum(counted(found.pages()).values()) - events_before) / seconds,
            (sum(found.cpu()) - before) / seconds,
            (found.written("state") - state) / seconds,
            (found.written("share") - share) / seconds,
        )


def _scraped(found: Crew, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(SCRAPE_SECONDS, left))
        found.pages()


@contextmanager
def _load(here: Site, found: Crew, rate: int, seconds: float) -> Iterator[None]:
    """The paced producer, until the end of the block."""
    if not rate:
        yield
        return
    command = (
        *("-m", "bench.programs.paced", f"--bootstrap={here.bootstrap}"),
        *(f"--prefix={found.prefix}", f"--file={here.events_file}"),
        *(f"--rate={rate}", f"--seconds={seconds}"),
    )
    name = f"paced-{found.group}-{rate}-{time.monotonic_ns()}"
    with here.process(name, *command) as (process, log):
        began = time.monotonic()
        while "ready" not in log.read_text():
            wait_a_moment(began, "the paced producer", log, process)
        yield


def crews(count: int, rounds: int) -> dict[str, Any]:
    """Crews of one to three workers, in rounds of which each begins with another one."""
    found: list[Crewed] = []
    with site() as here:
        _make(here, count)
        for turn in range(rounds):
            first = turn % len(CREWS)
            for workers in (*CREWS[first:], *CREWS[:first]):
                found.append(work_off(here, workers, turn))
                _tell_crew(found[-1])
    return {"rounds": rounds, "runs": [asdict(c) for c in found]}


def held(count: int) -> dict[str, Any]:
    """Two workers at some rates, and then changes of the group."""
    rates: list[Rated] = []
    changes: list[Change] = []
    with site() as here:
        _make(here, count)
        with crew(here, "held", 2, SHARDS) as found:
            for rate in RATES:
                rates.append(hold(here, found, rate))
                _tell_rate(rates[-1])
            with _load(here, found, _QUIET_RATE, _CHANGES_SECONDS):
                time.sleep(_WARM)
                for what, change in (
                    ("a worker is added (2 → 3)", found.add),
                    ("a worker is stopped (SIGTERM, 3 → 2)", lambda: found.end(_stop)),
                    ("a worker is killed (kill -9, 2 → 1)", lambda: found.end(GuardedProcess.kill)),
                ):
                    changes.append(watch_change(found, what, change))
                    _tell_change(changes[-1])
    return {
        "workers": 2,
        "shards": SHARDS,
        "rates": [asdict(r) for r in rates],
        "changes": [asdict(c) for c in changes],
    }


def shards(count: int) -> dict[str, Any]:
    """Two workers at a low rate once more, with many shards."""
    with site() as here:
        _make(here, count)
        with crew(here, "shards", 2, MANY_SHARDS) as found:
            rated = hold(here, found, _QUIET_RATE)
            _tell_rate(rated)
    return {"workers": 2, "shards": MANY_SHARDS, "rates": [asdict(rated)]}


def _stop(process: GuardedProcess) -> None:
    os.kill(process.pid, signal.SIGTERM)


def _make(here: Site, count: int) -> None:
    last = max(record[0] for record in events.generated(count))
    records: Iterator[Record] = events.generated(count)
    with here.events_file.open("wb") as lines:
        for event in events.moved(records, now_ms() - last):
            lines.write(event.value + b"\n")


def _tell_crew(c: Crewed) -> None:
    each = ", ".join(f"{n:.2f}" for n in c.cpu)
    print(
        f"  {c.workers} workers: {c.total:.2f} CPU s per million events, {each} s each;"
        f" {c.seconds:.1f} s by the clock; peak {max(c.peak_mib):,.0f} MiB; bytes per event:"
        f" state {c.state_bytes / c.events:.1f}, shares {c.share_bytes / c.events:.2f}",
        file=sys.stderr,
    )


def _tell_rate(r: Rated) -> None:
    print(
        f"  {r.rate:,.0f} of {r.wanted:,} events/s: {r.cores:.3f} cores, state"
        f" {r.state_per_second:,.0f} and shares {r.share_per_second:,.0f} bytes/s",
        file=sys.stderr,
    )


def _tell_change(c: Change) -> None:
    print(f"  {c.what}: over after {c.over:.1f} s, absent {c.absent:.1f} s", file=sys.stderr)


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Repeatable.")
@click.option("--events", "count", type=click.IntRange(10_000), default=1_000_000)
@click.option("--rounds", type=click.IntRange(1), default=3)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=FIGURES,
    help="Where to keep the figures. [default: bench/scaling.json]",
)
def main(parts: tuple[str, ...], count: int, rounds: int, to: Path) -> None:
    """Measure and keep the figures; ``python -m bench.capacity --page`` writes them."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    kept = Stored(to)
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "crews": lambda: crews(count, rounds),
        "held": lambda: held(min(count, _HELD_EVENTS)),
        "shards": lambda: shards(min(count, _HELD_EVENTS)),
    }
    for part, measure in measures.items():
        if not parts or part in parts:
            begun = stamp()
            print(f"Scaling: {part}", file=sys.stderr)
            kept.save(part, measure(), begun)


if __name__ == "__main__":
    main()
