"""Making a group's state anew: ``reset`` begins at the sources' ends, ``rebuild`` at their starts.

In this order, so that a process killed anywhere leaves nothing that passes for a state:
the group has no members → whoever still writes is fenced → the offsets of all sources get a note
(no worker starts from here on, and a second run knows where the first began) → topics are deleted
and made → each partition of the state gets its first records → the notes give way to plain offsets.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.errors import StopError
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from stream.kafka import ids
from stream.kafka.administration import (
    administration,
    counts,
    create,
    present,
    raise_passing,
    reason_of,
    topic_ids,
)
from stream.kafka.belonging import notes_of
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.group import How, Note, commit, committed, members
from stream.kafka.log import FENCED, FlushFailed, Outgoing, TransactionalWriter
from stream.kafka.state_reading import bounds, last_buried, read_state
from stream.kafka.topics import COMPACTED, STATE_LIMIT, Names

#: How often to look whether a topic is gone, a tenth of a second apart.
_LOOKS: Final = 300


class NotRenewed(StopError):
    """The state can't be made anew now; the message says why."""


@dataclass(frozen=True)
class Plan:
    """What a renewal destroys and where counting begins, before anything is done."""

    how: How
    names: Names
    #: Existing topics that are deleted.
    doomed: Sequence[str]
    #: Partitions of the existing source topics, by name without prefix.
    partitions: Mapping[str, int]
    #: Where counting begins, and where sources end, by source partition.
    begin: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    #: Records before these positions had their dead letters written.
    buried: Mapping[TopicPartition, int]
    #: What was begun before and not finished.
    unfinished: How | None = None
    #: Offsets that carry notes and are of topics that these are not: what was begun for another
    #: prefix, and gives way to this.
    replaced: Mapping[TopicPartition, int] = field(default_factory=dict)
    #: Other groups that have a state.
    others: Sequence[str] = ()
    #: The ids of the source topics where the broker tells them, by name without prefix.
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def shards(self) -> int:
        """How many partitions the new state has."""
        return max(self.partitions.values())

    @property
    def to_read(self) -> int:
        """How many records are to be read."""
        return sum(end - self.begin[tp] for tp, end in self.ends.items())


async def plan(kafka: KafkaConfig, how: How) -> Plan:
    """Look at what there is.

    Raises:
        BrokerUnreachable: no broker answers.
        NotRenewed: the group has members, or there is nothing that was ever read.
        TopicsUnfit: a topic may not be described, so that nobody knows what there is.
    """
    names = Names(kafka.topic_prefix, kafka.group)
    async with administration(kafka) as admin:
        await _refuse_members(admin, kafka.group)
        sources, dead = map(names.source, TOPICS), map(names.dead_letters, TOPICS)
        # Whatever is there, none of the others may be thought of as gone that is only not listed.
        there = await present(admin, (*names.internal, *sources, *dead), bool)
        others = set(await admin.list_topics()) - {names.state}
        kept = (names.alert_state, names.values) if how == "rebuild" else ()
        doomed = [t for t in names.internal if t in there and t not in kept]
        full = {topic: names.source(topic) for topic in TOPICS if names.source(topic) in there}
        found = await counts(admin, full.values())
        partitions = {topic: found[name] for topic, name in full.items()}
        if not partitions:
            raise NotRenewed(f"none of the source topics of group {kafka.group} is there")
        # Before the ends, so that positions count as those of the topics that they are of.
        ids_now = await topic_ids(admin, full)
        said = await committed(admin, kafka.group)
        plain = {TopicPartition(full[t], p): t for t, n in partitions.items() for p in range(n)}
        starts, ends = await bounds(kafka, list(plain))
        lettered = [name for t in partitions if (name := names.dead_letters(t)) in there]
        letters = await counts(admin, lettered)
        buried = await _buried(kafka, names, letters, plain, said.notes, ids_now)
    begin = {tp: starts[tp] for tp in plain}
    if how == "reset":
        for tp in plain:
            note = said.notes.get(tp)
            end = note.offset if note is not None and note.how == "reset" else ends[tp]
            begin[tp] = max(starts[tp], end)
    return Plan(
        how,
        names,
        doomed,
        partitions,
        begin,
        ends,
        # A source that ends before is another now, or has lost records: what comes there is new.
        {tp: min(buried.get(tp, 0), ends[tp]) for tp in plain},
        next((note.how for note in said.notes.values()), None),
        {tp: note.offset for tp, note in said.notes.items() if tp not in plain},
        _groups(others),
        ids_now,
    )


def _groups(topics: set[str]) -> list[str]:
    """The groups whose own topics are among these."""
    ends = Names("", "").internal
    states = [t.removesuffix(ends[0]) for t in topics if t.endswith(ends[0])]
    return sorted(g for g in states if all(g + end in topics for end in ends))


