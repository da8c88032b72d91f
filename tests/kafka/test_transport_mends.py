"""Each trap of Faust and aiokafka that docs/decisions/0007-mends.md lists does no harm here."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalOperation,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    ProducerFenced,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import RecordMetadata
from faust import types as faust_types

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.core.settings import Settings
from stream.kafka import connection, ending, transport
from stream.kafka import log as state_log
from stream.kafka import watch as watching
from stream.kafka.completeness import Completeness
from stream.kafka.connection import BrokerUnreachable, calm, let_fetches_end
from stream.kafka.log import FlushFailed, Outgoing, TransactionalWriter, read_log
from stream.kafka.membership import Membership
from stream.kafka.owner import ShardOwner
from stream.kafka.shards import OwnedShard
from stream.kafka.transport import Chunk, ChunkThread
from tests.fixtures.broker import NewBroker
from tests.fixtures.clock import in_no_time
from tests.kafka.batches import TP
from tests.kafka.clients import FakeSource, Reading, consumer_of, new_app, topic_map
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_trouble import create
from tests.kafka.topics import records

Update = Callable[..., Awaitable[bool]]


# The client's metadata ------------------------------------------------------------------------


def synchronizing(update: Update) -> tuple[AIOKafkaClient, asyncio.Task[None]]:
    """A client whose own routine asks for metadata, which the update answers."""
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    client._metadata_update = update
    calm(client)
    return client, asyncio.get_running_loop().create_task(client._md_synchronizer())


@in_no_time
async def test_a_client_that_reaches_no_broker_asks_a_few_times_a_second() -> None:
    asked = 0

    async def nobody(*_: Any) -> bool:
        nonlocal asked
        asked += 1
        return False

    client, routine = synchronizing(nobody)

    async def insist() -> None:
        # As its producer does: no broker known, so again.
        while not await client.force_metadata_update():
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(insist(), 1)
    routine.cancel()
    assert 1 < asked < 10


async def test_a_client_goes_on_asking_for_metadata_after_an_error_of_any_kind() -> None:
    answers: list[object] = [RuntimeError("unheard of"), False, True]

    async def update(*_: Any) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    client, routine = synchronizing(update)
    found = [await asyncio.wait_for(client.force_metadata_update(), 60) for _ in range(3)]
    assert found == [False, False, True]
    assert not routine.done()
    routine.cancel()


async def test_the_clients_that_a_worker_reads_and_writes_with_are_such() -> None:
    consumer = consumer_of(new_app())
    reads = consumer.thread._create_worker_consumer(consumer.transport)._client
    writes = TransactionalWriter(app_kafka(), "id", 1_000_000)._producer.client
    for client in (reads, writes):
        for mended in (client._metadata_update, client.bootstrap, client.send):
            assert mended.__module__ == calm.__module__


async def test_an_address_that_hangs_is_left_for_the_next_one_soon(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(connection, "FIRST_OF_SEVERAL_MS", 1_000)
    monkeypatch.setattr("random.shuffle", lambda _: None)
    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        hangs = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = AIOKafkaClient(bootstrap_servers=[hangs, hangs, broker.bootstrap])
        calm(client)
        await asyncio.wait_for(client.bootstrap(), 60)
        assert client.cluster.brokers()
        assert client._request_timeout_ms == 40_000
        await client.close()


async def test_a_broker_that_hangs_is_not_waited_for_with_what_takes_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0.3)

    monkeypatch.setattr(connection, "_QUICK_SECONDS", 0.05)
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    client.send = hang
    calm(client)
    closed: list[object] = []

    def close(reason: object) -> None:
        closed.append(reason)

    client._conns[1, ConnectionGroup.COORDINATION] = SimpleNamespace(close=close)
    for quick in (FindCoordinatorRequest("g", 0), HeartbeatRequest("g", 1, "m")):
        with pytest.raises(RequestTimedOutError):
            await client.send(1, quick, group=ConnectionGroup.COORDINATION)
    assert closed == [CloseReason.CONNECTION_TIMEOUT] * 2
    await client.send(1, MetadataRequest([]))
    with pytest.raises(RequestTimedOutError):
        await client.send(1, MetadataRequest([]), within=0.05)
    client._conns.clear()


@pytest.mark.parametrize("error", [NodeNotReadyError, RequestTimedOutError])
async def test_a_broker_that_does_not_answer_is_not_asked_what_others_know(
    error: type[KafkaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {1, 2, 3}

    async def send(node: int, *_: Any, **__: Any) -> int:
        if node in silent:
            raise error
        return node

    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    client.send = send
    client.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=n) for n in (1, 2, 3)])
    calm(client)

    def asked() -> set[int | None]:
        return {client.get_random_node() for _ in range(100)}

    assert asked() == {1, 2, 3}
    for node in (1, 2):
        with pytest.raises(error):
            await client.send(node, "fetch")
    assert asked() == {3}
    with pytest.raises(error):
        await client.send(3, "fetch")
    assert asked() == {1, 2, 3}, "one of them may be back"
    silent.remove(2)
    assert await client.send(2, "fetch") == 2
    assert asked() == {2}
    monkeypatch.setattr(connection, "_AVOIDED", 0.0)
    assert asked() == {1, 2, 3}
    client.cluster = SimpleNamespace(brokers=list)
    assert client.get_random_node() is None


# The consumer ---------------------------------------------------------------------------------


async def test_aborted_records_are_left_out_and_silence_is_noticed_within_100_ms() -> None:
    consumer = consumer_of(new_app())
    client = consumer.thread._create_worker_consumer(consumer.transport)
    assert client._isolation_level == "read_committed"
    assert client._fetch_max_wait_ms == 100


async def test_partitions_of_one_number_stay_together_without_faust_tables() -> None:
    app = new_app()
    consumer = consumer_of(app)
    client = consumer.thread._create_worker_consumer(consumer.transport)
    assert client._partition_assignment_strategy == [app.assignor]
    assert RoundRobinPartitionAssignor not in client._partition_assignment_strategy


class FakeThread:
    """Counts what is asked of the thread that reads."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self.chunks = chunks
        self.asked: list[object] = []

    async def idle(self) -> None:
        """Nothing is asked for."""

    async def take(self, live: object, seconds: float) -> list[Chunk]:
        self.asked.append(live)
        return self.chunks

    async def seek_to_committed(self) -> dict[faust_types.TP, int]:
        self.asked.append("committed")
        return {faust_types.TP(TP.topic, TP.partition): 7}


