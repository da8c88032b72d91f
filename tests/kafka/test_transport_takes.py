"""What a take brings beside records: leaps, and how far partitions were read; and assignments."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException
from faust import types
from faust.transport.drivers import aiokafka as stock

from stream.kafka.completeness import CaughtUp
from stream.kafka.transport import FETCH_BYTES, FETCH_LEAST_BYTES, FETCH_WAIT_MS, ChunkConsumer
from tests.kafka.batches import TP, Batch, log_of
from tests.kafka.clients import Reading, consumer_of, new_app

TEN = log_of([Batch(0, 10, tuple(range(10)))])


@pytest.fixture
async def reading() -> Reading:
    return Reading(consumer_of(new_app()).thread)


def answered(reading: Reading, highwater: int) -> None:
    """A fetch was answered just now."""
    state: Any = reading.assignment.state_value(TP)
    state.highwater, state.lso, state.timestamp = highwater, highwater, 2_000
    reading.thread._completeness._asked_at[TP] = 1_000


async def test_a_partition_that_goes_on_from_elsewhere_is_told_of_once_and_without_a_record(
    reading: Reading,
) -> None:
    """Else nothing would tell of what is gone until the next record comes."""
    await reading.enter(10, epoch=1)
    assert await reading.thread._take({TP: 1}, 0.0) == []
    reading.seek(TP, 30)
    (leap,) = await reading.thread._take({TP: 1}, 0.0)
    assert (leap.start, leap.end, leap.records, leap.epoch) == (30, 30, [], 1)
    assert await reading.thread._take({TP: 1}, 0.0) == []


async def test_a_leap_of_an_epoch_that_is_over_or_is_asked_for_anew_is_none(
    reading: Reading,
) -> None:
    await reading.enter(10, epoch=1)
    reading.seek(TP, 30)
    assert await reading.thread._take({TP: 2}, 0.0) == []
    assert await reading.thread._take({}, 0.0) == []
    await reading.enter(40, epoch=2)
    assert await reading.thread._take({TP: 2}, 0.0) == []


async def test_a_take_notes_how_far_was_read_and_a_new_position_makes_that_void(
    reading: Reading,
) -> None:
    await reading.enter(3, epoch=1)
    reading.bring(TEN, 3)
    answered(reading, highwater=10)
    (chunk,) = await reading.thread._take({TP: 1}, 0.0)
    assert chunk.end == 10
    assert reading.thread.caught_up == {TP: CaughtUp(10, at=1_000)}
    assert reading.thread.ends == {TP: 10}
    await reading.enter(3, epoch=2)
    assert reading.thread.caught_up == {}


@pytest.mark.parametrize("closed", ["consumer", "fetcher"])
async def test_nothing_is_taken_of_a_client_that_is_closed(reading: Reading, closed: str) -> None:
    getattr(reading, closed)._closed = True
    with pytest.raises(ConsumerStoppedError):
        await reading.thread._take({TP: 1}, 0.0)


async def test_what_came_damaged_is_not_fetched_again_at_once(reading: Reading) -> None:
    await reading.enter(0, epoch=1)
    damaged = FetchError(error=CorruptRecordException("damaged"), backoff=60.0)
    reading.fetcher._records[TP] = damaged
    assert reading.take(1) == []
    assert reading.fetcher._records[TP] is damaged
    damaged._backoff = 0.0
    assert reading.take(1) == []
    assert reading.wants_more


def test_fetches_are_large_and_soon_and_of_what_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = SimpleNamespace(_client=None)
    monkeypatch.setattr(stock.AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: made)
    monkeypatch.setattr("stream.kafka.transport.calm", lambda _: None)
    thread = consumer_of(new_app()).thread
    assert cast("Any", thread._create_worker_consumer(None)) is made
    assert vars(made) == {
        "_client": None,
        "_isolation_level": "read_committed",
        "_fetch_max_wait_ms": FETCH_WAIT_MS,
        "_fetch_min_bytes": FETCH_LEAST_BYTES,
        "_fetch_max_bytes": FETCH_BYTES,
    }


async def test_an_assignment_counts_as_a_heartbeat_and_tells_which_topics_were_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[object, ...]] = []

    async def assigned(self: object, partitions: object, generation_id: int = 0) -> None:
        told.append(("faust", generation_id))

    monkeypatch.setattr(stock.Consumer, "on_partitions_assigned", assigned)
    source: Any = SimpleNamespace(assigned=lambda *said: told.append(said))
    consumer: ChunkConsumer = consumer_of(new_app(source))
    cast("Any", consumer.app.assignor)._topic_groups = {"cx.visit": 3, "cx.cart": 3}
    before = time.monotonic()
    await consumer.on_partitions_assigned({types.TP("cx.visit", 1)}, 7)
    assert consumer.thread.heartbeat_at >= before
    assert told == [
        ("faust", 7),
        ({TopicPartition("cx.visit", 1)}, frozenset({"cx.visit", "cx.cart"})),
    ]
