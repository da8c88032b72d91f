"""The events of the benchmark: a plausible company's, of all types, the latest of them now."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from stream.config import KafkaConfig
from stream.generate import company
from stream.generate.draws import Record
from stream.generate.pacing import SLICE, now_ms
from stream.kafka.producer import EventProducer
from stream.replay.recorded import address

#: Events are spread over about so many seconds of event time.
SPAN: Final = 3600
#: A Wednesday noon: all regions and journeys are about at their weekly mean.
_START: Final = 1_768_392_000_000
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    events: int
    mean_bytes: float
    topics: dict[str, int]
    minutes: float


def _generated(count: int) -> Iterator[Record]:
    """The same events each time, of times long ago."""
    return islice(company.events(_START, None, count / SPAN, _SEED), count)


def write(kafka: KafkaConfig, file: Path, count: int) -> Written:
    """Write events to their topics, and as JSON lines in order of time to a file."""
    last = max(record[0] for record in _generated(count))
    shift = now_ms() - last
    return asyncio.run(_write(kafka, file, count, shift, last))


async def _write(kafka: KafkaConfig, file: Path, count: int, shift: int, last: int) -> Written:
    topics: Counter[str] = Counter()
    size = 0
    records = _generated(count)
    with file.open("wb") as lines:
        async with EventProducer(kafka) as producer:
            while some := [address(r[3], shift) for r in islice(records, SLICE)]:
                await producer.write([(a.topic, a.key, a.value) for a in some])
                lines.write(b"".join(a.value + b"\n" for a in some))
                topics.update(a.topic for a in some)
                size += sum(len(a.value) for a in some)
    minutes = (last - _START) / 60_000
    return Written(count, size / count, dict(sorted(topics.items())), minutes)