async def _buried(
    kafka: KafkaConfig,
    names: Names,
    dead: Mapping[str, int],
    sources: Mapping[TopicPartition, str],
    notes: Mapping[TopicPartition, Note],
    ids_now: Mapping[str, str],
) -> dict[TopicPartition, int]:
    """Up to where dead letters were written: as notes and state say, else as the last ones say.

    Neither notes nor state say it alone: a worker that has joined just as the notes were written
    goes on beyond some of them, and others give way to what it commits.
    Of a source that was made anew since it was read none were.
    ``dead`` has the partitions of each topic of dead letters.
    """
    buried = {tp: note.buried for tp, note in notes.items()}
    for number, found in enumerate(await read_state(kafka, ids=ids_now)):
        for positions in (found.positions, found.buried):
            for topic, position in positions.items():
                tp = TopicPartition(names.source(topic), number)
                if topic in found.made_anew:
                    buried[tp] = 0
                    continue
                note = notes.get(tp)
                if positions is found.positions and note is not None and position == note.offset:
                    continue  # That is where the one begun before has the state begin.
                buried[tp] = max(position, buried.get(tp, 0))
    for tp, topic in sources.items():
        name = names.dead_letters(topic)
        if tp not in buried and tp.partition < dead.get(name, 0):
            letters = TopicPartition(name, tp.partition)
            buried[tp] = await last_buried(kafka, letters, tp.topic)
    return buried


async def renew(kafka: KafkaConfig, settings: Settings, how: How) -> Plan:
    """Do what ``plan`` says, and say what was done; may be run again where it was killed.

    Raises:
        BrokerUnreachable, FlushFailed, LogUnread: the broker does not do it; run it again.
        NotRenewed, GroupInUse: a worker, or another run, has started meanwhile.
    """
    try:
        return await _renew(kafka, settings, how)
    except (BrokerUnreachable, FlushFailed) as error:
        if not isinstance(error.__cause__, FENCED):
            raise
        raise NotRenewed(
            f"another reset or rebuild of group {kafka.group} has taken over: `cxkpi state show`"
            " tells what comes of it"
        ) from error


async def _renew(kafka: KafkaConfig, settings: Settings, how: How) -> Plan:
    shards = (await plan(kafka, how)).shards
    async with AsyncExitStack() as stack:
        writers = [
            TransactionalWriter(kafka, ids.of_shard(kafka.group, n), STATE_LIMIT)
            for n in range(shards)
        ]
        # Who still writes the alerts' state or the registry has no business with it either.
        others = [
            TransactionalWriter(kafka, other, STATE_LIMIT) for other in ids.of_others(kafka.group)
        ]
        async with administration(kafka) as admin:
            for writer in (*writers, *others):
                stack.push_async_callback(writer.stop)
            for writer in (*writers, *others):
                await writer.start()
            # Only now nobody writes any more, so that what is read here is the last.
            planned = await plan(kafka, how)
            if planned.shards != shards:
                raise NotRenewed("the number of source partitions changes right now: run it again")
            notes = {
                tp: Note(how, offset, planned.buried[tp]).offset_and_metadata()
                for tp, offset in planned.begin.items()
            }
            await commit(kafka, notes)
            await _refuse_members(admin, kafka.group)
            await _delete(admin, planned.doomed)
            await _grow_dead_letters(admin, planned)
            # That of the alerts too, or the next worker would take it for lost.
            own = {planned.names.state: planned.shards, planned.names.alert_state: 1}
            await create(admin, kafka, own, COMPACTED)
            await counts(admin, [planned.names.state])
        for number, writer in enumerate(writers):
            await writer.write(_first_records(settings, planned, number))
    # Not before the end: until then who goes back to the other prefix finds its notes.
    offsets = {**planned.replaced, **planned.begin}
    await commit(kafka, {tp: OffsetAndMetadata(n, "") for tp, n in offsets.items()})
    return planned


def _first_records(settings: Settings, planned: Plan, number: int) -> list[Outgoing]:
    """What a partition of the new state begins with."""
    shard = Shard(settings, Values(settings), seed=secrets.randbits(64))
    for topic, n in planned.partitions.items():
        if number < n:
            tp = TopicPartition(planned.names.source(topic), number)
            shard.progress.buried[topic] = planned.buried[tp]
            if planned.how == "reset":
                shard.progress.positions[topic] = planned.begin[tp]
    notes = notes_of(planned.names.prefix, planned.partitions, planned.ids)
    records = [*StateLog(shard).flush(now_ms()), *notes]
    return [Outgoing(planned.names.state, number, key, value) for key, value in records]


async def _refuse_members(admin: AIOKafkaAdminClient, group: str) -> None:
    live = await members(admin, group)
    if live:
        raise NotRenewed(
            f"workers of group {group} are running, stop them first: {', '.join(live)}"
        )


async def _delete(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    if not topics:
        return
    answer = await admin.delete_topics(list(topics))
    for name, code in answer.topic_error_codes:
        if code not in (0, UnknownTopicOrPartitionError.errno):
            forbidden = code == TopicAuthorizationFailedError.errno
            reason = "the right to delete it is missing" if forbidden else reason_of(code)
            failed = f"topic {name} can't be deleted: {reason}"
            raise_passing(code, failed)
            raise NotRenewed(failed)
    for _ in range(_LOOKS):
        if not set(topics) & set(await admin.list_topics()):
            return
        await asyncio.sleep(0.1)
    raise NotRenewed(
        "topics are still there after they were deleted, or another reset or rebuild has made them"
        f" anew: {', '.join(topics)}"
    )


async def _grow_dead_letters(admin: AIOKafkaAdminClient, planned: Plan) -> None:
    """A dead letter lies in the partition of its source."""
    names = {planned.names.dead_letters(t): n for t, n in planned.partitions.items()}
    found = await counts(admin, await present(admin, names))
    more = {name: NewPartitions(names[name]) for name, n in found.items() if n < names[name]}
    if more:
        await admin.create_partitions(more)
