"""A Faust transport that delivers records in chunks, labelled so that none is lost or repeated.

Faust handles one message at a time, which costs it some 50 µs each. Here a message is all the
records that a fetch brought for a partition, so this cost is shared by up to thousands of records.

Where stock Faust decides what to read and when to commit, this transport asks the app's *source*,
an object that knows which partitions are live and where they stand: positions live in the shards'
state, not in the consumer group. Stock Faust can lose records at start and after a rebalance
(faust#312, #502, #605); labels and a check for holes make that harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage

from stream.kafka.assignor import ShardAssignor
from stream.kafka.codecs import MOST_UNPACKED
from stream.kafka.completeness import CaughtUp, Completeness, standing
from stream.kafka.connection import ask_group_again, calm, let_fetches_end, tell_heartbeats
from stream.kafka.membership import Membership
from stream.kafka.transient import is_transient
from stream.kafka.unpacking import Unpacking
from stream.kafka.wording import in_words

#: A chunk has at most so many records.
CHUNK_RECORDS: Final = 8000
#: A chunk ends soon after its values have come to so many bytes, so that memory stays bounded
#: whatever size records have once they are unpacked.
CHUNK_BYTES: Final = 2 * 1024 * 1024
#: So many bytes a fetch brings at most, and of a partition; a batch that is larger comes alone.
#: Larger buffers are not reused but mapped anew each time, which costs more than their filling;
#: smaller ones cost more requests.
FETCH_BYTES: Final = 4 * 1024 * 1024
FETCH_PARTITION_BYTES: Final = 1024 * 1024
#: How long the broker holds a fetch that finds less than so many bytes, in ms. Answers with a few
#: records each would come by the hundred a second, and each costs as much as a large one.
FETCH_WAIT_MS: Final = 100
FETCH_LEAST_BYTES: Final = 16 * 1024
_IDLE_SECONDS: Final = 0.02
#: How long to wait before what came damaged is fetched again, in seconds; meanwhile nothing is
#: fetched from the same broker.
_BACKOFF_SECONDS: Final = 0.1
#: How long telling the group how far we are may take, in seconds.
_COMMIT_SECONDS: Final = 3.0


@dataclass(slots=True)
class Chunk:
    """Records of one partition that follow each other, from position ``start`` to before ``end``.

    ``epoch`` tells the take-over that it belongs to. Positions need not be offsets of records:
    transaction markers and compacted records leave gaps. Records are the client's
    own, with ``key``, ``value``, ``headers`` and ``offset``.
    """

    topic: str
    partition: int
    epoch: int
    start: int
    end: int
    records: list[Any]

    @property
    def values(self) -> list[bytes | None]:
        """The values of the records."""
        return [record.value for record in self.records]


class Source(Protocol):
    """What the transport asks of the app."""

    def live(self) -> Mapping[TopicPartition, int]:
        """The partitions to read, each with its epoch."""

    async def revoked(self) -> None:
        """All partitions are about to be taken away."""

    def assigned(self, partitions: set[TopicPartition], shared_out: frozenset[str]) -> None:
        """These partitions now belong to this worker, of those topics that were shared out."""


class ChunkSchema(faust.Schema[Any, Any]):
    """Hands chunks through as they are."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        """Chunks have no key."""
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """The chunk."""
        return message.value


class _NoOffsets(dict[Any, None]):
    """Faust's notes of what was read: none, so it neither drops nor counts gaps.

    What it drops is not read again by itself (robinhood/faust#115).
    """

    def __missing__(self, key: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        return None


class ChunkThread(stock.AIOKafkaConsumerThread):
    """The thread that talks to the broker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._epochs: dict[TopicPartition, int] = {}
        #: Up to where records were taken since.
        self._taken_up_to: dict[TopicPartition, int] = {}
        self._completeness = Completeness()
        #: When the group last accepted a heartbeat (monotonic seconds).
        self.heartbeat_at = 0.0
        self.membership = Membership()

    @property
    def caught_up(self) -> Mapping[TopicPartition, CaughtUp]:
        """Up to where partitions were read to their end, and when."""
        return self._completeness.caught_up

    @property
    def ends(self) -> Mapping[TopicPartition, int]:
        """Up to where partitions hold records, also those that may not be read yet."""
        return self._completeness.ends

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Outside of its own transactions Faust reads uncommitted, so aborted records would count;
        # and it waits for 1.5 s where there is nothing, but silence must be noticed soon.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001
        consumer._fetch_min_bytes = FETCH_LEAST_BYTES  # noqa: SLF001
        consumer._fetch_max_bytes = FETCH_BYTES  # noqa: SLF001
        calm(consumer._client)  # noqa: SLF001
        return consumer

    async def on_start(self) -> None:
        """Start the consumer and watch its membership and fetches."""
        await super().on_start()
        self._watch_membership()
        fetcher = self._ensure_consumer()._fetcher  # noqa: SLF001
        self._completeness.watch(fetcher)
        let_fetches_end(fetcher)

    def _watch_membership(self) -> None:
        def accepted(_: float) -> None:
            self.heartbeat_at = time.monotonic()

        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001
        tell_heartbeats(coordinator, accepted)
        ask_group_again(coordinator)
        self.membership.follow(coordinator)

    def close(self) -> None:
        """Nothing: whoever stops the app has this thread end, and that leaves the group.

        Faust's closes the connections first, and in the loop of another thread, where a rebalance
        begins while it is stopped.
        """

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: our own watch looks at heartbeats, topics and positions.

        Faust's looks at the client's state from another thread, and takes a rebalance or a
        partition that is not live for a fault (faust#175, #166).
        """

    async def take(self, live: Mapping[TopicPartition, int], seconds: float) -> list[Chunk]:
        """What was fetched for live partitions, after waiting for up to ``seconds``."""
        taken: list[Chunk] = await self.call_thread(self._take, live, seconds)
        return taken

    async def _take(self, live: Mapping[TopicPartition, int], seconds: float) -> list[Chunk]:
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher  # noqa: SLF001
        if consumer._closed or fetcher._closed:  # noqa: SLF001
            raise ConsumerStoppedError
        await self._polled()
        chunks = self._drain(fetcher, live)
        if not chunks:
            waiter = fetcher._create_fetch_waiter()  # noqa: SLF001
            await asyncio.wait([waiter], timeout=seconds)
            waiter.cancel()
            chunks = self._drain(fetcher, live)
        chunks += self._leaps(fetcher, live)
        self._completeness.note(fetcher, live)
        return chunks

    def _leaps(self, fetcher: Any, live: Mapping[TopicPartition, int]) -> list[Chunk]:
        """An empty chunk where a partition goes on from elsewhere, without any record yet.

        That is so where what lay at its position is gone, or where it ends before that now. Nothing
        else would tell of it until the next record, which may be long in coming.
        """
        found = []
        for tp, epoch in live.items():
            state = standing(fetcher, tp)
            if state is None or self._epochs.get(tp) != epoch:
                continue
            position = state.position
            if position != self._taken_up_to[tp]:
                self._taken_up_to[tp] = position
                found.append(Chunk(tp.topic, tp.partition, epoch, position, position, []))
        return found

    async def idle(self) -> None:
        """Stay a member of the group although there is nothing to take."""
        await self.call_thread(self._polled)

    async def _polled(self) -> None:
        """Say that somebody fetches.

        aiokafka leaves the group, for good, when nobody has done so for a while (1000 s are Faust's
        default), and only its own ``getmany`` and ``getone`` would tell it.
        """
        with self._ensure_consumer()._subscription.fetch_context():  # noqa: SLF001
            pass

    def _drain(self, fetcher: Any, live: Mapping[TopicPartition, int]) -> list[Chunk]:
        """Take and label records; nothing may be awaited in between.

        What was fetched for a former position or assignment is given up: Faust delivers such
        records after a rebalance (faust#221). While what was unpacked of some partitions is much,
        others wait with theirs, so that memory is bounded however many there are.
        """
        fetched = fetcher._records  # noqa: SLF001
        mine = [tp for tp in fetched if tp in live and self._epochs.get(tp) == live[tp]]
        held = {tp: _unpacked(fetched[tp]) for tp in mine}
        total = sum(held.values())
        chunks = []
        for tp in mine:
            result = fetched[tp]
            if isinstance(result, FetchError):
                if result.calculate_backoff():
                    continue
                self._forget(fetcher, tp)
                why = in_words(result._error)  # noqa: SLF001
                self.log.warning("%s partition %d can't be fetched: %s", *tp, why)
                continue
            others = total - held[tp]
            chunk = self._chunk(fetcher, result, live[tp], may_unpack=others < MOST_UNPACKED)
            total = others + _unpacked(result)
            if chunk is not None:
                chunks.append(chunk)
        return chunks

    def _chunk(
        self, fetcher: Any, result: FetchResult, epoch: int, *, may_unpack: bool
    ) -> Chunk | None:
        tp = result._topic_partition  # noqa: SLF001
        if not result.has_more() or not result.check_assignment(tp):
            # It is of another position or assignment: what lies at ours is fetched anew.
            self._forget(fetcher, tp)
            return None
        fetched = result._partition_records  # noqa: SLF001
        if not isinstance(fetched, Unpacking):
            fetched = result._partition_records = Unpacking(fetched)  # noqa: SLF001
        start = fetched.next_fetch_offset
        try:
            records, more = fetched.take(CHUNK_RECORDS, CHUNK_BYTES, may_unpack=may_unpack)
        except CorruptRecordException as error:
            # The broker or the way from it has damaged the batch: another fetch may bring it whole.
            fetcher._records[tp] = FetchError(error=error, backoff=_BACKOFF_SECONDS)  # noqa: SLF001
            return None
        except BaseException:
            self._forget(fetcher, tp)
            raise
        result._update_position()  # noqa: SLF001
        if not more:
            self._forget(fetcher, tp)
        end = self._taken_up_to[tp] = fetched.next_fetch_offset
        if end == start:
            return None
        return Chunk(tp.topic, tp.partition, epoch, start, end, records)

    def _forget(self, fetcher: Any, tp: TopicPartition) -> None:
        """Give up what was fetched, so that the next fetch asks from the position on."""
        del fetcher._records[tp]  # noqa: SLF001
        fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001

    async def enter(self, positions: Mapping[TopicPartition, int], epoch: int) -> None:
        """Go to these positions; what is read from now on carries the epoch."""
        await self.call_thread(self._enter, positions, epoch)

    async def _enter(self, positions: Mapping[TopicPartition, int], epoch: int) -> None:
        consumer = self._ensure_consumer()
        for tp, position in positions.items():
            consumer.seek(tp, position)
            self._epochs[tp], self._taken_up_to[tp] = epoch, position
            self._completeness.begin_anew(tp)

    async def bounds(
        self, partitions: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """First and next offset of partitions."""
        found: tuple[dict[TopicPartition, int], dict[TopicPartition, int]]
        found = await self.call_thread(self._bounds, partitions)
        return found

    async def _bounds(self, partitions: list[TopicPartition]) -> Any:
        consumer = self._ensure_consumer()
        first = await consumer.beginning_offsets(partitions)
        return first, await consumer.end_offsets(partitions)

    async def commit_for_tools(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell the group how far we are, for tools that show lag; failing is of no consequence."""
        await self.call_thread(self._commit_quietly, positions)

    async def _commit_quietly(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        mine = consumer.assignment()
        offsets = {tp: OffsetAndMetadata(p, "") for tp, p in positions.items() if tp in mine}
        try:
            # Meanwhile it takes one of the two places for calls into this thread.
            async with asyncio.timeout(_COMMIT_SECONDS):
                if offsets:
                    await consumer.commit(offsets)
        except Exception as error:
            # Stock Faust would crash the worker here.
            if not is_transient(error):
                raise
            self.log.info("Committing positions for tools: %r", error)


def _unpacked(result: FetchResult | FetchError) -> int:
    """What is held of a fetched batch that was unpacked and not taken whole yet, in bytes."""
    fetched = getattr(result, "_partition_records", None)
    return fetched.unpacked if isinstance(fetched, Unpacking) else 0


class ChunkConsumer(stock.Consumer):
    """Yields chunks of the partitions that the app's source calls live."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = cast("Any", _NoOffsets())

    @property
    def source(self) -> Source:
        """What knows which partitions are live."""
        return cast("Source", cast("Any", self.app).source)

    @property
    def thread(self) -> ChunkThread:
        """The thread that talks to the broker."""
        return cast("ChunkThread", self._thread)

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Nothing: positions come from the shards' state, not from the group.

        Faust seeks while records are already coming in (faust#216, #605), and to nowhere where
        nothing was committed yet.
        """

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the source write what it has while it still may."""
        await self.source.revoked()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the source once Faust has finished its own part."""
        # The group has just taken us in, which is worth a heartbeat.
        self.thread.heartbeat_at = time.monotonic()
        await super().on_partitions_assigned(assigned, generation_id)
        assignor = cast("ShardAssignor", self.app.assignor)
        partitions = {TopicPartition(tp.topic, tp.partition) for tp in assigned}
        self.source.assigned(partitions, assignor.shared_out)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Chunks as messages; never asks for an empty set, which aiokafka takes for all."""
        # Faust fetches on and drops what comes while its flow is stopped (faust#253, #605).
        if not self.flow_active:
            await self.wait(cast("Any", self.can_resume_flow))
        live = self.source.live()
        if not live or self.should_stop:
            await self.thread.idle()
            await self.sleep(_IDLE_SECONDS)
            return
        for chunk in await self.thread.take(live, min(timeout, FETCH_WAIT_MS / 1000)):
            tp = TP(chunk.topic, chunk.partition)
            yield tp, self._message(tp, chunk)

    def _message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        return ConsumerMessage(
            chunk.topic,
            chunk.partition,
            chunk.start,
            0.0,
            0,
            None,
            None,
            cast("Any", chunk),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )


class Transport(stock.Transport):
    """``batchkafka://``: Kafka in chunks."""

    Consumer: ClassVar[Any] = ChunkConsumer