async def test_while_no_partition_is_live_nothing_is_read() -> None:
    source = FakeSource({})
    consumer = consumer_of(new_app(source))
    thread = FakeThread([Chunk(TP.topic, TP.partition, 1, 0, 1, [])])
    consumer._thread = cast("Any", thread)
    assert [message async for message in consumer.getmany(0.1)] == []
    assert thread.asked == []
    source.now = {TP: 1}
    assert len([message async for message in consumer.getmany(0.1)]) == 1
    assert thread.asked == [{TP: 1}]


async def test_while_the_flow_is_stopped_nothing_is_taken_and_then_dropped() -> None:
    consumer = consumer_of(new_app(FakeSource({TP: 1})))
    thread = FakeThread([Chunk(TP.topic, TP.partition, 1, 0, 1, [])])
    consumer._thread = cast("Any", thread)
    consumer.stop_flow()

    async def read() -> list[object]:
        return [message async for message in consumer.getmany(0.1)]

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0.05)
    assert thread.asked == []
    consumer.resume_flow()
    assert len(await asyncio.wait_for(reading, 60)) == 1


async def test_faust_neither_seeks_nor_drops_by_offsets_of_the_group() -> None:
    consumer = consumer_of(new_app())
    thread = FakeThread([])
    consumer._thread = cast("Any", thread)
    await consumer.perform_seek()
    assert thread.asked == []
    offsets = cast("dict[faust_types.TP, int | None]", consumer._read_offset)
    tp = faust_types.TP(TP.topic, TP.partition)
    offsets[tp] = 7
    assert offsets[tp] is None
    assert offsets.get(tp) is None


