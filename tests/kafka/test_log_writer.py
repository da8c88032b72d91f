"""What a transactional writer hands to the client, and what it makes of where records lie then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import RecordMetadata

from stream.config import KafkaConfig
from stream.kafka import log
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, Outgoing, TransactionalWriter
from stream.kafka.transient import is_transient
from tests.fixtures.clock import in_no_time

TP = TopicPartition("state", 1)
Header = tuple[str, bytes | None]


class Batch:
    """A batch that keeps the headers of what is put in."""

    def __init__(self) -> None:
        self.headers: Sequence[Header] = ()

    def append(self, *, timestamp: None, key: None, value: None, headers: Sequence[Header]) -> None:
        self.headers = headers


class Placing:
    """A client whose broker gives records the offsets that the test says."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.calls: list[str] = []
        self.sent: list[tuple[object, ...]] = []
        self._txn_manager = SimpleNamespace(wait_for_transaction_end=lambda: None)

    async def begin_transaction(self) -> None:
        self.calls.append("begin")

    async def commit_transaction(self) -> None:
        self.calls.append("commit")

    async def send(
        self, topic: str, *, value: Any, key: Any, partition: int, headers: Sequence[Header] | None
    ) -> asyncio.Future[RecordMetadata]:
        self.sent.append((topic, partition, key, value, headers))
        return self._placed(topic, partition)

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(
        self, batch: Batch, topic: str, *, partition: int
    ) -> asyncio.Future[RecordMetadata]:
        self.sent.append((topic, partition, None, None, batch.headers))
        return self._placed(topic, partition)

    def _placed(self, topic: str, partition: int) -> asyncio.Future[RecordMetadata]:
        found: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        at = TopicPartition(topic, partition)
        found.set_result(RecordMetadata(topic, partition, at, self.offsets.pop(0), 0, 0, 0))
        return found


@pytest.fixture
async def writer() -> tuple[TransactionalWriter, Placing]:
    made, client = TransactionalWriter(KafkaConfig(), "g-shard-0", 1_000_000), Placing()
    await made._producer.stop()
    made._producer = client
    return made, client


def to(*partitions: int) -> list[Outgoing]:
    return [Outgoing("state", partition, b"k", b"v") for partition in partitions]


@pytest.mark.parametrize(
    ("first", "then", "is_lost"),
    [
        pytest.param([5, 6], [8], False, id="a marker lies in between"),
        pytest.param([5, 6], [6], True, id="where one was that is gone"),
        pytest.param([5, 6], [5, 9], True, id="one of them"),
        pytest.param([5, 6], [0], True, id="made anew"),
        pytest.param([5, 6], [-1], False, id="the broker had it already"),
        pytest.param([-1], [0], False, id="nothing is known of where the last one lies"),
    ],
)
async def test_a_partition_that_does_not_go_on_from_where_it_was_is_not_committed_to(
    writer: tuple[TransactionalWriter, Placing], first: list[int], then: list[int], is_lost: bool
) -> None:
    written, client = writer
    client.offsets = [*first, *then]
    await written.write(to(*[1] * len(first)))
    if is_lost:
        with pytest.raises(FlushFailed, match="state partition 1 was made anew or has lost"):
            await written.write(to(*[1] * len(then)))
    else:
        await written.write(to(*[1] * len(then)))
    assert client.calls == ["begin", "commit", "begin", "commit"][: 4 - is_lost]


async def test_each_partition_goes_on_from_its_own_last_record(
    writer: tuple[TransactionalWriter, Placing],
) -> None:
    written, client = writer
    client.offsets = [100, 0, 101, 1]
    for _ in range(2):
        await written.write(to(1, 2))
    assert client.calls == ["begin", "commit"] * 2


async def test_keys_values_and_headers_are_written_as_they_are_also_of_a_record_of_nothing(
    writer: tuple[TransactionalWriter, Placing],
) -> None:
    written, client = writer
    headers: list[Header] = [("why", b"late"), ("none", None)]
    client.offsets = [1, 2, 3, 4]
    await written.write(
        [
            Outgoing("dlq", 3, b"k", b"v", headers),
            Outgoing("dlq", 3, None, None, headers),
            Outgoing("state", 0, b"k", None),
            Outgoing("state", 0, None, b"v"),
        ]
    )
    assert client.sent == [
        ("dlq", 3, b"k", b"v", headers),
        ("dlq", 3, None, None, headers),
        ("state", 0, b"k", None, None),
        ("state", 0, None, b"v", None),
    ]


