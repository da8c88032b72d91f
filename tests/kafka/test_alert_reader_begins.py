"""Where a sink's reader begins, goes on and begins again, and what it buries, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from stream.config import KafkaConfig
from stream.core.settings import DAY, HOUR
from stream.deadletters.headers import GROUP, OUTCOME, SOURCE_OFFSET
from stream.kafka import alert_reader
from stream.kafka.acknowledged import Acknowledged
from stream.kafka.alert_reader import AlertReader
from stream.kafka.topics import DEAD_LETTER_ROOM, STATE_LIMIT, Names
from tests.fixtures.clock import in_no_time

KAFKA = KafkaConfig().model_copy(update={"group": "g", "session_timeout_ms": 9000})
NAMES = Names("p-", "g")
TP = TopicPartition("p-cx.alert", 0)
NOW = 1_790_000_000_000


class Partition:
    """A partition of changes, and the client that reads it: what it is told to do is kept."""

    def __init__(self, first: int = 0, end: int = 100, lately: int | None = 80) -> None:
        self.first = first
        self.end = end
        #: The first offset of the last hour.
        self.lately = lately
        self.at: int | None = None
        self.committed: list[OffsetAndMetadata] = []
        self.answers: list[Any] = []

    async def beginning_offsets(self, _: object) -> dict[TopicPartition, int]:
        return {TP: self.first}

    async def end_offsets(self, _: object) -> dict[TopicPartition, int]:
        return {TP: self.end}

    async def offsets_for_times(
        self, since: dict[TopicPartition, int]
    ) -> dict[TopicPartition, Any]:
        assert since == {TP: NOW - HOUR}
        return {TP: None if self.lately is None else SimpleNamespace(offset=self.lately)}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at = offset

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.committed.append(offsets[TP])

    async def getone(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def reading(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> AlertReader:
    monkeypatch.setattr(alert_reader, "now_ms", lambda: NOW)
    reader = AlertReader(KAFKA, NAMES, "hook")
    reader._consumer = partition
    reader._acknowledged = {TP: Acknowledged()}
    return reader


def change(offset: int, group: str = "g") -> Any:
    return SimpleNamespace(
        topic=TP.topic,
        partition=TP.partition,
        offset=offset,
        key=b"k",
        value=b"%d" % offset,
        headers=((GROUP, group.encode()),),
    )


@pytest.mark.parametrize(
    ("partition", "committed", "begins"),
    [
        pytest.param(Partition(), None, 80, id="a new sink is told of the last hour"),
        pytest.param(Partition(lately=None), None, 100, id="in which nothing happened"),
        pytest.param(Partition(lately=120), None, 100, id="or it has just been written"),
        pytest.param(Partition(), OffsetAndMetadata(-1, ""), 80, id="nothing was committed"),
        pytest.param(Partition(), OffsetAndMetadata(40, "[[2,3]]"), None, id="it goes on"),
    ],
)
async def test_a_reader_begins_where_the_one_before_ended_and_a_new_one_a_while_ago(
    partition: Partition,
    committed: OffsetAndMetadata | None,
    begins: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def list_offsets(group: str, **_: object) -> dict[TopicPartition, OffsetAndMetadata]:
        assert group == "g-sink-hook"
        return {} if committed is None else {TP: committed}

    @asynccontextmanager
    async def administration(_: object) -> AsyncIterator[object]:
        yield SimpleNamespace(list_consumer_group_offsets=list_offsets)

    monkeypatch.setattr(alert_reader, "administration", administration)
    reader = reading(partition, monkeypatch)
    await reader._recall()
    assert partition.at == begins
    # Else what comes until the first is delivered would be left out by the next reader.
    assert [said.offset for said in partition.committed] == ([] if begins is None else [begins])
    if begins is None:
        recalled = reader._acknowledged[TP]
        passed = [n for n in range(38, 48) if not recalled.begin(n)]
        assert passed == [38, 39, 42, 43, 44]


@pytest.mark.parametrize(
    ("partition", "position", "begins", "committed"),
    [
        pytest.param(Partition(first=30), 20, 30, [], id="what is old was deleted"),
        pytest.param(Partition(end=10, lately=4), 20, 4, [4], id="made anew"),
        pytest.param(Partition(end=10, lately=8), 20, 5, [5], id="one that is left was underway"),
    ],
)
async def test_where_nothing_lies_at_a_position_any_more_nothing_that_is_left_is_passed_over(
    partition: Partition,
    position: int,
    begins: int,
    committed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = reading(partition, monkeypatch)
    before = reader._acknowledged[TP]
    before.begin(5)
    for offset in (6, 19):
        before.begin(offset)
        before.end(offset)
    partition.answers = [OffsetOutOfRangeError({TP: position}), change(begins)]
    monkeypatch.setattr(reader, "_recall", lambda: asyncio.sleep(0))
    if begins == 4:
        before.end(5)
    delivery = await anext(aiter(reader._deliveries()))
    assert partition.at == begins
    assert [said.offset for said in partition.committed] == committed
    assert (reader._acknowledged[TP] is before) is (not committed)
    assert delivery.value == b"%d" % begins


async def test_changes_of_other_groups_are_passed_over_with_few_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partition = Partition()
    reader = reading(partition, monkeypatch)
    clock = [100.0]
    monkeypatch.setattr(alert_reader, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(reader, "_recall", lambda: asyncio.sleep(0))
    partition.answers = [*(change(n, "others") for n in range(5)), change(5)]
    deliveries = aiter(reader._deliveries())
    assert (await anext(deliveries)).value == b"5"
    assert [said.offset for said in partition.committed] == [1]
    clock[0] += alert_reader._COMMIT_SECONDS
    partition.answers = [change(6, "others"), change(7)]
    await anext(deliveries)
    # The one that is underway is what the next reader begins with; it knows of what lies behind.
    assert partition.committed[1:] == [OffsetAndMetadata(5, "[[1,1]]")]


class Client:
    """A client that can't connect, and what it was made with."""

    made: dict[str, Any]

    def __init__(self, **options: Any) -> None:
        Client.made = options
        self.is_stopped = False
        Client.last = self

    last: Client

    def subscribe(self, topics: list[str], listener: object) -> None:
        assert topics == [NAMES.alerts]

    async def start(self) -> None:
        raise KafkaConnectionError("gone")

    async def stop(self) -> None:
        self.is_stopped = True