async def test_the_source_writes_before_faust_gives_up_partitions_and_starts_after_it_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = FakeSource({})
    consumer = consumer_of(new_app(source))

    async def told(*_: Any) -> None:
        source.said.append("faust")

    monkeypatch.setattr(consumer, "_on_partitions_revoked", told)
    monkeypatch.setattr(consumer, "_on_partitions_assigned", told)
    await consumer.on_partitions_revoked(set())
    await consumer.on_partitions_assigned(set())
    assert source.said == ["revoked", "faust", "faust", "assigned"]


async def test_commits_for_tools_that_fail_are_of_no_consequence() -> None:
    reading = Reading(consumer_of(new_app()).thread)
    committed: list[object] = []

    async def commit(offsets: object) -> None:
        committed.append(offsets)
        raise CommitFailedError("the group is not what it was")

    reading.consumer.commit = commit
    elsewhere = TopicPartition(TP.topic, 3)
    await reading.thread._commit_quietly({TP: 5, elsewhere: 6})
    [offsets] = committed
    assert list(cast("dict[TopicPartition, object]", offsets)) == [TP]


async def test_a_commit_for_tools_that_hangs_does_not_take_the_threads_time_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_COMMIT_SECONDS", 0.05)
    reading = Reading(consumer_of(new_app()).thread)

    async def commit(offsets: object) -> None:
        await asyncio.get_running_loop().create_future()

    reading.consumer.commit = commit
    await asyncio.wait_for(reading.thread._commit_quietly({TP: 5}), 60)


async def test_a_mistake_in_a_commit_for_tools_is_not_taken_for_its_failing() -> None:
    reading = Reading(consumer_of(new_app()).thread)

    async def commit(offsets: object) -> None:
        raise TypeError("offsets")

    reading.consumer.commit = commit
    with pytest.raises(TypeError):
        await reading.thread._commit_quietly({TP: 5})


async def test_only_heartbeats_that_the_group_accepts_count() -> None:
    thread = consumer_of(new_app()).thread
    answers = [False, True]

    async def beat() -> bool:
        return answers.pop(0)

    coordinator = SimpleNamespace(
        _do_heartbeat=beat, _push_error_to_user=None, _send_req=beat, coordinator_dead=None
    )
    thread._consumer = cast("Any", SimpleNamespace(_coordinator=coordinator))
    thread._watch_membership()
    assert not await coordinator._do_heartbeat()
    assert thread.heartbeat_at == 0.0
    assert await coordinator._do_heartbeat()
    assert thread.heartbeat_at > 0.0


async def test_fausts_own_watch_over_progress_raises_no_false_alarm_during_a_rebalance(
    caplog: pytest.LogCaptureFixture,
) -> None:
    thread = consumer_of(new_app()).thread
    # As during a rebalance: there is no assignment to look at.
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=None))
    fetcher = SimpleNamespace(_subscriptions=subscription)
    thread._consumer = cast("Any", SimpleNamespace(_fetcher=fetcher))
    thread.time_started = 0.0
    thread.verify_event_path(1e9, faust_types.TP(TP.topic, TP.partition))
    assert caplog.records == []


async def test_a_consumer_ends_well_while_it_waits_after_a_fetch_that_failed() -> None:
    reading = Reading(consumer_of(new_app()).thread)
    fetcher = reading.fetcher
    failed = asyncio.Event()

    async def nobody(*_: Any) -> None:
        failed.set()
        raise KafkaConnectionError

    fetcher._client = cast("Any", SimpleNamespace(send=nobody))
    fetcher._retry_backoff = 3600
    Completeness().watch(fetcher)
    let_fetches_end(fetcher)
    request = SimpleNamespace(topics=[(TP.topic, [(TP.partition, 0, 1)])])
    fetch = fetcher._proc_fetch_request(reading.assignment, 0, request)
    fetcher._pending_tasks.add(asyncio.ensure_future(fetch))
    await failed.wait()
    await asyncio.wait_for(fetcher.close(), 60)


def test_faust_serves_no_pages() -> None:
    app = new_app()
    assert not app.conf.web_enabled
    assert list(cast("Any", app.boot_strategy).web_server()) == []


