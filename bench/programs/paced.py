"""Writes events as they happen, at a fixed rate: the load while latency is measured.

The recorded events are sent with the present time as their ``occurred_at``, over and over; each
time their ids are others. It says "ready" when it begins, and what it has written when it ends.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.timestamps import format_ms
from stream.kafka.producer import EventProducer, Message
from stream.replay.recorded import Addressed, address

_TICK_SECONDS: Final = 0.05
_FIELD: Final = b'"occurred_at":"'


def repeated(events: list[Addressed]) -> Iterator[Addressed]:
    """The events for ever, those of each turn with ids of their own."""
    turn = 0
    while True:
        mark = b'_id":"%d-' % turn
        for event in events:
            key = None if event.key is None else b"%d-" % turn + event.key
            yield Addressed(event.topic, key, event.value.replace(b'_id":"', mark))
        turn += 1


def happening(event: Addressed, stamp: bytes) -> Message:
    """The event at another time."""
    value = event.value
    start = value.index(_FIELD) + len(_FIELD)
    end = value.index(b'"', start)
    return event.topic, event.key, value[:start] + stamp + value[end:]


async def send(kafka: KafkaConfig, events: list[Addressed], rate: float, seconds: float) -> str:
    source = repeated(events)
    async with EventProducer(kafka) as producer:
        print("ready", flush=True)
        began, cpu = time.monotonic(), time.process_time()
        sent = 0
        while (elapsed := time.monotonic() - began) < seconds:
            due = int(rate * elapsed) - sent
            stamp = format_ms(now_ms()).encode()
            await producer.write([happening(e, stamp) for e in islice(source, due)])
            await producer.submit()
            sent += due
            await asyncio.sleep(max(0.0, _TICK_SECONDS - (time.monotonic() - began - elapsed)))
        await producer.flush()
        took = time.monotonic() - began
        return json.dumps({"sent": sent, "seconds": took, "cpu": time.process_time() - cpu})


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--prefix", required=True)
@click.option("--file", type=click.Path(path_type=Path), required=True)
@click.option("--rate", type=float, required=True)
@click.option("--seconds", type=float, required=True)
def main(bootstrap: str, prefix: str, file: Path, rate: float, seconds: float) -> None:
    kafka = KafkaConfig(bootstrap=bootstrap, topic_prefix=prefix)
    with file.open("rb") as lines:
        found = (address(line.rstrip(b"\n")) for line in islice(lines, int(rate * seconds)))
        events = [e for e in found if b'"subscription.base"' not in e.value]
    print(asyncio.run(send(kafka, events, rate, seconds)), flush=True)


if __name__ == "__main__":
    main()
