"""What producers send while faults go on, and the corrections that come after them."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from typing import Final

import orjson

from stream.config import KafkaConfig
from stream.core.settings import HOUR, MINUTE
from stream.core.timestamps import format_ms
from stream.generate.company import events
from stream.generate.noise import Noise, noisy
from stream.kafka.log import Outgoing, TransactionalWriter
from stream.kafka.producer import EventProducer
from tests.faults.compare import Message
from tests.faults.crashes import Sent

#: The records' times span this; no window edge but those of 5m and 1h passes while a case runs.
SPAN: Final = 3 * HOUR
CART_TIMEOUT: Final = 10 * MINUTE


def records_up_to(now: int, count: int, seed: int) -> list[Sent]:
    """At least so many records of all types with noise, in order of time, up to ``now``.

    The last carts are so old that all outcomes are known, whenever a worker looks.
    """
    start, probe = now - SPAN, 2.0
    sample = sum(1 for _ in events(start, now, rate=probe, seed=seed))
    rate = probe * count / sample
    quiet = now - CART_TIMEOUT - MINUTE
    clean = (r for r in events(start, now, rate, seed) if r[1] != "cx.cart" or r[0] < quiet)
    noise = Noise(duplicates=0.03, garbage=0.03, late=0.005, orphans=0.01, seed=seed)
    found: list[Sent] = list(noisy(clean, noise))
    found += [(r[0], *visit(f"early-{i}", now + HOUR)) for i, r in enumerate(found[::500])]
    return sorted(found, key=lambda r: r[0])


def visit(name: str, at: int) -> Message:
    """A visit that ended at ``at``."""
    event = {"event_id": name, "type": "visit.ended", "occurred_at": format_ms(at)}
    return "cx.visit", name.encode(), orjson.dumps({**event, "visit_id": name})


class Sending:
    """Sends records evenly over some seconds, in a thread of its own."""

    def __init__(self, kafka: KafkaConfig, records: Sequence[Sent], seconds: float) -> None:
        self._kafka = kafka
        self._records = records
        self._seconds = seconds
        self._failure: BaseException | None = None
        #: How many records were given to the producer, with those that it is being given.
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:  # noqa: BLE001 - told to whoever joins.
            self._failure = error

    async def _send(self) -> None:
        began, size = time.monotonic(), max(1, min(500, len(self._records) // 40))
        async with EventProducer(self._kafka) as producer:
            for first in range(0, len(self._records), size):
                part = self._records[first : first + size]
                # Before: it may have sent some, and workers counted them, when all are given.
                self.sent += len(part)
                await producer.write([r[1:] for r in part])
                await producer.submit()
                due = began + self._seconds * (first + len(part)) / len(self._records)
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    @property
    def is_done(self) -> bool:
        """Whether all records were given to the producer, or the last ones are."""
        return self.sent == len(self._records)

    def join(self, seconds: float) -> None:
        """Wait until all are acknowledged."""
        self._thread.join(seconds)
        if self._failure is not None:
            raise self._failure
        if self._thread.is_alive():
            raise TimeoutError("the records are not all acknowledged")


def write_and_abort(kafka: KafkaConfig, topic: str, partitions: int, count: int) -> None:
    """Write visits in a transaction that is aborted."""

    async def run() -> None:
        now = time.time_ns() // 1_000_000
        writer = TransactionalWriter(kafka, f"{kafka.group}-aborts-{random.random()}", 1 << 20)
        await writer.start()
        producer = writer._producer
        await producer.begin_transaction()
        for i in range(count):
            _, key, value = visit(f"aborted-{i}-{now}", now)
            await writer._send(Outgoing(topic, i % partitions, key, value))
        await producer.flush()
        await producer.abort_transaction()
        await writer.stop()

    asyncio.run(run())