def test_faust_makes_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asyncio.run(new_app().on_first_start())
    assert not list(tmp_path.iterdir())


# The owner of the shards ----------------------------------------------------------------------


class FakeShard:
    """A shard that stands somewhere."""

    number = 0
    epoch = 50
    overfull = False

    def __init__(self, position: int) -> None:
        self.positions = {TP.topic: position}
        self.received: list[Chunk] = []

    def receive(self, topic: str, chunk: Chunk) -> Chunk | None:
        self.received.append(chunk)
        self.positions[topic] = chunk.end
        return None

    async def find_positions(self, thread: object, counts: object) -> dict[TopicPartition, int]:
        return {TP: self.positions[TP.topic]}


class EnteringThread:
    """Remembers where it was sent."""

    def __init__(self) -> None:
        self.entered: list[tuple[dict[TopicPartition, int], int]] = []

    async def enter(self, positions: dict[TopicPartition, int], epoch: int) -> None:
        self.entered.append((positions, epoch))


async def test_a_chunk_that_faust_has_lost_is_read_again_before_any_later_one_counts() -> None:
    app = new_app()
    owner = ShardOwner(Settings(), app_kafka(), topic_map())
    thread, shard = EnteringThread(), FakeShard(0)
    owner.thread = cast("ChunkThread", thread)
    owner.shards[0] = cast("OwnedShard", shard)
    first, lost, late = (Chunk(TP.topic, 0, 50, n, n + 10, []) for n in (0, 10, 20))
    # Faust's flow control empties the agent's queue when it resumes.
    queue: Any = app.FlowControlQueue(maxsize=4, clear_on_resume=True)
    for chunk in (first, lost):
        queue.put_nowait(chunk)
    owner.apply(queue.get_nowait())
    app.flow_control.resume()
    assert queue.empty()
    owner.apply(late)
    await asyncio.sleep(0.01)
    assert [positions for positions, _ in thread.entered] == [{TP: 10}]
    owner.apply(late)
    assert shard.received == [first]
    owner.apply(Chunk(TP.topic, 0, shard.epoch, 10, 20, []))
    assert shard.positions[TP.topic] == 20


def app_kafka() -> KafkaConfig:
    return KafkaConfig()


class FakeAdministrator:
    """Answers whether the group waits for nobody."""

    def __init__(self, answer: bool | BrokerUnreachable) -> None:
        self.answer = answer
        self.asked = 0

    async def ask(self, _: object) -> bool:
        self.asked += 1
        if isinstance(self.answer, BrokerUnreachable):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        return None


def watched(
    monkeypatch: pytest.MonkeyPatch, administrator: FakeAdministrator
) -> tuple[ShardOwner, Awaitable[None]]:
    async def answers(*_: Any) -> None:
        return None

    monkeypatch.setattr(watching, "check", answers)
    monkeypatch.setattr(watching, "Administrator", lambda _: administrator)
    monkeypatch.setattr(watching, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(watching, "silence_seconds", lambda _: 0.05)
    owner = ShardOwner(Settings(), app_kafka(), topic_map())
    owner.thread = cast("ChunkThread", SimpleNamespace(heartbeat_at=1.0, membership=Membership()))
    return owner, watching.watch(app_kafka(), topic_map(), owner)


async def test_a_worker_whose_group_has_died_in_silence_stops_to_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, watch = watched(monkeypatch, FakeAdministrator(True))
    with pytest.raises(watching.GroupLost, match="start the worker again"):
        await asyncio.wait_for(watch, 60)


@pytest.mark.parametrize(
    ("answer", "outage"),
    [(False, ""), (BrokerUnreachable("nobody coordinates it"), "nobody coordinates it")],
    ids=["still gathers", "has no coordinator"],
)
@in_no_time
async def test_a_worker_waits_for_a_group_that_nobody_can_be_in(
    monkeypatch: pytest.MonkeyPatch, answer: bool | BrokerUnreachable, outage: str
) -> None:
    administrator = FakeAdministrator(answer)
    owner, watch = watched(monkeypatch, administrator)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch, 0.3)
    assert administrator.asked > 6
    assert owner.outage == outage


