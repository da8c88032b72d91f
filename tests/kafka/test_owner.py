"""What the owner of shards does when one of them fails, without a broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, ProducerFenced, TopicAuthorizationFailedError

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.settings import HOUR, SECOND, Settings
from stream.core.timestamps import parse
from stream.core.values import Values
from stream.kafka import owner as owning
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, FlushStopped, LogUnread, Outgoing, TransactionalWriter
from stream.kafka.owner import CountingFailed, ShardOwner
from stream.kafka.registry import ValueRegistry
from stream.kafka.shards import OwnedShard, ShardCounts
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk
from tests.kafka.test_transport_mends import FakeProducer


class HalfCounted:
    """A shard that fails in the middle of a chunk."""

    number = 0
    epoch = 1
    overfull = False

    def __init__(self) -> None:
        self.positions = dict.fromkeys(TOPICS, 0)
        self.flushing = asyncio.Lock()
        self.flushed = False
        self.closed = False

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        return chunk

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        return []

    def apply(self, topic: str, chunk: Chunk) -> None:
        raise ArithmeticError("a sum is too large")

    async def flush(self, counts: object, complete_to: int | None = None) -> None:
        self.flushed = True

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def owner() -> ShardOwner:
    topics = TopicMap(
        Names("", "group"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 1_000_000)
    )
    return ShardOwner(Settings(), KafkaConfig(), topics)


async def test_a_chunk_that_fails_halfway_is_never_written_and_stops_the_worker(
    owner: ShardOwner,
) -> None:
    shard = HalfCounted()
    owner.shards[0] = cast("OwnedShard", shard)
    owner.apply(Chunk("cx.visit", 0, 1, 0, 5, []))
    assert owner.shards == {}
    assert isinstance(owner.fatal, CountingFailed)
    assert "cx.visit partition 0, offsets 0 to 5" in str(owner.fatal)
    await asyncio.sleep(0)
    await owner.stop(within=60)
    await owner.close()
    assert shard.closed
    assert not shard.flushed


class Counted(HalfCounted):
    """A shard that counts its chunks."""

    def apply(self, topic: str, chunk: Chunk) -> None: ...


async def test_a_chunk_that_is_counted_is_written_when_the_worker_stops(owner: ShardOwner) -> None:
    shard = Counted()
    owner.shards[0] = cast("OwnedShard", shard)
    owner.apply(Chunk("cx.visit", 0, 1, 0, 5, []))
    await owner.stop(within=60)
    assert owner.fatal is None
    assert shard.flushed


class HalfCountedLater(HalfCounted):
    """A shard that fails in the middle of what had to wait until a flush."""

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        self.waits = [(topic, chunk)]
        return None

    def take_waiting(self) -> list[tuple[str, Chunk]]:
        return self.waits


async def test_what_has_waited_and_fails_is_never_written_either(owner: ShardOwner) -> None:
    shard = HalfCountedLater()
    owner.shards[0] = cast("OwnedShard", shard)
    owner.apply(Chunk("cx.visit", 0, 1, 0, 5, []))
    assert owner.fatal is None
    await owner._flush(cast("OwnedShard", shard))
    await asyncio.sleep(0)
    assert owner.shards == {}
    assert "cx.visit partition 0, offsets 0 to 5" in str(owner.fatal)
    await owner.stop(within=60)
    await owner.close()
    assert shard.closed
    assert not shard.flushed


class CutShort(HalfCounted):
    """A shard whose flush does not come to its end."""

    def __init__(self, error: FlushFailed) -> None:
        super().__init__()
        self.error = error

    async def flush(self, counts: object, complete_to: int | None = None) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "level", "failures"),
    [
        (FlushStopped("it was let go of"), logging.INFO, 0),
        (FlushFailed("no answer within 15 s"), logging.WARNING, 1),
    ],
)
async def test_only_a_flush_that_failed_by_itself_is_a_warning_and_counts(
    owner: ShardOwner,
    error: FlushFailed,
    level: int,
    failures: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stream")
    shard = CutShort(error)
    owner.shards[0] = cast("OwnedShard", shard)
    await owner._flush(cast("OwnedShard", shard))
    assert shard.closed
    assert owner.shards == {}
    assert owner.counts.flush_failures == failures
    (record,) = caplog.records
    assert record.levelno == level


async def test_a_writer_that_is_let_go_of_says_that_its_transaction_was_cut_short() -> None:
    producer = FakeProducer()
    producer.hang = "commit"
    writer = TransactionalWriter(KafkaConfig(), "id", 1_000_000)
    writer._producer = cast("Any", producer)
    writing = asyncio.ensure_future(writer.write([]))
    for _ in range(9):
        await asyncio.sleep(0)
    await writer.stop()
    with pytest.raises(FlushStopped):
        await writing


async def test_a_source_topic_that_is_gone_is_told_with_what_to_do(owner: ShardOwner) -> None:
    there = {TopicPartition(topic, 0) for topic in TOPICS if topic != "cx.survey"}
    owner.assigned(there)
    assert str(owner.fatal).startswith("partitions of cx.survey are gone; stop all workers")
    assert "cxkpi state rebuild" in str(owner.fatal)


async def test_who_reads_other_topics_than_its_group_does_not_stand_by(
    owner: ShardOwner, caplog: pytest.LogCaptureFixture
) -> None:
    own = frozenset(TOPICS)
    others = frozenset(f"p.{topic}" for topic in TOPICS)
    for shared_out, is_settled in ((own, True), (others, False), (others, False), (own, True)):
        owner.assigned(set(), shared_out)
        assert owner.settled == is_settled
    said = "group cxkpi: other workers read p.cx.cart, this one cx.cart,"
    (record,) = caplog.records
    assert record.getMessage().startswith(said)
    owner.assigned(set(), others)
    assert owner.reason == record.getMessage()


class Recovering(HalfCounted):
    """A shard whose take-over fails as often as the test says, and then goes well."""

    errors: ClassVar[list[Exception]] = []
    made: ClassVar[list[Recovering]] = []
    #: The latest time that its state knows.
    now: ClassVar[int] = 0

    def __init__(self, number: int, *_: object) -> None:
        super().__init__()
        self.number = number
        self.log = SimpleNamespace(facts=(), sequence=1)
        self.shard = SimpleNamespace(progress=SimpleNamespace(now=Recovering.now))
        self.in_doubt = False
        Recovering.made.append(self)

    async def recover(self) -> None:
        if Recovering.errors:
            raise Recovering.errors.pop(0)

    async def find_positions(self, thread: object, counts: object) -> dict[TopicPartition, int]:
        await self.recover()
        return {TopicPartition("cx.visit", 0): 0}


@pytest.fixture
def recovering(
    owner: ShardOwner, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Awaitable[list[Recovering]]]:
    """Has shard 0 taken over while the client raises these errors; the shards that were made."""

    async def take_over(*errors: Exception) -> list[Recovering]:
        async def enter(positions: object, epoch: int) -> None: ...

        monkeypatch.setattr(owning, "_RETRY_SECONDS", 0.0)
        monkeypatch.setattr(owning, "OwnedShard", Recovering)
        monkeypatch.setattr(Recovering, "errors", list(errors))
        monkeypatch.setattr(Recovering, "made", [])
        owner.thread = cast("Any", SimpleNamespace(enter=enter, heartbeat_at=0.0, caught_up={}))
        owner.assigned({TopicPartition(topic, 0) for topic in TOPICS})
        await asyncio.wait_for(asyncio.gather(*owner._tasks), 60)
        return Recovering.made

    return take_over


PASSING = [KafkaConnectionError("gone"), TimeoutError(), LogUnread("state"), ProducerFenced()]


async def test_a_take_over_is_tried_again_while_it_fails_by_what_passes(
    owner: ShardOwner, recovering: Callable[..., Awaitable[list[Recovering]]]
) -> None:
    made = await recovering(*PASSING)
    assert owner.fatal is None
    assert owner.shards[0] is cast("OwnedShard", made[-1])
    assert [shard.closed for shard in made] == [True] * len(PASSING) + [False]


@pytest.mark.parametrize(("lead", "is_said"), [(5 * SECOND, False), (HOUR, True)])
async def test_a_take_over_of_a_state_that_is_ahead_says_until_when_and_what_to_do(
    recovering: Callable[..., Awaitable[list[Recovering]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lead: int,
    is_said: bool,
) -> None:
    clock = parse("2026-03-02T12:00:00Z")
    monkeypatch.setattr(owning, "now_ms", lambda: clock)
    monkeypatch.setattr(Recovering, "now", clock + lead)
    await recovering()
    words = (
        "the state is 60 min ahead of the clock, as a worker's was that wrote it: until"
        " 2026-03-02T13:00:06Z KPIs are absent and no alert rule is evaluated; wait, or `cxkpi"
        " state rebuild`"
    )
    assert [record.getMessage() for record in caplog.records] == [words] * is_said


@pytest.mark.parametrize("mistake", [TypeError("int"), KeyError("key"), AssertionError()])
async def test_a_take_over_that_fails_by_a_mistake_is_not_tried_again(
    owner: ShardOwner,
    recovering: Callable[..., Awaitable[list[Recovering]]],
    mistake: Exception,
) -> None:
    (shard,) = await recovering(mistake, mistake)
    assert owner.fatal is mistake
    assert shard.closed
    assert owner.shards == {}


async def test_positions_that_are_not_found_by_a_mistake_are_not_looked_for_again(
    owner: ShardOwner, recovering: Callable[..., Awaitable[list[Recovering]]]
) -> None:
    await recovering()
    mistake = KeyError("topic")
    Recovering.errors[:] = [KafkaConnectionError("gone"), mistake, OSError("not asked again")]
    (shard,) = owner.shards.values()
    owner._read_again(shard)
    await asyncio.wait_for(asyncio.gather(*owner._tasks), 60)
    assert owner.fatal is mistake
    assert len(Recovering.errors) == 1


async def test_a_flush_that_fails_by_a_mistake_is_never_made_again_and_stops_the_worker(
    owner: ShardOwner,
) -> None:
    class Mistaken(CutShort):
        flushes = 0

        async def flush(self, counts: object, complete_to: int | None = None) -> None:
            self.flushes += 1
            raise self.error

    mistake = IndexError("a block")
    shard = Mistaken(cast("Any", mistake))
    owner.shards[0] = cast("OwnedShard", shard)
    await owner._flush_all()
    assert owner.fatal is mistake
    assert owner.counts.flush_failures == 0
    await owner.stop(within=60)
    await owner.close()
    assert shard.flushes == 1
    assert shard.closed


def real_shard() -> OwnedShard:
    topics = TopicMap(
        Names("", "group"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 1_000_000)
    )
    values = Values(Settings())
    registry = ValueRegistry(KafkaConfig(), topics.names, values)
    return OwnedShard(0, Settings(), values, registry, KafkaConfig(), topics)


async def test_a_shard_is_in_doubt_from_when_its_flush_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was taken out of its lists before the mistake would be missing from the next flush."""
    shard = real_shard()

    def mistaken(now: int) -> list[tuple[bytes, bytes]]:
        raise IndexError("a block")

    monkeypatch.setattr(shard.log, "flush", mistaken)
    with pytest.raises(IndexError):
        await shard.flush(ShardCounts())
    assert shard.in_doubt
    await shard.flush(ShardCounts())
    await shard.close()


