"""A great many records of one kind, with a kill -9 in their midst: repeats, garbage, large ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import orjson
import xxhash
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.producer import EventProducer
from tests.faults.compare import Message
from tests.faults.traffic import visit
from tests.faults.verdict import Verdict
from tests.kafka.conftest import Site
from tests.kafka.truth import outcomes

KINDS: Final = ("duplicates", "garbage", "large")
#: Large ones are fewer by this factor.
FEWER: Final = {"large": 2_000}
_MEGABYTE: Final = 1_000_000
#: So many different events are repeated.
_REPEATED: Final = 1_000
#: As a worker creates topics by default.
_PARTITIONS: Final = 4
_AT_ONCE: Final = 5_000


def messages(kind: str, count: int) -> Iterator[Message]:
    """Records of a kind."""
    now = time.time_ns() // 1_000_000
    for i in range(count):
        if kind == "duplicates":
            yield visit(f"repeated-{i % _REPEATED}", now)
        elif kind == "garbage":
            yield "cx.visit", b"%d" % i, b"garbage %d" % i
        else:
            topic, key, value = visit(f"large-{i}", now)
            yield topic, key, orjson.dumps({**orjson.loads(value), "note": "x" * _MEGABYTE})


def expected(kind: str, count: int) -> Counter[tuple[str, str]]:
    """What has to become of them."""
    if kind == "garbage":
        return Counter({("cx.visit", "invalid"): count})
    if kind == "large":
        return Counter({("cx.visit", "accepted"): count})
    accepted = min(count, _REPEATED)
    found = {("cx.visit", "accepted"): accepted, ("cx.visit", "duplicate"): count - accepted}
    return Counter(found)


def flood(site: Site, kind: str, count: int) -> Verdict:
    """Send so many records to a worker that is killed halfway, and compare what its heir counts."""
    began, verdict = time.monotonic(), Verdict(f"{count:,} {kind}")
    first = site.worker()
    first.until_ready()
    sent = asyncio.run(_send(site, kind, count))
    first.until(lambda: outcomes(first.scrape()).total() > count // 3, "counted a third", 300)
    first.kill()
    verdict.faults["kill -9"] += 1
    killed = time.monotonic()
    second = site.worker()
    second.until_ready()
    verdict.recoveries.append(time.monotonic() - killed)
    wanted = expected(kind, count)
    second.until(lambda: outcomes(second.scrape()).total() >= count, "counted all", 300)
    found = outcomes(second.scrape())
    if found != wanted:
        verdict.findings.append(f"the outcomes are {dict(found)}, not {dict(wanted)}")
    second.terminate()
    letters, digests = asyncio.run(_letters(site))
    if kind == "garbage" and (letters, digests) != (count, sent):
        verdict.findings.append(f"{letters} dead letters, whose bytes may differ, not {count}")
    if kind != "garbage" and letters:
        verdict.findings.append(f"{letters} dead letters")
    verdict.workers, verdict.events, verdict.letters = 2, count, letters
    verdict.seconds = time.monotonic() - began
    return verdict


async def _send(site: Site, kind: str, count: int) -> int:
    """Send the records; the sum of their digests."""
    digests, some = 0, list[Message]()
    async with EventProducer(site.config.kafka) as producer:
        for message in messages(kind, count):
            digests += _digest(message[1], message[2])
            some.append(message)
            if len(some) >= (20 if kind == "large" else _AT_ONCE):
                await producer.write(some)
                some = []
        await producer.write(some)
    return digests


async def _letters(site: Site) -> tuple[int, int]:
    """How many dead letters of visits there are, and the sum of their digests."""
    parts = [TopicPartition(site.source("cx.visit") + ".dlq", p) for p in range(_PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(parts)
        consumer.assign(parts)
        await consumer.seek_to_beginning(*parts)
        count, digests = 0, 0
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for some in (await consumer.getmany(timeout_ms=500)).values():
                count += len(some)
                digests += sum(_digest(r.key, r.value) for r in some)
        return count, digests
    finally:
        await consumer.stop()


def _digest(key: bytes | None, value: bytes | None) -> int:
    return xxhash.xxh3_64_intdigest((key or b"") + b"\0" + (value or b""))
