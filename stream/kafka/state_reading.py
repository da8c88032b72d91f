"""Reads a group's state from outside, while workers go on or none is there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.config import KafkaConfig
from stream.core.inspection import Inspection, inspect
from stream.core.state import StateRefused
from stream.deadletters.headers import SOURCE_OFFSET, SOURCE_TOPIC, is_of
from stream.kafka.administration import administration, counts, present
from stream.kafka.belonging import (
    made_anew,
    refuse_other_ids,
    refuse_other_partitions,
    refuse_other_prefix,
)
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import read_log
from stream.kafka.reading import Stalled, begin_at, reader, started, to_end
from stream.kafka.topics import Names

#: Workers of several groups may bury records of a topic, so more than the last letter is looked at.
_LAST_LETTERS: Final = 1_000
#: How often a state is read before it is called damaged.
_READINGS: Final = 3
#: Looking at them is given up when nothing has come for so long, in seconds.
_SILENCE: Final = 60.0


async def read_state(
    kafka: KafkaConfig,
    sources: Mapping[str, int] | None = None,
    ids: Mapping[str, str] | None = None,
) -> list[Inspection]:
    """What each partition of the state holds; nothing where there is no state.

    It is refused where it was written while the source topics had other numbers of partitions than
    ``sources`` says, by name without prefix, or of others than ``ids`` says; None: they do not
    matter.

    Raises:
        BrokerUnreachable, LogUnread: it can't be read.
        TopicsUnfit: it may not be described.
    """
    name = Names(kafka.topic_prefix, kafka.group).state
    # One after the other, and folded apart: a state may be large.
    return [
        await _inspected(kafka, name, number, sources or {}, ids or {})
        for number in range(await _partitions(kafka, name))
    ]


async def _inspected(
    kafka: KafkaConfig,
    name: str,
    number: int,
    sources: Mapping[str, int],
    ids: Mapping[str, str],
) -> Inspection:
    """A partition of the state.

    While it is read a worker may write on, and what is older be compacted away in between: what
    seems to be damaged is read anew before that is said.
    """

    async def read() -> tuple[Inspection, str | None]:
        records = await read_log(kafka, name, number, beside_writer=True)
        return await asyncio.to_thread(_inspect, records, kafka.topic_prefix, sources, ids)

    inspection, unfit = await read()
    for _ in range(_READINGS - 1):
        if inspection.refusal is None:
            break
        inspection, unfit = await read()
    return dataclasses.replace(inspection, refusal=inspection.refusal or unfit)


def _inspect(
    records: Mapping[bytes, bytes],
    prefix: str,
    sources: Mapping[str, int],
    ids: Mapping[str, str],
) -> tuple[Inspection, str | None]:
    """As ``inspect``, and why the state can't be used though it is whole.

    Of a state of other topics there are no more than sizes: its positions are theirs.
    """
    found = inspect(records)
    try:
        refuse_other_prefix(records, prefix)
    except StateRefused as error:
        return Inspection(found.total, found.deltas, found.blocks, refusal=str(error)), None
    try:
        farthest = Counter(found.positions) | Counter(found.buried)
        found = dataclasses.replace(found, made_anew=made_anew(records, ids, farthest))
        refuse_other_ids(records, prefix, ids, found.positions)
        refuse_other_partitions(records, prefix, sources, found.positions)
    except StateRefused as error:
        return found, str(error)
    return found, None


async def bounds(
    kafka: KafkaConfig, sources: Sequence[TopicPartition]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offsets and the ends of source partitions, as committed. Raises KafkaError."""
    if not sources:
        return {}, {}
    async with started(reader(kafka)) as consumer:
        return await consumer.beginning_offsets(sources), await consumer.end_offsets(sources)


async def last_buried(kafka: KafkaConfig, dead: TopicPartition, source: str) -> int:
    """The position in topic ``source`` after the record of the group's last dead letter.

    Raises:
        BrokerUnreachable, KafkaError: it can't be read.
    """
    try:
        async with started(reader(kafka)) as consumer:
            return await _last_buried(consumer, dead, source, kafka.group)
    except (Stalled, TimeoutError) as error:
        why = str(error) if isinstance(error, Stalled) else "no answer in time"
        raise BrokerUnreachable(
            f"topic {dead.topic} partition {dead.partition} can't be read: {why}"
        ) from None


async def _last_buried(
    consumer: AIOKafkaConsumer, dead: TopicPartition, source: str, group: str
) -> int:
    position = 0
    async with asyncio.timeout(_SILENCE):
        end = (await consumer.end_offsets([dead]))[dead]
        await begin_at(consumer, dead, end - _LAST_LETTERS)
    async for letters in to_end(consumer, dead, end, _SILENCE):
        for letter in letters:
            said = dict(letter.headers)
            if said.get(SOURCE_TOPIC) == source.encode() and is_of(letter.headers, group):
                offset = said.get(SOURCE_OFFSET) or b""
                position = max(position, int(offset) + 1 if offset.isdigit() else 0)
    return position


async def _partitions(kafka: KafkaConfig, name: str) -> int:
    async with administration(kafka) as admin:
        if not await present(admin, [name]):
            return 0
        return (await counts(admin, [name]))[name]
