"""A stream in order of time whose KPIs move as alert rules expect it, sent as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from stream.config import KafkaConfig
from stream.core.settings import SECOND
from stream.core.timestamps import format_ms
from stream.generate.draws import Record
from stream.generate.pacing import as_they_happen
from stream.kafka.producer import EventProducer
from stream.replay.recorded import address

#: Rules of every kind for what ``records`` brings. A window moves by a pane at each evaluation.
CONFIGURATION: Final = """
[[window]]
size = "3s"
pane = "1s"
[[window]]
size = "30s"
pane = "1s"
[cart]
timeout = "3s"

[[alert]]
name = "Threshold"
kpi = "conversion"
window = "3s"
by = ["region"]
below = 0.3
clear = 0.5
for = "2s"
keep_firing_for = "2s"

[[alert]]
name = "Significant"
kpi = "csat"
window = "3s"
below = 0.7
significant = true

[[alert]]
name = "Spike"
kpi = "pages_per_visit"
window = "3s"
baseline = "30s"
factor = 2.0

[[alert]]
name = "Fall"
kpi = "acquisition"
window = "3s"
by = ["region"]
baseline = "30s"
factor = 0.5
min_samples = 20

[[alert]]
name = "TooFew"
kpi = "csat"
window = "3s"
by = ["channel"]
below = 0.5
min_samples = 30

[[alert]]
name = "NoData"
kpi = "rapid_response"
window = "3s"
by = ["region"]
below = 0.5
min_samples = 5
on_no_data = "resolve"

[[alert]]
name = "Carts"
kpi = "cart_abandonment"
window = "3s"
above = 0.7
clear = 0.45
min_samples = 5

[[alert]]
name = "Slow"
kpi = "art"
window = "3s"
above = 60.0
for = "1s"
min_samples = 10
"""
HEAD: Final = 'evaluate = "1s"'

#: How long the stream is, in ms.
LENGTH: Final = 18 * SECOND
#: What was before it is calm, and is sent first.
BEFORE: Final = 15 * SECOND
_EVERY: Final = 20


def records(start: int) -> Iterator[Record]:
    """The stream, of 50 events a second and kind; ``start`` is a whole second, in ms.

    Wherever a value crosses a threshold it does so for good, and seconds before it goes back.
    """
    for number in range(-BEFORE // _EVERY, LENGTH // _EVERY):
        at = start + number * _EVERY + 7
        for event in _events(number, at, (at - start) / SECOND):
            name = f"{start}-{number}-{event['type']}"
            stamped = {"event_id": name, "occurred_at": format_ms(at)}
            topic, key, value = address(orjson.dumps({**stamped, **event}))
            yield at, topic, key or b"", value


def _events(number: int, at: int, s: float) -> Iterator[dict[str, Any]]:
    """What happens ``s`` seconds after the start: calm, trouble, calm."""
    region = "eu" if number % 2 else "us"
    labels = {"region": region, "channel": "web" if number % 12 else "fax"}
    pick = number // 2 % 10
    yield {
        "type": "visit.ended",
        "visit_id": f"v{number}",
        "labels": labels,
        "converted": pick < (1 if 4 <= s < 11 and region == "eu" else 8),
        "new_customer": pick < (0 if 8 <= s < 13 and region == "us" else 5),
        "pages": 30 if 5 <= s < 9 else 1,
    }
    if number % 2 == 0:
        yield {
            "type": "survey.responded",
            "response_id": f"r{number}",
            "labels": labels,
            "survey": "csat",
            "score": 1 if 4 <= s < 10 and pick > 1 else 5,
        }
    elif number % 4 == 1 or 2 <= s < 6:  # There is something from the one region for a while only.
        yield {
            "type": "ticket.closed",
            "ticket_id": f"t{number}",
            "labels": {"region": "eu" if number % 4 == 1 else "us"},
            "opened_at": format_ms(at - (90 if 4 <= s < 11 else 20) * SECOND),
            "first_response_seconds": 5 if number % 4 == 1 else 900,
        }
    cart = {"cart_id": f"c{number}", "labels": labels}
    yield {"type": "cart.opened", **cart}
    if pick < (0 if 5 <= s < 9 else 9):
        yield {"type": "cart.purchased", **cart}


def send(kafka: KafkaConfig, stream: Sequence[Record]) -> float:
    """Send each record as it happens; how late the latest one was there, in seconds."""

    async def sending() -> float:
        first = stream[-1][0] - LENGTH
        async with EventProducer(kafka) as producer:
            for topic in {r[1] for r in stream}:
                await producer.fits(topic, None, b"")
            # A worker that evaluates has all of what was before, not carts without their purchases.
            now = time.time_ns() // 10**6
            latest = await _delivered(producer, [r for r in stream if r[0] <= now], first)
            async for records in as_they_happen(r for r in stream if r[0] > now):
                latest = max(latest, await _delivered(producer, records, first))
        return latest

    return asyncio.run(sending())


async def _delivered(producer: EventProducer, records: Sequence[Record], first: int) -> float:
    """Have the broker take records; how late those from ``first`` (ms) on were there, in seconds.

    Whoever evaluates does not wait for what it has not taken yet.
    """
    await producer.write([r[1:] for r in records])
    await producer.flush()
    now = time.time()
    return max((now - at / SECOND for at, *_ in records if at > first), default=0.0)


def soon() -> int:
    """The next whole second but one, in ms."""
    return (time.time_ns() // 10**9 + 2) * SECOND
