"""Which shards this worker owns, as the group assigns them, and keeping them flushed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from aiokafka import TopicPartition

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES
from stream.core.errors import StopError
from stream.core.settings import Settings
from stream.core.state import REMEDY, StateRefused
from stream.core.values import Values
from stream.kafka.belonging import reads_other_topics
from stream.kafka.ending import Tasks
from stream.kafka.log import FlushStopped
from stream.kafka.registry import ValueRegistry
from stream.kafka.repeats import EACH_TRY
from stream.kafka.rounds import Rounds
from stream.kafka.shards import OwnedShard, ShardCounts, tell_changes, tell_lead
from stream.kafka.topics import TopicMap
from stream.kafka.transient import is_transient
from stream.kafka.transport import Chunk, ChunkThread
from stream.kafka.wording import InWords

#: How long a flush may hold up a rebalance, in seconds.
_REBALANCE_FLUSH_SECONDS: Final = 3.0
#: How long to wait before a shard is tried again, in seconds.
_RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class CountingFailed(StopError):
    """Records can't be counted; going on would show wrong numbers."""


class ShardOwner:
    """Takes over the assigned shards, feeds and flushes them; the transport's source.

    It runs in the app's event loop; only its own coroutines change it.
    """

    def __init__(self, settings: Settings, kafka: KafkaConfig, topics: TopicMap) -> None:
        self.counts = ShardCounts()
        #: Live shards by number.
        self.shards: dict[int, OwnedShard] = {}
        #: Why the worker must stop, once it must.
        self.fatal: Exception | None = None
        self.reason = "no partitions are assigned yet"
        #: Why the broker can't be reached at the moment, if that is so.
        self.outage = ""
        self._settings = settings
        self._kafka = kafka
        self._topics = topics
        self._by_full_name = {topics.names.source(t): t for t in topics.partitions}
        self._values = Values(settings, shared=True)
        self._registry = ValueRegistry(kafka, topics.names, self._values)
        self._assigned: set[int] = set()
        #: Whether the group has told which shards are ours, and has not called them back.
        self.is_assigned = False
        #: Why this worker would stand by for ever; empty where it wouldn't.
        self.excluded = ""
        #: When the group told that last (monotonic seconds).
        self.assigned_at = 0.0
        self._live: dict[TopicPartition, int] = {}
        self._epoch = 0
        self._parked: dict[int, OwnedShard] = {}
        self._tasks = Tasks(self._fail)
        self._rounds = Rounds(kafka.flush_ms / 1000)
        self._stopping = False
        self.thread: ChunkThread | None = None

    @property
    def settled(self) -> bool:
        """Whether the group has spoken and all shards that it gave to this worker are live."""
        is_live = self.is_assigned and len(self.shards) == len(self._assigned)
        return is_live and not self.excluded

    @property
    def families(self) -> frozenset[int]:
        """The KPI families that this worker owns: each goes with one of the shards."""
        return frozenset(
            family for family in range(len(FAMILIES)) if family % self.total in self._assigned
        )

    @property
    def total(self) -> int:
        """How many shards there are, over all workers."""
        return self._topics.shards

    @property
    def expected(self) -> int:
        """How many shards the group has given to this worker."""
        return len(self._assigned)

    def live(self) -> Mapping[TopicPartition, int]:
        """The partitions to read; none while a flush is overdue, so that memory stays bounded.

        Nor while new values come as fast as they are decided, or no flush would ever be made.
        """
        if self._registry.is_behind:
            return {}
        if any(shard.overfull for shard in self.shards.values()):
            self._rounds.hurry()
            return {}
        return self._live

    # Rebalance ---------------------------------------------------------------------------------

    async def revoked(self) -> None:
        """Stop reading, write what there is, and keep the shards in case they come back."""
        self._live = {}
        self._assigned, self.is_assigned = set(), False
        self.reason = "the group is rebalancing"
        await self._tasks.cancel()
        # Where a refresh was told to end before it had begun, nothing else would set the next one.
        self._rounds.refresh_later()
        await self._flush_a_last_time()
        shards, self.shards = list(self.shards.values()), {}
        self._parked |= {shard.number: shard for shard in shards if not shard.in_doubt}
        await _close(shard for shard in shards if shard.in_doubt)

    def assigned(
        self, partitions: set[TopicPartition], shared_out: frozenset[str] = frozenset()
    ) -> None:
        """Begin to take over what is assigned; heartbeats must go on meanwhile.

        ``shared_out``: the topics that the worker reads that has shared out; none: not known.
        """
        owned: dict[int, set[str]] = {}
        for tp in partitions:
            if tp.topic in self._by_full_name:
                owned.setdefault(tp.partition, set()).add(self._by_full_name[tp.topic])
        missing = {
            self._topics.names.source(topic)
            for number, topics in owned.items()
            for topic in self._topics.topics_of(number)
            if topic not in topics
        }
        if missing:
            gone = ", ".join(sorted(missing))
            self._fail(StateRefused(f"partitions of {gone} are gone; {REMEDY}"))
            return
        self._assigned, self.is_assigned = set(owned), True
        self.assigned_at = time.monotonic()
        former, others = self.excluded, reads_other_topics(shared_out, self._by_full_name)
        self.excluded = f"group {self._kafka.group}: {others}" if others and not owned else ""
        if self.excluded not in {"", former}:
            log.warning("%s", self.excluded)
        self.reason = self.excluded or self._share_of_shards("the group gives this worker")
        self._tasks.spawn(self._take_over(self._assigned))

    def _share_of_shards(self, verb: str) -> str:
        return f"{verb} {len(self._assigned)} of {self._topics.shards} shards"

    async def _take_over(self, numbers: set[int]) -> None:
        """Recover shards and let them go live together: their label values are one decision."""
        await _close(self._parked.pop(n) for n in self._parked.keys() - numbers)
        if numbers:
            self.reason = self._share_of_shards("recovering")
        started = time.monotonic()
        shards = await asyncio.gather(*(self._recover(n) for n in sorted(numbers)))
        tell_changes(self._parked.values())
        tell_lead(self._parked.values(), now_ms())
        for shard in shards:
            await self._enter(shard)
        if numbers:
            self.counts.recovery = self.counts.recovery.plus(time.monotonic() - started)

    async def _recover(self, number: int) -> OwnedShard | None:
        """The shard, not live yet, which is among the parked ones then; None where we must stop.

        One that was parked before stays as it is: had anybody owned it in between, its next flush
        would be fenced.
        """
        while number not in self._parked and self.fatal is None:
            try:
                self._parked[number] = await self._recovered(number)
            except Exception as error:  # noqa: BLE001 - what does not pass ends the worker.
                await self._excuse(error, number, "can't be taken over yet")
        return self._parked.get(number)

    async def _recovered(self, number: int) -> OwnedShard:
        shard = OwnedShard(
            number, self._settings, self._values, self._registry, self._kafka, self._topics
        )
        try:
            await shard.recover()
        except BaseException:
            await shard.close()
            raise
        return shard

    async def _enter(self, shard: OwnedShard | None) -> None:
        """Go to a parked shard's positions and let it live in a new epoch.

        One that is dropped meanwhile is left to whoever takes it over anew: entered once more it
        would have the thread read for an epoch that nobody lives in.
        """
        if self.thread is None:
            raise RuntimeError("the consumer has not started")
        while shard is not None and self._is_parked(shard) and self.fatal is None:
            self._epoch += 1
            epoch = self._epoch
            try:
                positions = await shard.find_positions(self.thread, self.counts)
                if not self._is_parked(shard):
                    return
                await self.thread.enter(positions, epoch)
            except Exception as error:  # noqa: BLE001 - what does not pass ends the worker.
                await self._excuse(error, shard.number, "can't be read yet")
            else:
                if not self._is_parked(shard):
                    return
                shard.epoch = epoch
                self.shards[shard.number] = self._parked.pop(shard.number)
                self._live = {**self._live, **dict.fromkeys(positions, epoch)}
                return

    def _is_parked(self, shard: OwnedShard) -> bool:
        return self._parked.get(shard.number) is shard

    async def _excuse(self, error: Exception, number: int, what: str) -> None:
        """Wait, where the next try may go well; else the worker must stop."""
        if not is_transient(error):
            self._fail(error)
            return
        said = InWords(error)
        self.reason = f"shard {number} {what}: {said}"
        log.warning("shard %d %s: %s", number, what, said, extra=EACH_TRY)
        await asyncio.sleep(_RETRY_SECONDS)

    def _fail(self, error: Exception) -> None:
        self.fatal = self.fatal or error
        self.reason = str(error)

    # Feeding -----------------------------------------------------------------------------------

    def apply(self, chunk: Chunk) -> None:
        """Take a chunk, unless it belongs to an epoch that is over. Awaits nothing."""
        shard = self.shards.get(chunk.partition)
        if shard is None or shard.epoch != chunk.epoch:
            return
        topic = self._by_full_name[chunk.topic]
        if chunk.start == shard.positions[topic]:
            ready = shard.receive(topic, chunk)
            if ready is not None:
                self._count(shard, topic, ready)
        else:
            # Faust has thrown away a chunk, or the topic was made anew and begins again.
            log.info(
                "%s is at %d, not %d: reading again", topic, chunk.start, shard.positions[topic]
            )
            self._read_again(shard)

    def _count(self, shard: OwnedShard, topic: str, chunk: Chunk) -> bool:
        """Count a chunk; where that fails, a part of it may be counted, so nothing is written."""
        try:
            shard.apply(topic, chunk)
        except Exception as error:
            log.exception("counting %s from %d on failed", chunk.topic, chunk.start)
            self._unplug(shard)
            # At once: the task may be told to end before it has begun.
            shard.in_doubt = True
            self._tasks.spawn(shard.close())
            where = (
                f"{chunk.topic} partition {chunk.partition}, offsets {chunk.start} to {chunk.end}"
            )
            self._fail(CountingFailed(f"{where} can't be counted: {error!r}"))
            return False
        return True

    def _read_again(self, shard: OwnedShard) -> None:
        """Go back to where the shard stands; what is under way is of an old epoch then."""
        self._unplug(shard)
        self._parked[shard.number] = shard
        self._tasks.spawn(self._enter(shard))

    def _unplug(self, shard: OwnedShard) -> None:
        """Take a shard out of the live ones, unless another has its number by now."""
        if self.shards.get(shard.number) is shard:
            del self.shards[shard.number]
            self._live = {tp: e for tp, e in self._live.items() if tp.partition != shard.number}

    # Flushing ----------------------------------------------------------------------------------

    async def flush_forever(self) -> None:
        """Flush all live shards at the configured interval, and at once where one is overfull."""
        while True:
            await self._rounds.next()
            await self._flush_all(share=self._rounds.take_share())
            durable = self._durable()
            if self._rounds.take_telling(durable):
                self._tell_positions(durable)
            if self._rounds.take_refresh():
                self._tasks.spawn(self._refresh())

    async def _refresh(self) -> None:
        try:
            await self._registry.refresh()
        except Exception as error:
            if not is_transient(error):
                raise
            what = "the registry of values was not told what is in use: %s"
            log.warning(what, InWords(error, "write to"), extra=EACH_TRY)
        finally:
            self._rounds.refresh_later()

    async def _flush_all(self, *, share: bool = False) -> None:
        """Flush every live shard; one whose flush fails is dropped and taken over anew.

        ``share``: tell the owners of the KPI families too.
        """
        caught_up = self.thread.caught_up if self.thread is not None else {}
        await asyncio.gather(
            *(
                self._flush(s, s.complete_to(caught_up) if share else None)
                for s in list(self.shards.values())
            )
        )

    async def _flush_a_last_time(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._flush_all(), _REBALANCE_FLUSH_SECONDS)

    async def _flush(self, shard: OwnedShard, complete_to: int | None = None) -> None:
        if not all(self._count(shard, topic, chunk) for topic, chunk in shard.take_waiting()):
            return
        try:
            # A last flush waits for the one that is under way, which would be cut short else.
            async with shard.flushing:
                await shard.flush(self.counts, complete_to)
        except FlushStopped:
            log.info("shard %d: a flush was cut short by a rebalance or the end", shard.number)
            await self._drop(shard)
        except Exception as error:  # noqa: BLE001 - what does not pass ends the worker.
            if is_transient(error):
                what = "a flush failed, taking over anew"
                log.warning("shard %d: %s: %s", shard.number, what, error, extra=EACH_TRY)
                self.counts.flush_failures += 1
            else:
                self._fail(error)
            # Also where the worker ends: what was collected of the shard must not be left out of
            # a last flush.
            await self._drop(shard)

    async def _drop(self, shard: OwnedShard) -> None:
        assigned, was_parked = self._assigned, self._is_parked(shard)
        was_live = self.shards.get(shard.number) is shard
        is_ours = shard.number in assigned and (was_parked or was_live)
        self._unplug(shard)
        if was_parked:
            del self._parked[shard.number]
        await shard.close()
        # A later assignment takes over all that it holds: a second take-over of the same shard
        # would fence the first and be fenced by it, without end.
        if is_ours and self._assigned is assigned and not self._is_ending:
            self.reason = f"taking over shard {shard.number} anew"
            self._tasks.spawn(self._take_over_again(shard.number))

    async def _take_over_again(self, number: int) -> None:
        """Whoever fenced us may be the new owner: wait until the group still takes us as one."""
        dropped = time.monotonic()
        while self.thread is not None and self.thread.heartbeat_at < dropped:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # The thread that beats can't set an event of this loop.
        await self._enter(await self._recover(number))

    @property
    def _is_ending(self) -> bool:
        return self._stopping or self.fatal is not None

    def _durable(self) -> set[int]:
        """The live shards that have a state in the log.

        Offsets of another would say that its state was lost.
        """
        return {n for n, s in self.shards.items() if s.log.sequence and not s.in_doubt}

    def _tell_positions(self, durable: set[int]) -> None:
        if self.thread is None or not durable:
            return
        positions = {
            tp: shard.positions[topic]
            for shard in map(self.shards.__getitem__, durable)
            for tp, topic in shard.partitions().items()
        }
        self._tasks.spawn(self.thread.commit_for_tools(positions))

    # Life --------------------------------------------------------------------------------------

    async def stop(self, within: float) -> None:
        """Begin nothing any more, and write what there is, as far as that goes in so many seconds.

        What is left then is read again by the next owner.
        """
        self._stopping = True
        self._live = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._tasks.cancel()
                await self._flush_all()

    async def close(self) -> None:
        """Let go of all shards, for which a broker that is gone may be waited for a while."""
        shards = [*self.shards.values(), *self._parked.values()]
        self.shards, self._parked = {}, {}
        await _close(shards)


async def _close(shards: Iterable[OwnedShard]) -> None:
    """Let go of shards side by side, since a broker that is gone holds up each of them."""
    await asyncio.gather(*(shard.close() for shard in shards))
