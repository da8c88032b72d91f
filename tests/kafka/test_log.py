"""Logs that several owners or several transactional ids write to."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownError

from stream.config import KafkaConfig
from stream.kafka import ids, log
from stream.kafka.alert_log import AlertLog, states_left
from stream.kafka.connection import abandon
from stream.kafka.log import (
    FlushFailed,
    Outgoing,
    RecordBeyondLimit,
    TransactionalWriter,
    read_log,
)
from stream.kafka.producer import EventProducer, NotDelivered
from stream.kafka.topics import STATE_LIMIT, Names, prepare
from stream.kafka.transient import is_transient
from stream.kafka.wording import in_words
from tests.kafka.conftest import Site
from tests.kafka.test_trouble import create
from tests.kafka.topics import administer, records, until_closed, until_empty


async def test_what_was_committed_behind_an_open_transaction_is_read(site: Site) -> None:
    """Or whoever takes over alerts would begin from a state that is not the last."""
    kafka = site.config.kafka
    topic = (await prepare(kafka)).names.alert_state
    dying = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=f"{kafka.group}-dying"
    )
    await dying.start()
    await dying.begin_transaction()
    await dying.send_and_wait(topic, key=b"a", value=b"open", partition=0)
    writer = TransactionalWriter(kafka, f"{kafka.group}-other", STATE_LIMIT)
    await writer.start()
    await writer.write([Outgoing(topic, 0, b"b", b"committed")])
    reading = asyncio.ensure_future(read_log(kafka, topic, 0))
    await asyncio.wait({reading}, timeout=2)
    await dying.abort_transaction()
    assert await reading == {b"b": b"committed"}
    await writer.stop()
    await dying.stop()


#: How long the broker leaves them open.
_LEFT_OPEN_SECONDS = 600


async def left_open(site: Site, family: str) -> None:
    """As whoever is killed while it writes a family's alerts leaves them."""
    kafka = site.config.kafka
    names = (await prepare(kafka)).names
    dying = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        transactional_id=ids.of_alerts(kafka.group, family),
        transaction_timeout_ms=_LEFT_OPEN_SECONDS * 1000,
    )
    await dying.start()
    await dying.begin_transaction()
    await dying.send_and_wait(names.alert_state, key=b"a", value=b"open", partition=0)
    await abandon(dying)


async def test_alerts_are_taken_over_soon_where_those_of_other_families_were_left_open(
    site: Site,
) -> None:
    """Also where one of those has no rules any more: else all wait for the time-out."""
    kafka = site.config.kafka
    for family in ("cx.visit", "cx.signal"):
        await left_open(site, family)
    names = Names(kafka.topic_prefix, kafka.group)
    owners = [AlertLog(kafka, names, family) for family in ("cx.survey", "cx.visit")]
    async with asyncio.timeout(_LEFT_OPEN_SECONDS / 4):
        found = await asyncio.gather(
            *(owner.take_over() for owner in owners), states_left(kafka, names, "cx.signal")
        )
    assert [states.alerts for states in found] == [()] * 3
    for owner in owners:
        await owner.close()


class Fetched(NamedTuple):
    offset: int
    key: bytes
    value: bytes


class Growing:
    """A consumer of a log to which somebody writes on: what comes is more than was there."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[Any, int]:
        return dict.fromkeys(partitions, 0)

    def __init__(self) -> None:
        self.at = 0

    def assign(self, _: object) -> None: ...

    def seek(self, *_: object) -> None: ...

    async def position(self, _: object) -> int:
        return self.at

    async def getmany(self, tp: TopicPartition, **_: object) -> dict[TopicPartition, list[Fetched]]:
        self.at = 4
        return {tp: [Fetched(n, b"key%d" % (n % 2), b"%d" % n) for n in range(3)]}


async def test_beside_a_writer_no_part_of_a_later_transaction_is_read() -> None:
    consumer: Any = Growing()
    found = await log._read(consumer, TopicPartition("g-state", 0), beside_writer=True)
    assert found == {b"key0": b"0", b"key1": b"1"}


async def test_a_record_larger_than_any_may_be_stops_the_worker_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No broker is asked, so none could be mended, and the next owner would make the same one."""
    writer = TransactionalWriter(KafkaConfig(), "g-shard-3", STATE_LIMIT)

    async def at_once(*_: object) -> None: ...

    producer = writer._producer
    monkeypatch.setattr(producer, "begin_transaction", at_once)
    monkeypatch.setattr(producer.client, "_wait_on_metadata", at_once)
    monkeypatch.setattr(producer._txn_manager, "is_in_transaction", lambda: True)
    with pytest.raises(RecordBeyondLimit) as refused:
        await writer.write([Outgoing("g-state", 3, b"block/segments:", bytes(STATE_LIMIT))])
    assert not is_transient(refused.value)
    assert str(refused.value) == (
        "record b'block/segments:' for topic g-state partition 3 has 16777231 bytes, more than the"
        " 16777216 that any may have"
    )