async def test_a_reader_is_a_member_of_its_sink_s_group_that_commits_only_what_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_reader, "AIOKafkaConsumer", Client)
    monkeypatch.setattr(alert_reader, "calm_reader", lambda _: None)

    async def work(_: object) -> None: ...

    with pytest.raises(KafkaConnectionError):
        await AlertReader(KAFKA, NAMES, "hook").serve(work)
    assert Client.last.is_stopped
    said = Client.made
    assert said["group_id"] == "g-sink-hook"
    assert said["isolation_level"] == "read_committed"
    assert said["auto_offset_reset"] == "none"
    assert said["enable_auto_commit"] is False
    assert said["session_timeout_ms"] == 9000
    assert said["heartbeat_interval_ms"] <= 3000
    # A sink may be tried for a week.
    assert said["max_poll_interval_ms"] > 7 * DAY


class Burier:
    """The producer of dead letters: what it has sent, and how it was made."""

    made: list[Burier]

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.client = None
        self.sent: list[tuple[str, dict[str, Any]]] = []
        Burier.made.append(self)

    async def start(self) -> None: ...

    async def send_and_wait(self, topic: str, **record: Any) -> None:
        self.sent.append((topic, record))


async def test_what_can_not_be_delivered_is_buried_as_it_was_with_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Burier.made = []
    monkeypatch.setattr(alert_reader, "AIOKafkaProducer", Burier)
    monkeypatch.setattr(alert_reader, "calm", lambda _: None)
    reader = AlertReader(KAFKA, NAMES, "hook")
    record: ConsumerRecord = change(7)
    record.headers = [("trace", b"1"), (OUTCOME, b"late")]
    await asyncio.gather(reader._bury(record, "refused"), reader._bury(change(8), "refused"))
    (burier,) = Burier.made
    assert burier.options["enable_idempotence"] is True
    assert burier.options["max_request_size"] == STATE_LIMIT + DEAD_LETTER_ROOM
    topic, letter = burier.sent[0]
    assert topic == NAMES.dead_alerts
    assert (letter["key"], letter["value"]) == (b"k", b"7")
    said = [value for name, value in letter["headers"] if name in {"trace", OUTCOME, SOURCE_OFFSET}]
    assert said == [b"1", b"7", b"undelivered"]


@in_no_time
async def test_a_worker_that_gets_no_partition_waits_for_its_turn_and_one_that_loses_it_stops() -> (
    None
):
    reader = AlertReader(KAFKA, NAMES, "hook")
    for assigned in (set[TopicPartition](), {TP}):
        await reader.on_partitions_assigned(assigned)
        assert reader._turn.is_set() is bool(assigned)
    # It was taken in by the group just now, which holds for a session.
    await asyncio.wait_for(reader._our_turn(), 0.1)
    ended = asyncio.Event()

    async def work(_: object) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    working = asyncio.ensure_future(reader._while_ours(work))
    await asyncio.sleep(0.01)
    await reader.on_partitions_revoked({TP})
    assert ended.is_set()
    assert not reader._turn.is_set()
    assert await working is False
