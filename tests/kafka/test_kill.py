"""Workers that are killed, frozen and replaced at any moment count every event exactly once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson
import pytest

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.core.catalogue import EVENT_TYPES
from stream.core.settings import HOUR, MINUTE
from stream.core.timestamps import format_ms
from stream.generate.company import events
from stream.generate.draws import Record
from stream.generate.noise import Noise, noisy
from stream.kafka.producer import EventProducer
from tests.kafka.conftest import Site, Sites
from tests.kafka.topics import Read
from tests.kafka.truth import Truth, differences, evaluated_at, kpi_series, outcomes
from tests.kafka.workers import WorkerProcess

SEED = 20
EVENTS = 200_000
#: The records' times span this; no window edge but those of 5m and 1h passes while the test runs.
SPAN = 3 * HOUR
CART_TIMEOUT = 10 * MINUTE
#: Longer than it takes to freeze workers, which must have something to write when they wake.
SEND_SECONDS = 60.0
REFUSED = ("invalid", "future", "orphan")


@dataclass
class Traffic:
    """The records in order of time, and what has to become of them."""

    records: list[Record]
    outcomes: Counter[str]

    @property
    def refused(self) -> int:
        return sum(self.outcomes[o] for o in REFUSED)


def traffic(now: int) -> Traffic:
    """At least EVENTS records of all types with noise, up to ``now``.

    The last carts are so old that all outcomes are known, whenever the worker looks.
    """
    start = now - SPAN
    sample = sum(1 for _ in events(start, now, rate=2.0, seed=SEED))
    rate = 2.0 * EVENTS / sample * 1.02
    quiet = now - CART_TIMEOUT - MINUTE
    clean = [r for r in events(start, now, rate, SEED) if r[1] != "cx.cart" or r[0] < quiet]
    noise = Noise(duplicates=0.015, garbage=0.01, late=0.001, orphans=0.001, seed=SEED)
    records = list(noisy(clean, noise))
    found: Counter[str] = Counter({str(k): n for k, n in noise.added.items()})
    found["accepted"] = len(clean)
    for number, record in enumerate(records[::1_000]):
        records.append((record[0], "cx.visit", b"early-%d" % number, early(number, now)))
        found["future"] += 1
    records.sort(key=lambda r: r[0])
    return Traffic(records, found)


def early(number: int, now: int) -> bytes:
    """A visit that is an hour ahead of the clock."""
    return orjson.dumps(
        {
            "event_id": f"early-{number}",
            "type": "visit.ended",
            "occurred_at": format_ms(now + HOUR),
            "visit_id": f"early-{number}",
        }
    )


def sending(kafka: KafkaConfig, records: list[Record], seconds: float) -> threading.Thread:
    """Send records evenly over some seconds, in a thread."""

    async def send() -> None:
        began = time.monotonic()
        async with EventProducer(kafka) as producer:
            size = 1_000
            for first in range(0, len(records), size):
                await producer.write([r[1:] for r in records[first : first + size]])
                await producer.submit()
                due = began + seconds * first / len(records)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=lambda: asyncio.run(send()), daemon=True)
    thread.start()
    return thread


@dataclass
class Attacks:
    """Kills, freezes and replaces the worker, at seeded random moments."""

    site: Site
    rng: random.Random
    kills: int = 0
    freezes: int = 0
    overlaps: int = 0
    recoveries: list[float] = field(default_factory=list)
    frozen: list[WorkerProcess] = field(default_factory=list)

    def run(self) -> WorkerProcess:
        """Do everything; the worker that is left."""
        worker = self.site.worker()
        worker.until_ready()
        steps = ["kill", "freeze", "freeze", "overlap", "kill", "overlap", "kill"]
        for step in steps:
            self._work_on(worker)
            worker = getattr(self, f"_{step}")(worker)
        self.recoveries.append(worker.until_ready())
        for old in self.frozen:
            old.kill()
            self.kills += 1
        return worker

    def _work_on(self, worker: WorkerProcess) -> None:
        """Wait for a random moment: now and then before the worker is even ready."""
        if self.rng.random() < 0.7:
            self.recoveries.append(worker.until_ready())
        time.sleep(self.rng.uniform(0.2, 3.0))

    def _kill(self, worker: WorkerProcess) -> WorkerProcess:
        worker.kill()
        self.kills += 1
        return self.site.worker()

    def _overlap(self, worker: WorkerProcess) -> WorkerProcess:
        """Start the next one first, and kill the old one while they share the partitions."""
        new = self.site.worker()
        time.sleep(self.rng.uniform(0.5, 4.0))
        worker.kill()
        self.kills += 1
        self.overlaps += 1
        return new

    def _freeze(self, worker: WorkerProcess) -> WorkerProcess:
        """Freeze the old one until the group has given it up, and wake it beside the new one.

        It has counted records by then that it has not written, and tries to when it wakes.
        """
        worker.until_ready()
        seen = outcomes(worker.scrape()).total()
        worker.until(lambda: outcomes(worker.scrape()).total() > seen + 1_000, "gone on counting")
        worker.freeze()
        self.freezes += 1
        new = self.site.worker()
        self.recoveries.append(new.until_ready())
        worker.thaw()
        time.sleep(self.rng.uniform(0.5, 3.0))
        worker.kill()
        self.kills += 1
        return new


def settled(worker: WorkerProcess, records: int) -> None:
    """Wait until all records have an outcome."""
    worker.until(
        lambda: outcomes(worker.scrape()).total() >= records, f"taken in {records} records"
    )


@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_at_any_moment_counts_every_event_once(
    sites: Sites, broker: Broker
) -> None:
    site = sites(broker.bootstrap, more=f'[cart]\ntimeout = "{CART_TIMEOUT // MINUTE}m"\n')
    began = time.monotonic()
    sent = traffic(time.time_ns() // 1_000_000)
    attacks = Attacks(site, random.Random(SEED))
    sender = sending(site.config.kafka, sent.records, SEND_SECONDS)
    worker = attacks.run()
    sender.join(60)
    assert not sender.is_alive()
    settled(worker, len(sent.records))

    source = site.sources()
    truth = Truth(site.config.core(), site.prefix, source)
    scraped = worker.scrape()
    at = evaluated_at(scraped)
    assert at is not None
    found, wanted = kpi_series(scraped), truth.series(at)
    wrong = differences(found, wanted)
    letters = site.dead_letters()
    print(  # noqa: T201 - the figures are the point of this test.
        "\n".join(
            f"{name:42} {value}"
            for name, value in {
                "records sent": len(sent.records),
                "seed": SEED,
                "outcomes": dict(sent.outcomes),
                "kill -9": attacks.kills,
                "of these beside a living successor": attacks.overlaps + attacks.freezes,
                "SIGSTOP and back": attacks.freezes,
                "start to ready, s": ", ".join(f"{s:.1f}" for s in attacks.recoveries),
                "KPI series compared": len(wanted),
                "series that differ": len(wrong),
                "dead letters": f"{len(letters)} of {sent.refused}",
                "seconds in all": f"{time.monotonic() - began:.0f}",
            }.items()
        )
    )
    assert {orjson.loads(r.value or b"")["type"] for r in readable(source)} >= set(EVENT_TYPES)
    assert attacks.kills >= 5
    assert len(source) == len(sent.records) >= EVENTS
    assert outcomes(scraped) == truth.outcomes()
    by_outcome: Counter[str] = Counter()
    for (_, outcome), n in outcomes(scraped).items():
        by_outcome[outcome] += n
    assert by_outcome == sent.outcomes
    assert wrong == []
    assert len(wanted) > 1_000
    check_dead_letters(site, source, letters, sent)


def readable(records: list[Read]) -> Iterator[Read]:
    """Records that are events of some form."""
    return (r for r in records if r.value and r.value.startswith(b'{"event_id"'))


def check_dead_letters(site: Site, source: list[Read], letters: list[Read], sent: Traffic) -> None:
    """Each refused record is there once, as it was, and says where it came from."""
    by_place = {(r.topic, r.partition, r.offset): r for r in source}
    places: Counter[tuple[str, int, int]] = Counter()
    reasons: Counter[str] = Counter()
    for letter in letters:
        said = letter.reasons
        place = (
            said["__connect.errors.topic"],
            int(said["__connect.errors.partition"]),
            int(said["__connect.errors.offset"]),
        )
        places[place] += 1
        reasons[said["cxkpi.outcome"]] += 1
        original = by_place[place]
        assert letter.topic == f"{original.topic}.dlq"
        assert (letter.key, letter.value) == (original.key, original.value)
        assert said["cxkpi.reason"]
    assert set(places.values()) <= {1}
    assert reasons == Counter({o: n for o, n in sent.outcomes.items() if o in REFUSED})
