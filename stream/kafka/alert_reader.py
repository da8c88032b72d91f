"""Reads the alert topic for a sink: all that it has not acknowledged, one worker at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, Final

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    ConsumerStoppedError,
    TopicPartition,
)
from aiokafka.errors import OffsetMetadataTooLargeError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.settings import DAY, HOUR
from stream.deadletters.headers import UNDELIVERED, Source, is_of, own, refusal_headers
from stream.kafka.acknowledged import LONGEST_NOTE, NO_NOTE, Acknowledged
from stream.kafka.administration import administration
from stream.kafka.connection import (
    abandon,
    calm,
    calm_reader,
    client_options,
    tell_heartbeats,
)
from stream.kafka.ending import say_goodbye
from stream.kafka.topics import DEAD_LETTER_ROOM, STATE_LIMIT, Names
from stream.sinks.dispatcher import Delivery

#: A sink may be tried for a week; that must not cost it its place in the group.
_MOST_SILENCE_MS: Final = 8 * DAY
#: How often a reader looks whether its group has failed, and shows that it lives, in seconds.
_LOOK_SECONDS: Final = 1.0
#: How long what is underway may take to end when another worker takes over, in seconds.
_LAST_WORDS_SECONDS: Final = 3.0
#: So many changes may pass one that can't be delivered; all are kept in mind until it is.
_MOST_PASSED: Final = 10_000
#: How often the changes of other groups that were passed over are committed, in seconds.
_COMMIT_SECONDS: Final = 1.0

#: A sink that is new is told of so long ago, in ms.
NEWS_MS: Final = HOUR

Work = Callable[[AsyncIterator[Delivery]], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)


class AlertReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """The group's committed changes that a sink has not acknowledged, and all that follow.

    The workers of a group share the sink's consumer group, so that one of them reads a partition.
    """

    def __init__(self, kafka: KafkaConfig, names: Names, sink: str) -> None:
        self._kafka = kafka
        self._names = names
        self._sink = sink
        self._group = f"{kafka.group}-sink-{sink}"
        self._turn = asyncio.Event()
        #: When the group was asked last of what it said that we are a member (monotonic seconds).
        self._member_at = 0.0
        self._is_member = asyncio.Event()
        self._committing = asyncio.Lock()
        self._working: asyncio.Future[None] | None = None
        self._acknowledged: dict[TopicPartition, Acknowledged] = {}
        #: So many bytes of notes the broker takes with a commit, as far as it has said.
        self._longest_note = LONGEST_NOTE
        self._moved_on = asyncio.Event()
        #: When what was passed over is committed next, by the monotonic clock.
        self._commit_at = 0.0
        self._consumer: Any = None
        self._producer: Any = None

    async def serve(self, work: Work) -> None:
        """Have ``work`` deal with the changes whenever it is our turn, until it ends by itself.

        It is cancelled when another worker takes over, before that one begins.

        Raises:
            Exception: what Kafka's client, also where it is not our turn, or ``work`` raises.
        """
        self._consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=self._group,
            isolation_level="read_committed",
            # A position that is gone is told to us: whoever is put back to the beginning unasked
            # passes over it as done.
            auto_offset_reset="none",
            enable_auto_commit=False,
            session_timeout_ms=self._kafka.session_timeout_ms,
            heartbeat_interval_ms=self._kafka.session_timeout_ms // 3,
            max_poll_interval_ms=_MOST_SILENCE_MS,
        )
        calm_reader(self._consumer)
        self._consumer.subscribe([self._names.alerts], listener=self)
        try:
            await self._consumer.start()
            tell_heartbeats(self._consumer._coordinator, self._note_member)  # noqa: SLF001
            is_over = False
            while not is_over:
                await self._until_our_turn()
                is_over = await self._while_ours(work)
        finally:
            self._turn.clear()
            producer, self._producer = self._producer, None
            buriers = [] if producer is None else [partial(abandon, producer)]
            await say_goodbye(self._consumer.stop, *buriers)

    async def _until_our_turn(self) -> None:
        turn = asyncio.ensure_future(self._turn.wait())
        try:
            await self._as_member(turn)
        finally:
            turn.cancel()

    async def _while_ours(self, work: Work) -> bool:
        """Have the work done; whether it has ended, rather than lost its turn."""
        working = self._working = asyncio.ensure_future(work(self._deliveries()))
        try:
            await self._as_member(working)
        finally:
            if working.cancel():
                await asyncio.wait({working})
        if working.cancelled():
            return False
        working.result()
        return True

    async def _as_member(self, awaited: asyncio.Future[Any]) -> None:
        """Wait for something, and for as long see that the group has us as a member.

        Only who asks for records is told by Kafka's client what has ended the heartbeats, or that
        the group has refused us, after which it does nothing more; and who asks for none for long
        it takes for dead. Nobody asks while it is not our turn, or as much is underway as may be.
        """
        while not (await asyncio.wait({awaited}, timeout=_LOOK_SECONDS))[0]:
            self._consumer._coordinator.check_errors()  # noqa: SLF001
            with self._consumer._subscription.fetch_context():  # noqa: SLF001
                pass

    # The group ----------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Stop what is underway before another worker begins with it."""
        self._turn.clear()
        if self._working is not None and self._working.cancel():
            await asyncio.wait({self._working}, timeout=_LAST_WORDS_SECONDS)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begin where the worker before us ended."""
        self._acknowledged = {tp: Acknowledged() for tp in assigned}
        self._note_member(time.monotonic())
        if assigned:
            self._turn.set()

    def _note_member(self, at: float) -> None:
        self._member_at = at
        self._is_member.set()

    async def _our_turn(self) -> None:
        """Wait until no other worker can have our turn.

        A worker that is cut off from Kafka, or stands still, is told late that it has lost it: when
        others may have delivered what came after what it still has underway. That ends it.
        """
        while time.monotonic() - self._member_at >= self._kafka.session_timeout_ms / 1000:
            self._is_member.clear()
            await self._is_member.wait()

    # Records ------------------------------------------------------------------------------------

    async def _deliveries(self) -> AsyncIterator[Delivery]:
        await self._recall()
        while True:
            while any(p.is_full(_MOST_PASSED) for p in self._acknowledged.values()):
                self._moved_on.clear()
                await self._moved_on.wait()
            try:
                record: ConsumerRecord = await self._consumer.getone()
            except ConsumerStoppedError:
                return
            except OffsetOutOfRangeError as error:
                for tp, position in error.args[0].items():
                    await self._begin_again(tp, position)
                continue
            tp = TopicPartition(record.topic, record.partition)
            acknowledged = self._acknowledged[tp]
            if not acknowledged.begin(record.offset):
                continue
            if not is_of(record.headers, self._kafka.group):
                # Its own group's sinks are told of it.
                await self._pass_over(acknowledged, tp, record.offset)
            else:
                yield Delivery(
                    record.value or b"",
                    partial(self._acknowledge, acknowledged, tp, record.offset),
                    partial(self._bury, record),
                    self._our_turn,
                )

    async def _recall(self) -> None:
        """Learn what was acknowledged out of turn, so that it is not delivered once more."""
        async with administration(self._kafka) as admin:
            found = await admin.list_consumer_group_offsets(
                self._group, partitions=list(self._acknowledged)
            )
        for tp in self._acknowledged:
            committed = found.get(tp)
            if committed is not None and committed.offset >= 0:
                self._acknowledged[tp] = Acknowledged.recalled(committed.offset, committed.metadata)
            else:
                await self._begin(tp)

    async def _begin(self, tp: TopicPartition, undone: int = -1) -> int:
        """Begin for a sink that is new: it is told what happened lately, not a week of old news.

        Nor is what lies from ``undone`` on left out. Returns where the partition ends.
        """
        # The end is asked for first: what is appended meanwhile is late enough.
        end = int((await self._consumer.end_offsets([tp]))[tp])
        since = now_ms() - NEWS_MS
        found = (await self._consumer.offsets_for_times({tp: since}))[tp]
        first = end if found is None else min(end, found.offset)
        if undone >= 0:
            first = min(first, undone)
        self._consumer.seek(tp, first)
        # From now on nothing is left out, however long it takes until something is delivered.
        await self._consumer.commit({tp: OffsetAndMetadata(first, "")})
        return end

    async def _begin_again(self, tp: TopicPartition, position: int) -> None:
        """Go on where nothing lies at the position any more, and leave out nothing that is left."""
        where = f"sink {self._sink}: {tp.topic} partition {tp.partition}"
        first = (await self._consumer.beginning_offsets([tp]))[tp]
        if position < first:
            log.warning("%s begins at %d, the changes from %d on are gone", where, first, position)
            self._consumer.seek(tp, first)
            return
        # Its end is before the position, or was when Kafka said so. What is written there from now
        # on is new, though its offset is one of those that were acknowledged.
        async with self._committing:
            undone, _ = self._acknowledged[tp].written()
            self._acknowledged[tp] = Acknowledged()
            end = await self._begin(tp, undone)
        log.warning(
            "%s ends at %d and was read up to %d: it has lost records, or was made anew; what is"
            " left of the last hour is told again",
            *(where, end, position),
        )

    async def _acknowledge(
        self, acknowledged: Acknowledged, tp: TopicPartition, offset: int
    ) -> None:
        acknowledged.end(offset)
        await self._commit(acknowledged, tp)

    async def _pass_over(self, acknowledged: Acknowledged, tp: TopicPartition, offset: int) -> None:
        """Acknowledge what is for others: together with what comes soon, as there may be much."""
        acknowledged.end(offset)
        now = time.monotonic()
        # What has come since the last commit counts, not all that lies ahead: where much of that
        # was recalled no commit makes it less until all of it was passed.
        if now >= self._commit_at or acknowledged.unwritten >= _MOST_PASSED:
            self._commit_at = now + _COMMIT_SECONDS
            await self._commit(acknowledged, tp)

    async def _commit(self, acknowledged: Acknowledged, tp: TopicPartition) -> None:
        async with self._committing:
            # Others who waited for their turn have committed for us, perhaps; or the partition went
            # to another worker, which delivers this once more.
            if acknowledged.unwritten and self._acknowledged.get(tp) is acknowledged:
                while not await self._is_written(acknowledged, tp):
                    log.debug("notes of %d bytes at most from now on", self._longest_note)

    async def _is_written(self, acknowledged: Acknowledged, tp: TopicPartition) -> bool:
        """Commit how far we have come, or learn that notes have to be shorter."""
        position, note = acknowledged.written(self._longest_note)
        self._moved_on.set()
        try:
            await self._consumer.commit({tp: OffsetAndMetadata(position, note)})
        except OffsetMetadataTooLargeError:
            if note == NO_NOTE:
                raise
            self._longest_note = len(note) // 2
            return False
        return True

    async def _bury(self, record: ConsumerRecord, reason: str) -> None:
        """Write what could not be delivered to the dead letters, with why."""
        said = refusal_headers(
            Source(record.topic, record.partition, record.offset),
            "TASK_PUT",
            reason,
            outcome=UNDELIVERED,
            field=f"sink {self._sink}",
            reason=reason,
            group=self._kafka.group,
        )
        producer = await self._burier()
        await producer.send_and_wait(
            self._names.dead_alerts,
            key=record.key,
            value=record.value,
            headers=[*own(record.headers), *said],
        )

    async def _burier(self) -> AIOKafkaProducer:
        """The producer of dead letters, started when there is the first."""
        async with self._committing:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._kafka),
                    enable_idempotence=True,
                    max_request_size=STATE_LIMIT + DEAD_LETTER_ROOM,
                )
                calm(producer.client)
                try:
                    await producer.start()
                except BaseException:
                    await say_goodbye(partial(abandon, producer))
                    raise
                self._producer = producer
        return self._producer