# Transactions ---------------------------------------------------------------------------------


class FakeProducer:
    """A transactional producer that a test lets fail or hang."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.hang = ""
        self.refused: list[Exception | None] = []
        abort = partial(self.calls.append, "abort connection")
        connections = [
            SimpleNamespace(_writer=None),
            SimpleNamespace(_writer=SimpleNamespace(transport=SimpleNamespace(abort=abort))),
        ]
        self.client = SimpleNamespace(
            close=lambda: self._call("close client"), _conns=dict(enumerate(connections))
        )
        self._sender = SimpleNamespace(close=lambda: self._call("close sender"))
        self._message_accumulator = SimpleNamespace(_batches={}, _pending_batches=set())
        #: What has ended the transaction, where the client knows it.
        self.ended: Exception | None = None
        self._txn_manager = SimpleNamespace(wait_for_transaction_end=self._end)

    def _end(self) -> asyncio.Future[None]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.ended is not None:
            end.set_exception(self.ended)
            end.exception()
        return end

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.hang:
            await asyncio.get_running_loop().create_future()

    async def begin_transaction(self) -> None:
        await self._call("begin")

    async def commit_transaction(self) -> None:
        await self._call("commit")

    async def abort_transaction(self) -> None:
        await self._call("abort")

    async def send(self, *_: Any, **__: Any) -> asyncio.Future[RecordMetadata]:
        sent: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        refused = self.refused.pop(0) if self.refused else None
        if isinstance(refused, IllegalOperation):
            raise refused
        if refused is not None:
            sent.set_exception(refused)
        else:
            sent.set_result(RecordMetadata("topic", 0, TopicPartition("topic", 0), -1, None, 0, 0))
        return sent


@pytest.fixture
async def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
async def writer(producer: FakeProducer) -> TransactionalWriter:
    writer = TransactionalWriter(app_kafka(), "id", 1_000_000)
    writer._producer = cast("Any", producer)
    return writer


RECORDS = [Outgoing("state", 0, b"a", b"1"), Outgoing("state", 0, b"b", b"2")]


@pytest.mark.parametrize("hang", ["begin", "commit"])
async def test_a_transaction_that_hangs_is_given_up_and_never_aborted(
    producer: FakeProducer, writer: TransactionalWriter, hang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_log, "FLUSH_SECONDS", 0.05)
    producer.hang = hang
    with pytest.raises(FlushFailed, match="no answer"):
        await asyncio.wait_for(writer.write(RECORDS), 60)
    assert "abort" not in producer.calls


@pytest.mark.parametrize("hang", ["", "close sender", "close client"])
async def test_of_a_producer_that_can_not_be_closed_no_connection_is_left(
    producer: FakeProducer, writer: TransactionalWriter, hang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sends for it waits for an answer, and a connection until all has gone out."""
    monkeypatch.setattr(connection, "LAST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(ending, "GOODBYE_SECONDS", 3600.0)
    producer.hang = hang
    await asyncio.wait_for(writer.stop(), 60)
    assert producer.calls == ["close sender", "close client", "abort connection"]


async def test_nor_where_whoever_closes_it_is_not_waited_for(
    producer: FakeProducer, writer: TransactionalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "GOODBYE_SECONDS", 0.05)
    for module in (connection, ending):
        monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 3600.0)
    producer.hang = "close sender"
    await asyncio.wait_for(writer.stop(), 60)
    assert producer.calls == ["close sender", "close client", "abort connection"]