async def test_nothing_is_flushed_of_a_shard_that_was_let_go_of_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shard = real_shard()
    written: list[object] = []

    async def write(records: list[Outgoing]) -> None:
        written.append(records)

    monkeypatch.setattr(shard._writer, "write", write)
    monkeypatch.setattr(shard.log, "flush", lambda now: [(b"key", b"value")])
    await shard.flush(ShardCounts())
    await shard.close()
    await shard.flush(ShardCounts())
    assert len(written) == 1


async def test_a_mistake_in_writing_is_not_taken_for_a_transaction_that_failed() -> None:
    writer = TransactionalWriter(KafkaConfig(), "id", 1_000_000)
    writer._producer = cast("Any", FakeProducer())
    with pytest.raises(ValueError, match="unpack"):
        await writer.write(cast("Any", [("a record", "of two parts")]))


@pytest.mark.parametrize("error", [ProducerFenced(), KeyError("a batch"), AssertionError()])
async def test_whatever_the_client_says_of_a_record_is_a_transaction_that_failed(
    error: Exception,
) -> None:
    producer = FakeProducer()
    producer.refused = [error]
    writer = TransactionalWriter(KafkaConfig(), "id", 1_000_000)
    writer._producer = cast("Any", producer)
    with pytest.raises(FlushFailed):
        await writer.write([Outgoing("state", 0, b"a", b"1")])


