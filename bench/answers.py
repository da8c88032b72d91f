"""The records of the like-for-like table: answers to NPS surveys and nothing else, and their truth.

They are clean: no repeats, no updates, nothing invalid, since the peers look for none of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from bench.job import PANE_SECONDS, Counts, with_score
from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.generate.draws import stamps
from stream.generate.pacing import SLICE
from stream.generate.profile import CHANNELS, REGIONS
from stream.kafka.producer import EventProducer

TOPIC: Final = "cx.survey"
#: Answers are spread over so many seconds of event time, the latest of them now: the window of two
#: hours still holds all of them when the last round ends.
SPAN: Final = 1800
_SEED: Final = 2
_STEP: Final = 20_000


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers in a topic of their own, and what counting them must give."""

    count: int
    prefix: str
    mean_bytes: float
    truth: Counts

    @property
    def topic(self) -> str:
        """The full name of the topic that holds them."""
        return self.prefix + TOPIC

    def by_segment(self) -> dict[str, tuple[int, int]]:
        """NPS's numerator and denominator by segment, over all panes."""
        sums: dict[str, tuple[int, int]] = {}
        for key, (promoters, detractors, n) in self.truth.items():
            segment = key.rsplit("/", 1)[0]
            balance, total = sums.get(segment, (0, 0))
            sums[segment] = (balance + promoters - detractors, total + n)
        return sums


def prefix_of(count: int) -> str:
    """The topic prefix of the first ``count`` answers."""
    return f"nps{count}."


def write(kafka: KafkaConfig, count: int) -> Answers:
    """Write the first ``count`` answers to their topic, which must be new."""
    with_prefix = kafka.model_copy(update={"topic_prefix": prefix_of(count)})
    return asyncio.run(_write(with_prefix, count, now_ms() - SPAN * 1000))


async def _write(kafka: KafkaConfig, count: int, start: int) -> Answers:
    truth: dict[str, list[int]] = {}
    size = 0
    records = _answers(count, start)
    async with EventProducer(kafka) as producer:
        while some := list(islice(records, SLICE)):
            await producer.write([(TOPIC, key, value) for key, value, _, _ in some])
            for _, value, counted, score in some:
                truth[counted] = with_score(truth.get(counted, (0, 0, 0)), score)
                size += len(value)
    return Answers(count, kafka.topic_prefix, size / count, truth)


def _answers(count: int, start: int) -> Iterator[tuple[bytes, bytes, str, int]]:
    """Key, value, the count that it adds to and the score of each, in order of time."""
    rng = np.random.default_rng(_SEED)
    step = SPAN * 1000 / count
    for first in range(0, count, _STEP):
        n = min(_STEP, count - first)
        at = start + ((first + np.arange(n)) * step).astype(np.int64)
        ids = rng.bytes(16 * n).hex()
        scores = (rng.beta(3.2, 1.1, n) * 11).astype(np.int64).clip(0, 10).tolist()
        channels = rng.integers(0, len(CHANNELS), n).tolist()
        regions = rng.integers(0, len(REGIONS), n).tolist()
        panes = (at // 1000 // PANE_SECONDS * PANE_SECONDS).tolist()
        for i, stamp in enumerate(stamps(at)):
            identity = ids[32 * i : 32 * i + 16]
            channel, region = CHANNELS[channels[i]], REGIONS[regions[i]]
            value = (
                f'{{"event_id":"{ids[32 * i + 16 : 32 * i + 32]}","type":"survey.responded",'
                f'"occurred_at":"{stamp}","labels":{{"channel":"{channel}","region":"{region}"}},'
                f'"response_id":"response-{identity}","survey":"nps","score":{scores[i]}}}'
            )
            counted = f"{channel}/{region}/{panes[i]}"
            yield f"response-{identity}".encode(), value.encode(), counted, scores[i]