async def test_all_records_of_a_fenced_producer_fail_as_one_and_without_a_log_line_each(
    producer: FakeProducer, writer: TransactionalWriter
) -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    producer.refused = [ProducerFenced(), ProducerFenced()]
    with pytest.raises(FlushFailed, match="ProducerFenced"):
        await writer.write(RECORDS)
    writer._writing = None
    gc.collect()
    await asyncio.sleep(0)
    assert unheard == []
    assert "commit" not in producer.calls
    assert "abort" not in producer.calls


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (None, "{followed}"),
        (TopicAuthorizationFailedError({"b", "a"}), "the right to write to topics a, b is missing"),
        (TopicAuthorizationFailedError("a"), "the right to write to topic a is missing"),
        (ProducerFenced(), "ProducerFenced"),
    ],
)
@pytest.mark.parametrize(
    ("followed", "shown"),
    [
        ([None, IllegalOperation("not while in transaction")], "IllegalOperation"),
        ([InvalidTxnState(), None], r"InvalidTxnState\(\) for topic state partition 0"),
    ],
)
async def test_a_transaction_fails_for_what_has_ended_it_not_for_what_followed_from_that(
    producer: FakeProducer,
    writer: TransactionalWriter,
    ended: Exception | None,
    said: str,
    followed: list[Exception | None],
    shown: str,
) -> None:
    producer.ended, producer.refused = ended, list(followed)
    with pytest.raises(FlushFailed, match=said.format(followed=shown)) as raised:
        await writer.write(RECORDS)
    cause = raised.value.__cause__
    assert cause is ended if ended is not None else cause in followed


async def test_a_record_without_a_value_removes_its_key_from_the_log(site: Site) -> None:
    topic = site.source("state")
    await asyncio.to_thread(create, site, {topic: {"cleanup.policy": "compact"}}, 1)
    writer = TransactionalWriter(site.config.kafka, f"{site.group}-tombstone", 1_000_000)
    await writer.start()
    try:
        await writer.write([Outgoing(topic, 0, b"a", b"1"), Outgoing(topic, 0, b"b", b"2")])
        await writer.write([Outgoing(topic, 0, b"a", None)])
    finally:
        await writer.stop()
    assert await read_log(site.config.kafka, topic, 0) == {b"b": b"2"}
    written = await asyncio.to_thread(records, site.bootstrap, [topic])
    assert [(r.key, r.value) for r in written] == [(b"a", b"1"), (b"b", b"2"), (b"a", None)]


# A worker -------------------------------------------------------------------------------------


def listening(pid: int) -> int:
    """At how many addresses a process listens (Linux)."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            links.append(str(fd.readlink()))
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sum(row[3] == "0A" and row[9] in inodes for row in rows)


@pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="reads Linux's /proc")
def test_a_worker_listens_at_one_address(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    assert listening(worker.pid) == 1


async def test_a_producer_whose_broker_is_stopped_waits_and_does_not_spin(
    sites: Sites, new_broker: NewBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker = new_broker()
    await asyncio.to_thread(broker.start)
    site = sites(broker.bootstrap)
    topic = site.source("state")
    await asyncio.to_thread(create, site, {topic: {}}, 1)
    writer = TransactionalWriter(site.config.kafka, f"{site.group}-stopped", 1_000_000)
    await writer.start()
    await writer.write([Outgoing(topic, 0, b"a", b"1")])
    # In good order: the client learns that there is no broker, and has nobody left to ask.
    await asyncio.to_thread(broker.stop)
    caplog.clear()
    writing = asyncio.ensure_future(writer.write([Outgoing(topic, 0, b"a", b"2")]))
    await asyncio.sleep(2)
    await writer.stop()
    with pytest.raises(FlushFailed):
        await writing
    said = [record for record in caplog.records if record.name.startswith("aiokafka")]
    assert len(said) < 100


# A member that fetches ------------------------------------------------------------------------


@pytest.mark.parametrize("live", [{TP: 1}, {}])
async def test_a_worker_that_looks_for_records_is_no_idle_member(
    monkeypatch: pytest.MonkeyPatch, live: dict[TopicPartition, int]
) -> None:
    consumer = consumer_of(new_app(FakeSource(live)))
    reading = Reading(consumer.thread)

    async def here(coroutine: Callable[..., Awaitable[object]], *arguments: object) -> object:
        return await coroutine(*arguments)

    monkeypatch.setattr(consumer.thread, "call_thread", here)
    reading.subscriptions._last_fetch_ended -= 5000
    assert reading.subscriptions.fetcher_idle_time >= 5000
    assert [message async for message in consumer.getmany(0.01)] == []
    assert reading.subscriptions.fetcher_idle_time < 100