REFUSING = {
    UnknownError: {"cleanup.policy": "compact"},
    MessageSizeTooLargeError: {"max.message.bytes": "100"},
}


@pytest.mark.parametrize("error", REFUSING)
async def test_a_flush_that_the_broker_refuses_says_of_which_topic_and_partition(
    site: Site, error: type[KafkaError]
) -> None:
    """A flush writes to several, and the broker's word alone may say nothing at all."""
    good, bad = site.source("good"), site.source("bad")
    await asyncio.to_thread(create, site, {good: {}, bad: REFUSING[error]})
    writer = TransactionalWriter(site.config.kafka, f"{site.group}-one", STATE_LIMIT)
    await writer.start()
    fine, refused = Outgoing(good, 1, b"k", b"v"), Outgoing(bad, 2, None, bytes(200))
    with pytest.raises(FlushFailed) as failed:
        await writer.write([fine, refused, fine])
    await writer.stop()
    assert str(failed.value) == f"{in_words(error())} for topic {bad} partition 2"
    assert type(failed.value.__cause__) is error


async def test_events_that_the_broker_refuses_are_told_with_topic_and_partition(site: Site) -> None:
    visit = site.source("cx.visit")
    await asyncio.to_thread(create, site, {visit: {"cleanup.policy": "compact"}}, 1)
    with pytest.raises(NotDelivered) as failed:
        async with EventProducer(site.config.kafka) as producer:
            await producer.write([("cx.visit", None, b"{}")])
    assert str(failed.value).endswith(
        f"did not take the events: UnknownError() for topic {visit} partition 0"
    )


class Sleeper(TransactionalWriter):
    """A writer that falls asleep when its records went to the producer, and is woken later."""

    def __init__(self, kafka: KafkaConfig, transactional_id: str) -> None:
        super().__init__(kafka, transactional_id, STATE_LIMIT)
        self.asleep, self.woken = asyncio.Event(), asyncio.Event()
        commit = self._producer.commit_transaction

        async def committing() -> None:
            self.asleep.set()
            await self.woken.wait()
            await commit()

        self._producer.commit_transaction = committing


@pytest.mark.parametrize(
    ("heir", "times"), [pytest.param("one", 1, id="fenced"), pytest.param("other", 2, id="not")]
)
async def test_of_a_flush_that_an_heir_makes_anew_the_sleeper_writes_nothing_once_it_is_fenced(
    site: Site, heir: str, times: int
) -> None:
    kafka = site.config.kafka
    letters = f"{site.prefix}cx.visit.dlq"
    await prepare(kafka)
    sleeper = Sleeper(kafka, f"{kafka.group}-one")
    await sleeper.start()
    letter = Outgoing(letters, 0, b"v", b"{")
    writing = asyncio.ensure_future(sleeper.write([letter]))
    await sleeper.asleep.wait()
    writer = TransactionalWriter(kafka, f"{kafka.group}-{heir}", STATE_LIMIT)
    await writer.start()
    await writer.write([letter])
    sleeper.woken.set()
    (outcome,) = await asyncio.gather(writing, return_exceptions=True)
    assert isinstance(outcome, FlushFailed) == (times == 1)
    await until_closed(site.bootstrap, [letters])
    found = await asyncio.to_thread(records, site.bootstrap, [letters])
    assert [r.value for r in found] == [b"{"] * times
    await writer.stop()
    await sleeper.stop()


async def test_what_goes_to_a_topic_that_was_made_anew_is_not_written(site: Site) -> None:
    """Readers would take it for a change of what is no longer there."""
    topic = site.source("told")
    await asyncio.to_thread(create, site, {topic: {}})
    writer = TransactionalWriter(site.config.kafka, f"{site.group}-one", STATE_LIMIT)
    await writer.start()
    some = [Outgoing(topic, 1, b"k%d" % n, b"v") for n in range(3)]
    await writer.write(some)
    await writer.write(some[:1])
    # Else the end of the transaction goes to the topic that is made anew.
    await until_closed(site.bootstrap, [topic])
    await asyncio.to_thread(administer, site.bootstrap, lambda admin: admin.delete_topics([topic]))
    await asyncio.to_thread(create, site, {topic: {}})
    await until_empty(site.bootstrap, TopicPartition(topic, 1))
    with pytest.raises(FlushFailed, match=f"topic {topic} partition 1 was made anew or has lost"):
        await writer.write(some)
    await writer.stop()
    heir = TransactionalWriter(site.config.kafka, f"{site.group}-one", STATE_LIMIT)
    await heir.start()
    await heir.write(some[1:])
    await heir.stop()
    await until_closed(site.bootstrap, [topic])
    found = await asyncio.to_thread(records, site.bootstrap, [topic])
    assert [record.key for record in found] == [b"k1", b"k2"]