async def test_the_client_is_made_with_the_bounds_that_were_asked_for() -> None:
    kafka = KafkaConfig().model_copy(update={"transaction_timeout_ms": 12_345})
    client: Any = TransactionalWriter(kafka, "g-shard-7", 700_000, 3_000)._producer
    assert client._txn_manager.transactional_id == "g-shard-7"
    assert client._txn_manager.transaction_timeout_ms == 12_345
    assert client._max_request_size == 700_000
    assert client._message_accumulator._batch_size == 3_000
    await client.stop()


# Taking over ------------------------------------------------------------------------------------


def starting(error: Exception, *, is_of_bootstrap: bool = False) -> TransactionalWriter:
    """A writer whose client reaches no broker, or a broker that knows of no coordinator."""
    made = TransactionalWriter(KafkaConfig(bootstrap="kafka:1"), "g-shard-0", 1_000_000)
    client: Any = made._producer.client

    async def fails(*_: object) -> None:
        raise error

    async def goes_well(*_: object) -> None: ...

    client.bootstrap = fails if is_of_bootstrap else goes_well
    client.coordinator_lookup = fails
    client.force_metadata_update = goes_well
    return made


@in_no_time
async def test_an_id_whose_transactions_nobody_coordinates_is_told_with_what_to_look_at() -> None:
    """As a broker alone says without end where the topic of transactions is to have three."""
    made = starting(CoordinatorNotAvailableError())
    with pytest.raises(BrokerUnreachable) as raised:
        await asyncio.wait_for(made.start(), 2 * log.START_SECONDS)
    assert time.monotonic() == pytest.approx(log.START_SECONDS)
    assert is_transient(raised.value)
    assert str(raised.value) == (
        "no transactions for g-shard-0 at kafka:1 within 60 s: look at the topic"
        " __transaction_state, which needs a leader for each partition and as many brokers as"
        " transaction.state.log.replication.factor; a partition without a leader may also keep a"
        " former transaction from its end"
    )
    await made.stop()


@pytest.mark.parametrize(
    ("error", "is_of_bootstrap"),
    [
        (KafkaConnectionError("no broker"), True),
        # The client's own, which is no word of how long a coordinator was waited for.
        (TimeoutError(), True),
        (TransactionalIdAuthorizationFailed("g-shard-0"), False),
    ],
)
async def test_what_is_known_at_once_is_raised_at_once_as_it_is(
    error: Exception, is_of_bootstrap: bool
) -> None:
    made = starting(error, is_of_bootstrap=is_of_bootstrap)
    with pytest.raises(type(error)):
        await asyncio.wait_for(made.start(), 60)
    await made.stop()


# Reading ----------------------------------------------------------------------------------------


class Ending:
    """A consumer that says where a partition ends, or does not."""

    def __init__(self, error: Exception | None = None) -> None:
        self._fetcher = SimpleNamespace(_isolation_level=READ_COMMITTED)
        self.asked: list[int] = []
        self._error = error

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(self._fetcher._isolation_level)
        if self._error is not None:
            raise self._error
        return dict.fromkeys(partitions, 10)


@pytest.mark.parametrize("error", [None, KafkaConnectionError("gone")])
async def test_what_is_open_is_asked_for_and_never_read(error: Exception | None) -> None:
    ending = Ending(error)
    asking = log._end(cast("AIOKafkaConsumer", ending), TP)
    (found,) = await asyncio.gather(asking, return_exceptions=True)
    assert found == (error or 10)
    assert ending.asked == [READ_UNCOMMITTED]
    assert ending._fetcher._isolation_level == READ_COMMITTED


@pytest.mark.parametrize(
    ("beside_writer", "level"), [(True, READ_COMMITTED), (False, READ_UNCOMMITTED)]
)
async def test_a_log_is_read_to_its_end_as_it_was_and_no_further(
    beside_writer: bool, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a writer that is the end of what is closed, or a part of a transaction is read."""

    async def begin_at(consumer: object, tp: TopicPartition) -> None: ...

    async def to_end(
        consumer: object, tp: TopicPartition, end: int, patience: float
    ) -> AsyncIterator[list[Any]]:
        assert end == 10
        yield [SimpleNamespace(offset=n, key=b"k", value=b"%d" % n) for n in (8, 9)]
        yield [SimpleNamespace(offset=n, key=b"k", value=b"%d" % n) for n in (10, 11)]

    monkeypatch.setattr(log, "begin_at", begin_at)
    monkeypatch.setattr(log, "to_end", to_end)
    ending = Ending()
    reading = log._read(cast("AIOKafkaConsumer", ending), TP, beside_writer=beside_writer)
    assert await reading == {b"k": b"9"}
    assert ending.asked == [level]
