"""Chunks carry the epoch and the positions that tell whether they still count, and fit together."""

from __future__ import annotations

import logging

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import TopicAuthorizationFailedError

from stream.kafka import codecs, transport
from stream.kafka.transport import CHUNK_RECORDS
from tests.kafka.batches import CODECS, TP, Batch, log_of
from tests.kafka.clients import Reading, consumer_of, new_app

TEN = log_of([Batch(0, 10, tuple(range(10)))])


@pytest.fixture
async def reading() -> Reading:
    return Reading(consumer_of(new_app()).thread)


async def test_a_chunk_says_from_where_to_where_it_reaches(reading: Reading) -> None:
    await reading.enter(3, epoch=1)
    reading.bring(TEN, 3)
    [chunk] = reading.take(1)
    assert (chunk.topic, chunk.partition, chunk.epoch) == (TP.topic, TP.partition, 1)
    assert (chunk.start, chunk.end) == (3, 10)
    assert [r.offset for r in chunk.records] == list(range(3, 10))
    assert chunk.values == [r.value for r in chunk.records]
    assert reading.wants_more


async def test_chunks_of_a_large_fetch_follow_each_other(reading: Reading) -> None:
    many = CHUNK_RECORDS * 2 + 10
    await reading.enter(0, epoch=1)
    reading.bring(log_of([Batch(0, many, tuple(range(many)))]), 0)
    chunks = []
    while not reading.wants_more:
        chunks += reading.take(1)
    assert [(c.start, c.end) for c in chunks] == [
        (0, CHUNK_RECORDS),
        (CHUNK_RECORDS, CHUNK_RECORDS * 2),
        (CHUNK_RECORDS * 2, many),
    ]


async def test_markers_and_removed_records_move_the_position_without_records(
    reading: Reading,
) -> None:
    await reading.enter(0, epoch=1)
    reading.bring(log_of([Batch(0, 5, ()), Batch(5, 1, (), 7, "commit")]), 0)
    [chunk] = reading.take(1)
    assert (chunk.start, chunk.end, chunk.records) == (0, 6, [])


async def test_a_lost_chunk_leaves_a_hole_that_the_next_one_shows(reading: Reading) -> None:
    await reading.enter(0, epoch=1)
    reading.bring(TEN, 0)
    [lost] = reading.take(1)
    reading.bring(log_of([Batch(10, 2, (0, 1))]), 10)
    [after] = reading.take(1)
    assert after.start == lost.end != lost.start


async def test_records_of_another_epoch_are_left_where_they_are(reading: Reading) -> None:
    await reading.enter(0, epoch=1)
    reading.bring(TEN, 0)
    assert reading.take(2) == []
    [chunk] = reading.take(1)
    assert chunk.start == 0


async def test_records_of_a_former_position_are_given_up(reading: Reading) -> None:
    await reading.enter(0, epoch=1)
    reading.bring(TEN, 0)
    await reading.enter(5, epoch=2)
    assert reading.take(2) == []
    assert reading.wants_more


async def test_the_rest_of_a_fetch_is_given_up_after_a_seek(reading: Reading) -> None:
    many = CHUNK_RECORDS + 10
    await reading.enter(0, epoch=1)
    reading.bring(log_of([Batch(0, many, tuple(range(many)))]), 0)
    assert len(reading.take(1)) == 1
    await reading.enter(0, epoch=2)
    assert reading.take(2) == []
    assert reading.wants_more


async def test_records_of_a_former_assignment_are_given_up(reading: Reading) -> None:
    await reading.enter(0, epoch=1)
    reading.bring(TEN, 0)
    reading.assign([TP])
    await reading.enter(0, epoch=2)
    assert reading.take(2) == []
    assert reading.wants_more


async def test_a_fetch_that_failed_is_told_and_tried_again(
    reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    await reading.enter(0, epoch=1)
    error = TopicAuthorizationFailedError(TP.topic)
    reading.fetcher._records[TP] = FetchError(error=error, backoff=0)
    with caplog.at_level(logging.WARNING):
        assert reading.take(1) == []
    assert TP.topic in caplog.text
    assert reading.wants_more


async def test_after_a_damaged_batch_it_reads_on_where_it_stood(
    reading: Reading, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = log_of([Batch(0, 2, (0, 1)), Batch(2, 2, (0, 1))])
    damaged = bytearray(whole)
    damaged[-3] ^= 1
    await reading.enter(0, epoch=1)
    reading.bring(bytes(damaged), 0)
    [before] = reading.take(1)
    assert (before.start, before.end) == (0, 2)
    assert reading.take(1) == []
    # It is not fetched again at once, over and over: the next would be as damaged.
    assert TP in reading.fetcher._records
    assert "damaged" not in caplog.text
    monkeypatch.setattr(FetchError, "calculate_backoff", lambda _: 0)
    assert reading.take(1) == []
    assert "the batch at 2 is damaged" in caplog.text
    assert reading.wants_more
    assert reading.assignment.state_value(TP).position == 2
    reading.bring(whole, 2)
    [after] = reading.take(1)
    assert (after.start, after.end) == (2, 4)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
async def test_what_is_held_unpacked_of_all_partitions_is_bounded_and_each_gets_its_turn(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = 50_000
    for module in (codecs, transport):
        monkeypatch.setattr(module, "MOST_UNPACKED", bound)
    monkeypatch.setattr(transport, "CHUNK_BYTES", 2_000)
    parts = [TopicPartition("cx.visit", number) for number in range(6)]
    reading = Reading(consumer_of(new_app()).thread, parts)
    number, kept = CODECS[codec], tuple(range(130))
    small = Batch(0, 130, kept, codec=number)
    large = [
        Batch(base, 130, kept, codec=number, value=b"x" * 300) for base in range(130, 600, 130)
    ]
    for tp in parts:
        await reading.enter(0, 1, tp)
        reading.bring(log_of([small, *large]), 0, tp)
    reached = dict.fromkeys(parts, 0)
    most = 0
    fetched = reading.fetcher._records
    while fetched:
        chunks = reading.thread._drain(reading.fetcher, dict.fromkeys(parts, 1))
        assert chunks, "somebody must go on"
        for chunk in chunks:
            tp = TopicPartition(chunk.topic, chunk.partition)
            assert (chunk.start, chunk.end) == (reached[tp], chunk.start + len(chunk.records))
            reached[tp] = chunk.end
        held = [result._partition_records.unpacked for result in fetched.values()]
        assert max(held, default=0) < bound
        most = max(most, sum(held))
    assert set(reached.values()) == {650}
    assert bound < most < 2 * bound
