"""The events of the benchmark: a plausible company's, of all types, the latest of them now."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.generate import company
from stream.generate.draws import Record
from stream.generate.noise import Noise, noisy
from stream.generate.pacing import SLICE
from stream.kafka.producer import EventProducer
from stream.replay.recorded import Addressed, address

#: Events are spread over about so many seconds of event time.
SPAN: Final = 3600
#: The share of events that come a second time, within two minutes.
DUPLICATES: Final = 0.005
#: A Wednesday noon: all regions and journeys are about at their weekly mean.
_START: Final = 1_768_392_000_000
_SEED: Final = 1

_CHANGES: Final = (b'"type":"survey.updated"', b'"type":"ticket.reopened"')


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    events: int
    mean_bytes: float
    topics: dict[str, int]
    minutes: float
    #: How many are repeats of one before.
    duplicates: int
    #: How many change an answer or reopen a ticket.
    changes: int

    @property
    def outcomes(self) -> dict[str, int]:
        """How many records have each outcome, where it is not 0."""
        found = {"accepted": self.events - self.duplicates, "duplicate": self.duplicates}
        return {outcome: n for outcome, n in found.items() if n}


def generated(count: int, span: int = SPAN) -> Iterator[Record]:
    """The same events each time, of times long ago; ``span`` is in seconds."""
    clean = company.events(_START, None, count / span, _SEED)
    return islice(noisy(clean, Noise(duplicates=DUPLICATES, seed=_SEED)), count)


def moved(records: Iterator[Record], shift: int) -> Iterator[Addressed]:
    """The records ``shift`` ms later, with topic and key."""
    return (address(record[3], shift) for record in records)


def write(kafka: KafkaConfig, file: Path, count: int) -> Written:
    """Write events to their topics, and as JSON lines in order of time to a file."""
    last = max(record[0] for record in generated(count))
    return asyncio.run(_write(kafka, file, count, now_ms() - last, last))


async def _write(kafka: KafkaConfig, file: Path, count: int, shift: int, last: int) -> Written:
    topics: Counter[str] = Counter()
    size = changes = 0
    values: set[int] = set()
    records = moved(generated(count), shift)
    with file.open("wb") as lines:
        async with EventProducer(kafka) as producer:
            while some := list(islice(records, SLICE)):
                await producer.write([(a.topic, a.key, a.value) for a in some])
                lines.write(b"".join(a.value + b"\n" for a in some))
                topics.update(a.topic for a in some)
                size += sum(len(a.value) for a in some)
                values.update(hash(a.value) for a in some)
                changes += sum(any(kind in a.value for kind in _CHANGES) for a in some)
    minutes = (last - _START) / 60_000
    repeats = count - len(values)
    return Written(count, size / count, dict(sorted(topics.items())), minutes, repeats, changes)
