"""The shards of a worker: taken over, fed, flushed, and dropped the moment anything is in doubt.

A shard's state, source positions and dead letters are written in one transaction of a producer
whose transactional id names the shard. Taking over a shard is: start that producer (which fences
the owner before and aborts what it left open), read the state log to its end, fold it, and go on in
the sources where the state says. So each record counts once, whoever dies when.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.alerts import rfc3339
from stream.core.catalogue import FAMILIES
from stream.core.durations import about
from stream.core.event import DEAD_LETTER_OUTCOMES
from stream.core.merge import LEAD_MS
from stream.core.settings import SECOND, Settings
from stream.core.shard import Refusal, Shard
from stream.core.sharing import BEHIND_MS, Sharing
from stream.core.state import StateLog, StateRefused
from stream.core.topics import cart
from stream.core.values import OTHER, Values
from stream.deadletters.headers import (
    LEFT_OUT,
    Source,
    of_refusal,
    own,
    refusal_headers,
)
from stream.kafka import ids
from stream.kafka.belonging import (
    lacking,
    made_anew,
    notes_of,
    refuse_other_ids,
    refuse_other_partitions,
    refuse_other_prefix,
)
from stream.kafka.completeness import HELD_MS, CaughtUp
from stream.kafka.group import refuse_lost
from stream.kafka.header_count import HEADER_BYTES
from stream.kafka.inbox import Inbox
from stream.kafka.log import LARGEST_BATCH, Outgoing, TransactionalWriter, read_log
from stream.kafka.registry import ValueRegistry
from stream.kafka.topics import STATE_LIMIT, TopicMap, refuse_made_anew
from stream.kafka.transport import Chunk, ChunkThread
from stream.kafka.unpacking import Unread
from stream.metrics.view import Timing
from stream.sizes import batch_bytes

#: Dead letters beyond this many bytes make a flush due at once, so that memory stays bounded.
MOST_DEAD_LETTER_BYTES: Final = 8 * 1024 * 1024
#: So many records since the last flush make one due at once, so that deltas stay small.
MOST_RECORDS: Final = 50_000
#: A shard that is this far behind (ms) goes by the time of its events, not by the clock. What an
#: open transaction holds up makes none of one that keeps up.
_BEHIND_MS: Final = HELD_MS + 2 * SECOND

log = logging.getLogger(__name__)


@dataclass
class ShardCounts:
    """What a worker's shards have done since its start, for the metrics.

    What the state tells of the past is not in it: that is a shard's, and moves along with it.
    """

    flush: Timing = field(default_factory=Timing)
    flush_failures: int = 0
    recovery: Timing = field(default_factory=Timing)
    dead_letters: Counter[str] = field(default_factory=Counter)
    #: Bases of subscriptions that found no room.
    refused_bases: int = 0
    #: Starts and cancellations of subscriptions whose labels found no room.
    without_room: int = 0
    #: Source records that were gone when a shard came to read them, by topic.
    gaps: Counter[str] = field(default_factory=Counter)
    #: Entities that were forgotten before their time, by kind.
    forgotten: Counter[str] = field(default_factory=Counter)
    #: Up to where each partition of a topic is in ``gaps``.
    _missed: dict[tuple[str, int], int] = field(default_factory=dict)

    def miss(self, topic: str, partition: int, start: int, end: int) -> None:
        """Count records from offset ``start`` to before ``end`` as gone, each of them once.

        They are found anew where a shard is taken over again before that was durable.
        """
        counted = max(start, self._missed.get((topic, partition), start))
        self.gaps[topic] += max(0, end - counted)
        self._missed[topic, partition] = max(end, counted)


class OwnedShard:
    """A shard that this worker has taken over. It is fed by the agent and flushed by a timer."""

    def __init__(
        self,
        number: int,
        settings: Settings,
        values: Values,
        registry: ValueRegistry,
        kafka: KafkaConfig,
        topics: TopicMap,
    ) -> None:
        self.number = number
        self._registry = registry
        self._sharing: Sharing | None = None
        # That of a state which is begun; one that there is has its own.
        self.shard = Shard(settings, values, seed=secrets.randbits(64))
        self.log = StateLog(self.shard)
        #: Labels the chunks that were read since the last seek; 0 until the shard is live.
        self.epoch = 0
        #: The position up to which each source topic (without prefix) was received.
        self.positions: dict[str, int] = {}
        self._inbox = Inbox()
        self._kafka = kafka
        self._topics = topics
        #: Dead letters to be written, each with its source topic.
        self._letters: list[tuple[str, Outgoing]] = []
        self._letter_bytes = 0
        self._records_since_flush = 0
        #: What the state does not say yet of the topics that it is of.
        self._notes = notes_of(topics.names.prefix, topics.partitions, topics.ids)
        #: What this shard has forgotten early and counted, by kind.
        self._forgotten: Counter[str] = Counter()
        #: Whether it was told that there is no room for more segments.
        self._told_full = False
        #: Held by whoever flushes.
        self.flushing = asyncio.Lock()
        #: Whether a flush was begun whose outcome is not known (yet).
        self.in_doubt = False
        self._writer = TransactionalWriter(
            kafka,
            ids.of_shard(kafka.group, number),
            max(*topics.dead_letter_limits.values(), STATE_LIMIT),
            # The limit of a topic is that of a batch.
            min(*topics.dead_letter_limits.values(), LARGEST_BATCH),
        )

    @property
    def names(self) -> dict[str, str]:
        """Full names of this shard's source topics, by the name without prefix."""
        return {t: self._topics.names.source(t) for t in self._topics.topics_of(self.number)}

    def partitions(self) -> dict[TopicPartition, str]:
        """This shard's source partitions and their topics without prefix."""
        return {TopicPartition(full, self.number): topic for topic, full in self.names.items()}

    async def recover(self) -> None:
        """Fence the owner before and fold the state log.

        Raises:
            BrokerUnreachable, KafkaError, LogUnread: not now; try again.
            StateRefused: the state can't be used.
        """
        await self._registry.read()
        await self._writer.start()
        state, prefix = self._topics.names.state, self._topics.names.prefix
        records = await read_log(self._kafka, state, self.number)
        if not records:
            await refuse_lost(self._kafka, state, self.partitions())
        try:
            refuse_other_prefix(records, prefix)
            self.log.recover(records)
            partitions, ids_now = self._topics.partitions, self._topics.ids
            positions = self.shard.progress.positions
            refuse_other_ids(records, prefix, ids_now, positions)
            refuse_other_partitions(records, prefix, partitions, positions)
            # Of what is read of them none had its dead letter written: those were the former's.
            for topic in made_anew(records, ids_now, self.shard.progress.buried):
                self.shard.progress.buried[topic] = 0
            self._notes = lacking(records, prefix, partitions, ids_now)
        except StateRefused as error:
            raise StateRefused(f"topic {state} partition {self.number}: {error}") from error
        self._sharing = Sharing(self.shard, self.number, uuid.uuid4().hex)

    async def find_positions(
        self, thread: ChunkThread, counts: ShardCounts
    ) -> dict[TopicPartition, int]:
        """Where to go on in the sources; what is gone there is counted.

        Raises:
            StateRefused: a source ends before the state's position, so it is not the same topic.
        """
        self.take_waiting()  # It is beyond what was applied, so it is read again.
        partitions = self.partitions()
        first, end = await thread.bounds(list(partitions))
        progress = self.shard.progress
        for tp, topic in partitions.items():
            position = progress.positions.get(topic, first[tp])
            refuse_made_anew(tp, position, end[tp])
            if position < first[tp]:
                gap = first[tp] - position
                progress.gaps[topic] = progress.gaps.get(topic, 0) + gap
                counts.miss(topic, self.number, position, first[tp])
                position = first[tp]
            self.positions[topic] = position
            progress.positions[topic] = position
        return {tp: self.positions[topic] for tp, topic in partitions.items()}

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        """Take a chunk that begins at the topic's position; what to apply now, if anything.

        Records of a quiet partition wait for others, until the next flush: before that nobody would
        see what they add.
        """
        self.positions[topic] = chunk.end
        self._records_since_flush += len(chunk.records)
        return self._inbox.add(topic, chunk)

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        """What was received and has to be applied before a flush, by topic; nothing waits then."""
        return self._inbox.take()

    def apply(self, topic: str, chunk: Chunk) -> None:
        """Count the records of a chunk that follows what was applied. Awaits nothing."""
        refusals = self.shard.ingest(topic, chunk.values, now_ms())
        if refusals:
            self._bury(topic, chunk, refusals)
        self.shard.progress.positions[topic] = chunk.end

    @property
    def overfull(self) -> bool:
        """Whether a flush is due at once."""
        return (
            self._letter_bytes > MOST_DEAD_LETTER_BYTES or self._records_since_flush > MOST_RECORDS
        )

    def _bury(self, topic: str, chunk: Chunk, refusals: Iterable[Refusal]) -> None:
        buried = self.shard.progress.buried.get(topic, 0)
        for refusal in refusals:
            record = chunk.records[refusal.place]
            if refusal.outcome not in DEAD_LETTER_OUTCOMES or record.offset < buried:
                continue
            letter = self._letter(topic, chunk, record, refusal)
            self._letters.append((topic, letter))
            self._letter_bytes += _size(letter) + HEADER_BYTES * len(letter.headers)

    def _letter(self, topic: str, chunk: Chunk, record: Any, refusal: Refusal) -> Outgoing:
        left_out = record.reason if isinstance(record, Unread) else None
        if left_out:
            refusal = refusal._replace(reason=left_out)
        target = self._topics.names.dead_letters(topic)
        said = dead_letter_headers(chunk, record.offset, refusal, self._kafka.group)
        headers = [*own(record.headers), *said]
        letter = Outgoing(target, self.number, record.key, record.value, headers)
        size = _size(letter)
        if left_out is None and size > self._topics.dead_letter_limits[topic]:
            left_out = f"{size} bytes, more than the topic takes unpacked"
        return without_value(letter, left_out) if left_out else letter

    async def flush(self, counts: ShardCounts, complete_to: int | None = None) -> None:
        """Write what has changed, as one transaction; nothing where one is under way.

        ``complete_to`` (ms): tell the owners of the families too, and that all that the sources
        held then is applied.

        Raises:
            BrokerUnreachable, FlushFailed: the shard must be dropped and taken over anew.
        """
        await self._registry.settle()
        if self.in_doubt:
            return
        # Already while it is collected: whatever fails then would be missing from a later flush.
        self.in_doubt = True
        started, now = time.monotonic(), time_of(self.shard, now_ms())
        shares = self._shares(now, complete_to)
        state = self.log.flush(now)
        buried, self._letters, self._letter_bytes = self._letters, [], 0
        self._records_since_flush = 0
        if not state and not shares:
            self.in_doubt = False
            return
        state += self._notes
        letters = [letter for _, letter in buried]
        names = self._topics.names
        records = [Outgoing(names.state, self.number, key, value) for key, value in state]
        active = self.shard.active
        refused_bases, active.refused_bases = active.refused_bases, 0
        without_room, active.without_room = active.without_room, 0
        forgotten = Counter(self.shard.newly_forgotten())
        await self._writer.write([*letters, *records, *shares])
        self.in_doubt, self._notes = False, []
        counts.flush = counts.flush.plus(time.monotonic() - started)
        counts.dead_letters.update(topic for topic, _ in buried)
        counts.refused_bases += refused_bases
        counts.without_room += without_room
        counts.forgotten.update(forgotten)
        counts.forgotten.subtract(self._forgotten)
        self._forgotten = forgotten
        self._tell_full()

    def _tell_full(self) -> None:
        """Log, once, that combinations of values are not kept apart any more."""
        if self.shard.segments.is_full and not self._told_full:
            self._told_full = True
            log.warning(
                "shard %d has no room for more than %d combinations of values (max_segments):"
                " further ones count as %s",
                self.number,
                self.shard.settings.max_segments,
                OTHER,
            )

    def _shares(self, now: int, complete_to: int | None) -> list[Outgoing]:
        """Bring the shard up to date and put into words what the owners of families must know."""
        shard = self.shard
        shard.segments.settle()
        shard.active.settle()
        if complete_to is None and self._sharing is not None and self._sharing.is_whole:
            return []
        complete_to = min(now, complete_to or 0)
        shard.advance(settled_until(now, complete_to, shard.progress.clocks.get(cart.NAME, 0)))
        shard.fold(now)
        if self._sharing is None:
            return []
        topic = self._topics.names.shares
        return [
            Outgoing(topic, FAMILIES.index(family), key, value)
            for family, records in self._sharing.collect(now, complete_to).items()
            for key, value in records
        ]

    def complete_to(self, caught_up: Mapping[TopicPartition, CaughtUp]) -> int:
        """The latest time (ms) such that all that the sources held then is received; 0: never."""
        times = []
        for tp, topic in self.partitions().items():
            found = caught_up.get(tp)
            if found is None or self.positions.get(topic, -1) < found.position:
                return 0
            times.append(found.at)
        return min(times, default=0)

    async def close(self) -> None:
        """Let go of the shard; what was not flushed is left to the next owner."""
        self.epoch = 0
        self.in_doubt = True  # Who waits for a flush to end finds nothing to flush any more.
        self.shard.close()
        await self._writer.stop()