class Slow(HalfCounted):
    """A shard with a flush that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.in_doubt = False
        self.flushes: list[str] = []
        self.answered = asyncio.Event()

    def complete_to(self, caught_up: object) -> int:
        return 0

    async def flush(self, counts: object, complete_to: int | None = None) -> None:
        assert not self.in_doubt, "two at a time"
        self.in_doubt = True
        self.flushes.append("begun")
        await self.answered.wait()
        self.flushes.append("ended")
        self.in_doubt = False

    async def close(self) -> None:
        self.flushes.append("closed")


async def test_a_rebalance_waits_for_the_flush_that_is_under_way_and_keeps_the_shard(
    owner: ShardOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "_REBALANCE_FLUSH_SECONDS", 60.0)
    shard = Slow()
    owner.shards[0] = cast("OwnedShard", shard)
    flushing = asyncio.ensure_future(owner._flush_all(share=True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert shard.flushes == ["begun"]
    revoking = asyncio.ensure_future(owner.revoked())
    await asyncio.sleep(0.01)
    shard.answered.set()
    await asyncio.wait_for(asyncio.gather(flushing, revoking), 60)
    assert shard.flushes == ["begun", "ended", "begun", "ended"]
    assert owner._parked[0] is cast("OwnedShard", shard)


async def test_a_rebalance_does_not_wait_for_ever_for_a_flush(
    owner: ShardOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owning, "_REBALANCE_FLUSH_SECONDS", 0.05)
    shard = Slow()
    owner.shards[0] = cast("OwnedShard", shard)
    flushing = asyncio.ensure_future(owner._flush_all(share=True))
    await asyncio.sleep(0)
    await asyncio.wait_for(owner.revoked(), 60)
    assert shard.flushes == ["begun", "closed"]
    assert owner._parked == {}
    flushing.cancel()
    await asyncio.wait({flushing})


async def test_where_the_last_flush_takes_too_long_all_shards_are_let_go_of_nevertheless(
    owner: ShardOwner,
) -> None:
    slow, parked = Slow(), HalfCounted()
    owner.shards[0] = cast("OwnedShard", slow)
    owner._parked[1] = cast("OwnedShard", parked)
    await asyncio.wait_for(owner.stop(within=0.05), 60)
    await owner.close()
    assert slow.flushes[0] == "begun"
    assert slow.flushes[-1] == "closed"
    assert parked.closed


class Together(HalfCounted):
    """Shards that can only be let go of at the same time."""

    def __init__(self, number: int, barrier: asyncio.Barrier) -> None:
        super().__init__()
        self.number = number
        self.in_doubt = True
        self.barrier = barrier

    def complete_to(self, caught_up: object) -> int:
        return 0

    async def flush(self, counts: object, complete_to: int | None = None) -> None: ...

    async def close(self) -> None:
        await self.barrier.wait()
        self.closed = True


async def revoke(owner: ShardOwner, shards: dict[int, Together]) -> None:
    owner.shards = cast("Any", dict(shards))
    await owner.revoked()


async def lose(owner: ShardOwner, shards: dict[int, Together]) -> None:
    owner._parked = cast("Any", dict(shards))
    await owner._take_over(set())


async def stop(owner: ShardOwner, shards: dict[int, Together]) -> None:
    owner.shards = cast("Any", dict(shards))
    await owner.stop(within=60)
    await owner.close()


@pytest.mark.parametrize("end", [revoke, lose, stop])
async def test_shards_are_let_go_of_side_by_side_so_that_no_rebalance_waits_for_each(
    owner: ShardOwner, end: Callable[[ShardOwner, dict[int, Together]], Awaitable[None]]
) -> None:
    barrier = asyncio.Barrier(24)
    shards = {number: Together(number, barrier) for number in range(24)}
    await asyncio.wait_for(end(owner, shards), 60)
    assert all(shard.closed for shard in shards.values())
    assert owner.shards == owner._parked == {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TopicAuthorizationFailedError("state"), "the right to read topic state is missing"),
        # What says all that there is to say needs no name.
        (BrokerUnreachable("no transaction coordinator for g"), "no transaction coordinator for g"),
    ],
)
async def test_why_a_shard_can_not_be_taken_over_yet_is_what_the_worker_is_not_ready_for(
    owner: ShardOwner,
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(owning, "_RETRY_SECONDS", 0.0)
    await owner._excuse(error, 3, "can't be taken over yet")
    assert owner.reason == f"shard 3 can't be taken over yet: {said}"
    assert caplog.messages == [owner.reason]
    assert owner.fatal is None
