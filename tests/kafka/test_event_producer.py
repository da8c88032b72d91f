"""What a producer of events takes, in which batches it goes out, and what it says was delivered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from stream.config import KafkaConfig
from stream.kafka import producer as producing
from stream.kafka.producer import DELIVERY_SECONDS, EventProducer, NotDelivered, RecordTooLarge
from stream.sizes import batch_bytes

KAFKA = KafkaConfig().model_copy(update={"topic_prefix": "p-", "group": "g", "partitions": 3})
ROOM = 4


class Batch:
    """A batch of so many records at most."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes]] = []
        self.is_closed = False

    def append(self, *, timestamp: None, key: bytes | None, value: bytes) -> object:
        if self.is_closed or len(self.records) == ROOM:
            return None
        self.records.append((key, value))
        return SimpleNamespace()

    def size(self) -> int:
        return sum(batch_bytes(key, value) for key, value in self.records)

    def record_count(self) -> int:
        return len(self.records)

    def close(self) -> None:
        self.is_closed = True


class Client:
    """A client whose broker acknowledges batches when the test says so, or fails to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, list[tuple[bytes | None, bytes]]]] = []
        self.futures: list[asyncio.Future[None]] = []
        #: What each batch comes to; None: it is acknowledged.
        self.outcomes: list[BaseException | None] = []
        #: What handing a batch over fails by, before it goes well.
        self.refusals: list[Exception] = []
        self.waits = False

    def create_batch(self) -> Batch:
        return Batch()

    async def partitions_for(self, _: str) -> set[int]:
        return {0, 1, 2}

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        if self.refusals:
            raise self.refusals.pop(0)
        self.sent.append((topic, partition, batch.records))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if not self.waits:
            self.answer(len(self.futures) - 1)
        return future

    def answer(self, number: int) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        future = self.futures[number]
        if isinstance(outcome, asyncio.CancelledError):
            future.cancel()
        elif outcome is not None:
            future.set_exception(outcome)
        else:
            future.set_result(None)

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> tuple[EventProducer, Client]:
    async def create(_: object, kafka: object, wanted: dict[str, int], config: object) -> None:
        assert wanted in ({"p-cx.visit": 3}, {"p-cx.cart": 3})

    async def largest_batch(_: object, name: str) -> int:
        return 1_000

    monkeypatch.setattr(producing, "create", create)
    monkeypatch.setattr(producing, "largest_batch", largest_batch)
    producer, client = EventProducer(KAFKA), Client()
    producer._producer = producer._admin = client
    return producer, client


def values(client: Client) -> list[bytes]:
    return [value for _, _, records in client.sent for _, value in records]


async def test_records_of_a_key_stay_together_in_order_and_others_are_spread(
    made: tuple[EventProducer, Client],
) -> None:
    producer, client = made
    keyed = [("cx.visit", b"k", b"%d" % n) for n in range(10)]
    await producer.write(keyed)
    # What makes full batches is under way, and the rest waits.
    assert [len(records) for _, _, records in client.sent] == [ROOM, ROOM]
    await producer.flush()
    assert values(client) == [b"%d" % n for n in range(10)]
    assert len({(topic, partition) for topic, partition, _ in client.sent}) == 1
    await producer.write([("cx.cart", None, b"x")] * 6)
    await producer.flush()
    spread = [(partition, len(r)) for topic, partition, r in client.sent if topic == "p-cx.cart"]
    assert spread == [(0, 2), (1, 2), (2, 2)]
    assert producer.delivered == {"cx.visit": 10, "cx.cart": 6}


async def test_a_batch_is_no_larger_than_its_topic_takes(
    made: tuple[EventProducer, Client],
) -> None:
    producer, client = made
    await producer.write([("cx.visit", b"k", b"x" * 300)] * 5)
    await producer.flush()
    sizes = [sum(batch_bytes(key, value) for key, value in records) for *_, records in client.sent]
    assert len(sizes) > 1
    assert max(sizes) <= 1_000
    assert len(values(client)) == 5


async def test_of_what_holds_a_record_that_is_too_large_nothing_is_taken(
    made: tuple[EventProducer, Client],
) -> None:
    producer, client = made
    room = 1_000 - batch_bytes(b"k", b"")
    largest = next(n for n in range(room, 0, -1) if batch_bytes(b"k", b"x" * n) == 1_000)
    for size, fits in ((largest, True), (largest + 1, False)):
        assert await producer.fits("cx.visit", b"k", b"x" * size) is fits
    with pytest.raises(RecordTooLarge, match=r"p-cx.visit takes up to 1000"):
        await producer.write([("cx.cart", b"k", b"x"), ("cx.visit", b"k", b"x" * (largest + 1))])
    await producer.flush()
    assert client.sent == []
    await producer.write([("cx.visit", b"k", b"x" * largest)])
    await producer.flush()
    assert producer.delivered == {"cx.visit": 1}


async def test_it_is_settled_once_all_that_was_taken_is_acknowledged(
    made: tuple[EventProducer, Client],
) -> None:
    producer, client = made
    client.waits = True
    settled = [producer.is_settled]
    await producer.write([("cx.visit", b"k", b"x")])
    flushing = asyncio.ensure_future(producer.flush())
    await asyncio.sleep(0.01)
    assert not flushing.done()
    settled.append(producer.is_settled)
    assert not producer.delivered
    client.answer(0)
    await asyncio.wait_for(flushing, 60)
    settled.append(producer.is_settled)
    assert settled == [True, False, True]
    assert producer.delivered == {"cx.visit": 1}


@pytest.mark.parametrize(
    "outcome", [KafkaConnectionError("gone"), asyncio.CancelledError()], ids=["refused", "let go"]
)
async def test_what_was_not_delivered_is_said_with_its_place_whatever_follows(
    made: tuple[EventProducer, Client], outcome: BaseException
) -> None:
    producer, client = made
    client.outcomes = [None, outcome, KafkaError("what followed")]
    await producer.write([("cx.visit", None, b"x")] * 3)
    for _ in range(2):
        with pytest.raises(NotDelivered) as refused:
            await producer.flush()
        assert "did not take the events" in str(refused.value)
        assert str(refused.value).endswith(" for topic p-cx.visit partition 1")
        assert type(outcome).__name__ in str(refused.value)
    assert producer.delivered == {"cx.visit": 1}
    assert not producer.is_settled
    with pytest.raises(NotDelivered):
        await producer.write([("cx.visit", None, b"x")])


@pytest.mark.parametrize(
    ("waited", "is_delivered"), [(DELIVERY_SECONDS - 1, True), (DELIVERY_SECONDS + 1, False)]
)
async def test_a_broker_may_be_away_for_as_long_as_a_delivery_may_take(
    made: tuple[EventProducer, Client],
    waited: float,
    is_delivered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, client = made
    moments = iter([0.0, waited])
    monkeypatch.setattr(producing, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    client.refusals = [KafkaTimeoutError()]
    await producer.write([("cx.visit", b"k", b"x")])
    if is_delivered:
        await producer.flush()
    else:
        with pytest.raises(NotDelivered):
            await producer.flush()
    assert producer.delivered.total() == is_delivered


@pytest.mark.parametrize(
    ("error", "is_sent"),
    [(None, True), (asyncio.CancelledError(), True), (KeyError("a mistake"), False)],
)
async def test_what_was_taken_is_delivered_at_the_end_unless_an_error_ends_it(
    made: tuple[EventProducer, Client], error: BaseException | None, is_sent: bool
) -> None:
    producer, client = made
    await producer.write([("cx.visit", b"k", b"x")])
    kind: Any = None if error is None else type(error)
    await producer.__aexit__(kind, error, None)
    assert bool(client.sent) is is_sent


async def test_a_batch_that_waits_for_the_one_before_it_is_delivered_though_a_signal_comes(
    made: tuple[EventProducer, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    producer, client = made
    send_batch, waits = client.send_batch, asyncio.Event()

    async def full(*_: object, **__: object) -> asyncio.Future[None]:
        waits.set()
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await never
        return never

    async def work() -> None:
        async with producer:
            for number in range(3 * ROOM):
                await producer.write([("cx.visit", b"k", b"%d" % number)])

    monkeypatch.setattr(client, "send_batch", full)
    monkeypatch.setattr(EventProducer, "__aenter__", AsyncMock())
    task = asyncio.create_task(work())
    await asyncio.wait_for(waits.wait(), 60)
    monkeypatch.setattr(client, "send_batch", send_batch)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert producer.is_settled
    assert values(client) == [b"%d" % number for number in range(ROOM)]