def tell_changes(shards: Iterable[OwnedShard]) -> None:
    """Log, once for all shards, what becomes of a state that was written with other settings."""
    facts = dict.fromkeys(fact for shard in shards for fact in shard.log.facts)
    for fact in facts:
        log.warning("the state was written with other settings: %s", fact)
    if facts:
        log.warning("what becomes of it is final; `cxkpi check --state` tells it before a start")


def tell_lead(shards: Iterable[OwnedShard], clock: int) -> None:
    """Log, once for all shards, that a worker whose clock was far ahead has written the state."""
    latest = max((owned.shard.progress.now for owned in shards), default=clock)
    if latest - clock > LEAD_MS:
        log.warning(
            "the state is %s ahead of the clock, as a worker's was that wrote it: until %s KPIs are"
            " absent and no alert rule is evaluated; wait, or `cxkpi state rebuild`",
            about(latest - clock),
            rfc3339(latest + BEHIND_MS),
        )


def time_of(shard: Shard, clock: int) -> int:
    """A shard's time (ms): the clock's, but where that was set back time stands still.

    Else its beats would look old to the owners of the families, who would miss the shard.
    """
    return max(clock, shard.progress.now)


def settled_until(now: int, complete_to: int, seen: int) -> int:
    """Up to when a cart without an event is abandoned. All times are in ms.

    ``complete_to``: all that the sources held then is applied; ``seen``: the time of the carts'
    latest event. A shard that is behind goes by the time of its events, so that what it shows while
    it catches up is right for the events that it has seen.
    """
    return complete_to if now - complete_to < _BEHIND_MS else max(complete_to, min(now, seen))


def dead_letter_headers(
    chunk: Chunk, offset: int, refusal: Refusal, group: str
) -> list[tuple[str, bytes]]:
    """Why a record was refused, by a worker of which group, and where it lies."""
    return refusal_headers(
        Source(chunk.topic, chunk.partition, offset),
        "VALUE_CONVERTER",
        f"{refusal.path}: {refusal.reason}",
        outcome=refusal.outcome,
        field=refusal.path,
        reason=refusal.reason,
        group=group,
    )


def _size(letter: Outgoing) -> int:
    return batch_bytes(letter.key, letter.value, letter.headers)


def without_value(letter: Outgoing, why: str) -> Outgoing:
    """The letter of a record that could not be read, or is larger than the letters' topic takes.

    It must not hold up the good ones; where the record lies is in the headers.
    """
    headers = [*of_refusal(letter.headers), (LEFT_OUT, why.encode())]
    return letter._replace(key=None, value=None, headers=headers)
