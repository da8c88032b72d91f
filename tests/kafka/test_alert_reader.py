"""Reading the alert topic for a sink: in turn, out of order, and never past what is not done."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import GroupAuthorizationFailedError, OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from stream.broker import Broker
from stream.cli import cli
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates
from stream.deadletters.headers import GROUP
from stream.kafka import alert_reader
from stream.kafka.acknowledged import Acknowledged
from stream.kafka.administration import administration
from stream.kafka.alert_log import AlertLog
from stream.kafka.alert_reader import NEWS_MS, AlertReader
from stream.kafka.topics import Names, prepare
from stream.sinks.dispatcher import Delivery
from tests.fixtures.clock import in_no_time
from tests.kafka.topics import records, send
from tests.sinks.receiver import change

_numbers = itertools.count(1)
#: How long a test may stand still before its readers are given up by their group: what they commit
#: then is refused, and that ends them.
_SESSION = "30s"
#: Longer than a group waits for a reader that did not get to say goodbye, in seconds.
_PATIENCE = 180.0


class Taker:
    """Takes deliveries and acknowledges those that it is told to."""

    def __init__(self, *left: bytes) -> None:
        self.left = set(left)
        self.taken: list[bytes] = []
        self.ended = asyncio.Event()

    async def work(self, deliveries: AsyncIterator[Delivery]) -> None:
        self.ended.clear()
        try:
            async for delivery in deliveries:
                self.taken.append(delivery.value)
                if delivery.value not in self.left:
                    await delivery.acknowledge()
        finally:
            self.ended.set()

    async def until(self, count: int, *serving: asyncio.Task[None]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while len(self.taken) < count:
                for task in serving:
                    assert not task.done(), task
                await asyncio.sleep(0.02)


def site(broker: Broker, session: str = _SESSION) -> tuple[KafkaConfig, Names]:
    number = next(_numbers)
    kafka = KafkaConfig(
        bootstrap=broker.bootstrap,
        group=f"reader-{number}",
        topic_prefix=f"reader-{number}-",
        session_timeout=session,
    )
    return kafka, Names(kafka.topic_prefix, kafka.group)


async def committed(kafka: KafkaConfig, tp: TopicPartition, at: OffsetAndMetadata) -> None:
    """Commit for the sink, as a reader before did that has stopped."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        group_id=f"{kafka.group}-sink-hook",
        # Else it commits where it stands when it stops, if it has come to know that by then.
        enable_auto_commit=False,
    ) as consumer:
        consumer.assign([tp])
        await consumer.commit({tp: at})


def test_the_next_reader_goes_on_with_what_was_not_done(broker: Broker) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))
    send(kafka, [("cx.alert", None, b"%d" % n) for n in range(5)])

    async def reading() -> tuple[Taker, Taker]:
        first, second = Taker(b"1"), Taker()
        one = asyncio.create_task(AlertReader(kafka, names, "hook").serve(first.work))
        await first.until(5)
        # The other gets its turn when the first has stopped what it had underway.
        two = asyncio.create_task(AlertReader(kafka, names, "hook").serve(second.work))
        await asyncio.sleep(1)
        one.cancel()
        await asyncio.wait({one})
        assert first.ended.is_set()
        await second.until(1)
        two.cancel()
        await asyncio.wait({two})
        return first, second

    async def reading_on() -> list[bytes]:
        third = Taker()
        three = asyncio.create_task(AlertReader(kafka, names, "hook").serve(third.work))
        await third.until(1)
        three.cancel()
        await asyncio.wait({three})
        return third.taken

    first, second = asyncio.run(reading())
    assert first.taken[:5] == [b"0", b"1", b"2", b"3", b"4"]
    # Whatever the group does meanwhile, what was done is not done again.
    assert set(first.taken[5:]) | set(second.taken) == {b"1"}
    send(kafka, [("cx.alert", None, b"5")])
    assert asyncio.run(reading_on()) == [b"5"]


def test_no_more_pass_one_that_is_not_done_than_are_kept_in_mind(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))
    monkeypatch.setattr(alert_reader, "_MOST_PASSED", 3)
    send(kafka, [("cx.alert", None, b"%d" % n) for n in range(6)])
    seen: list[bytes] = []
    waited: list[bool] = []

    async def work(deliveries: AsyncIterator[Delivery]) -> None:
        held = await anext(deliveries)
        seen.append(held.value)
        waiting = asyncio.ensure_future(anext(deliveries))
        while len(seen) < 4:
            delivery = await waiting
            seen.append(delivery.value)
            await delivery.acknowledge()
            waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.wait({waiting}, timeout=0.5)
        waited.append(not waiting.done())
        await held.acknowledge()
        seen.append((await waiting).value)

    asyncio.run(asyncio.wait_for(AlertReader(kafka, names, "hook").serve(work), _PATIENCE))
    assert waited == [True]
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_a_new_sink_is_not_told_of_long_ago(broker: Broker) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))

    async def told(sink: str, count: int, *left: bytes) -> list[bytes]:
        taker = Taker(*left)
        task = asyncio.create_task(AlertReader(kafka, names, sink).serve(taker.work))
        await taker.until(count)
        task.cancel()
        await asyncio.wait({task})
        return taker.taken

    async def appended(*records: tuple[bytes, int]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        for value, ago in records:
            at = time.time_ns() // 1_000_000 - ago
            await producer.send_and_wait(names.alerts, value, timestamp_ms=at)
        await producer.stop()

    asyncio.run(appended((b"old", NEWS_MS + 60_000), (b"new", NEWS_MS - 60_000)))
    assert asyncio.run(told("first", 1, b"new")) == [b"new"]
    # To a sink that was there nothing is too old, even if it has taken nothing yet.
    asyncio.run(appended((b"late", NEWS_MS + 60_000)))
    assert asyncio.run(told("first", 2)) == [b"new", b"late"]


def test_a_sink_is_told_what_follows_where_the_topic_has_lost_what_was_read(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """As an unclean election or a restored disk leaves it, and as a topic that was made anew."""
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))
    send(kafka, [("cx.alert", None, b"kept")])
    (kept,) = records(kafka.bootstrap, [names.alerts])
    tp = TopicPartition(names.alerts, kept.partition)

    async def told() -> list[bytes]:
        await committed(kafka, tp, OffsetAndMetadata(9, "[[1,3]]"))
        taker = Taker()
        task = asyncio.create_task(AlertReader(kafka, names, "hook").serve(taker.work))
        await taker.until(1, task)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for n in range(12):
                await producer.send_and_wait(names.alerts, b"%d" % n, partition=tp.partition)
        await taker.until(13, task)
        task.cancel()
        await asyncio.wait({task})
        return taker.taken

    assert asyncio.run(told()) == [b"kept", *(b"%d" % n for n in range(12))]
    (warned,) = (r.getMessage() for r in caplog.records if r.name == alert_reader.__name__)
    assert warned == (
        f"sink hook: {names.alerts} partition {tp.partition} ends at 1 and was read up to 9: it has"
        " lost records, or was made anew; what is left of the last hour is told again"
    )


def test_a_topic_that_loses_records_while_it_is_read_leaves_out_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))

    async def told() -> list[bytes]:
        taker = Taker(b"undone")
        reader = AlertReader(kafka, names, "hook")
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            task = asyncio.create_task(reader.serve(taker.work))
            tp = await _has_begun(reader)
            ago = time.time_ns() // 1_000_000 - NEWS_MS - 60_000
            for value in (b"long done", b"undone", b"done"):
                await producer.send_and_wait(
                    names.alerts, value, partition=tp.partition, timestamp_ms=ago
                )
            await taker.until(3, task)
            reader._consumer.seek(tp, 9)
            await taker.until(5, task)
            await producer.send_and_wait(names.alerts, b"new", partition=tp.partition)
            await taker.until(6, task)
            task.cancel()
            await asyncio.wait({task})
        return taker.taken

    # The one that the sink has not taken yet is older than an hour, and is told for all that.
    first, second = [b"long done", b"undone", b"done"], [b"undone", b"done", b"new"]
    assert asyncio.run(told()) == first + second
    assert "ends at 3 and was read up to 9" in caplog.text


def test_a_sink_that_was_away_for_too_long_goes_on_with_what_is_left(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))
    send(kafka, [("cx.alert", None, b"%d" % n) for n in range(4)])
    found = records(kafka.bootstrap, [names.alerts])
    tp = TopicPartition(names.alerts, found[0].partition)

    async def told() -> list[bytes]:
        await committed(kafka, tp, OffsetAndMetadata(1, ""))
        async with administration(kafka) as admin:
            await admin.delete_records({tp: RecordsToDelete(before_offset=3)})
        taker = Taker()
        task = asyncio.create_task(AlertReader(kafka, names, "hook").serve(taker.work))
        await taker.until(1, task)
        task.cancel()
        await asyncio.wait({task})
        return taker.taken

    assert asyncio.run(told()) == [b"3"]
    assert "begins at 3, the changes from 1 on are gone" in caplog.text


def test_a_sink_is_told_of_its_own_groups_changes_and_of_those_of_old(broker: Broker) -> None:
    kafka, names = site(broker)
    other = KafkaConfig(
        bootstrap=kafka.bootstrap,
        group=f"{kafka.group}-b",
        topic_prefix=kafka.topic_prefix,
        session_timeout=_SESSION,
    )
    asyncio.run(prepare(kafka))
    asyncio.run(prepare(other))

    async def writing(one: KafkaConfig, rule: str) -> None:
        alerts = AlertLog(one, Names(one.topic_prefix, one.group), "cx.survey")
        await alerts.take_over()
        await alerts.write(AlertStates(), [msgspec.structs.replace(change(), rule=rule)])
        await alerts.close()

    async def told(one: KafkaConfig, count: int) -> list[str]:
        taker = Taker()
        task = asyncio.create_task(AlertReader(one, names, "hook").serve(taker.work))
        await taker.until(count)
        # Changes of others are done with too, so that nobody reads them for ever.
        async with asyncio.timeout(_PATIENCE), administration(one) as admin:
            while not await _has_read_all(admin, one, names):  # noqa: ASYNC110 - it is Kafka's.
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        return sorted(json.loads(value)["rule"] for value in taker.taken)

    send(kafka, [("cx.alert", None, b'{"rule":"Old"}')])
    asyncio.run(writing(kafka, "Ours"))
    asyncio.run(writing(other, "Theirs"))
    send(kafka, [("cx.alert", None, b'{"rule":"Older"}')])
    assert asyncio.run(told(kafka, 3)) == ["Old", "Older", "Ours"]
    assert asyncio.run(told(other, 3)) == ["Old", "Older", "Theirs"]
    # What a change says is the same, whoever wrote it: the group stands beside it.
    written = {r.reasons.get(GROUP) for r in records(kafka.bootstrap, [names.alerts])}
    assert written == {kafka.group, other.group, None}


def test_many_changes_of_another_group_cost_a_sink_few_commits(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))
    commits: list[object] = []
    commit = AIOKafkaConsumer.commit

    async def counted(self: AIOKafkaConsumer, offsets: object) -> None:
        commits.append(offsets)
        await commit(self, offsets)

    async def appended() -> None:
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
            for n in range(2_000):
                await producer.send(names.alerts, b"%d" % n, headers=[(GROUP, b"other")])
            await producer.flush()
            await producer.send_and_wait(names.alerts, b"own")

    async def told() -> tuple[list[bytes], float]:
        taker, began = Taker(), time.monotonic()
        task = asyncio.create_task(AlertReader(kafka, names, "hook").serve(taker.work))
        await taker.until(1)
        took = time.monotonic() - began
        task.cancel()
        await asyncio.wait({task})
        return taker.taken, took

    asyncio.run(appended())
    monkeypatch.setattr(AIOKafkaConsumer, "commit", counted)
    taken, took = asyncio.run(told())
    assert taken == [b"own"]
    assert len(commits) < took / alert_reader._COMMIT_SECONDS + 5


@pytest.mark.parametrize(
    ("recalled", "foreign", "commits"),
    [
        pytest.param(0, 2_500, 3, id="nothing was recalled"),
        pytest.param(999, 2_500, 3, id="fewer than may pass were recalled"),
        # What was ended by who read before us makes no room by being committed again.
        pytest.param(1_000, 2_500, 3, id="as many as may pass were recalled"),
        pytest.param(50_000, 2_500, 3, id="many more were recalled"),
        pytest.param(50_000, 10, 1, id="few are passed over"),
    ],
)
async def test_changes_of_another_group_cost_as_few_commits_whatever_was_recalled(
    recalled: int, foreign: int, commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit soon after they begin to come, and one whenever as many as may pass have come."""
    monkeypatch.setattr(alert_reader, "_MOST_PASSED", 1_000)
    monkeypatch.setattr(alert_reader, "_COMMIT_SECONDS", 3_600.0)
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")
    tp, committed = TopicPartition("cx.alert", 0), []

    async def getone() -> SimpleNamespace:
        offset = next(offsets)
        headers = () if offset == end else ((GROUP, b"other"),)
        return SimpleNamespace(
            topic=tp.topic, partition=0, offset=offset, headers=headers, value=b"own", key=None
        )

    async def commit(offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        committed.append(offsets[tp].offset)

    async def recall() -> None:
        note = json.dumps([[foreign, recalled]]) if recalled else ""
        reader._acknowledged = {tp: Acknowledged.recalled(0, note)}

    end = foreign + recalled
    offsets = itertools.count()
    monkeypatch.setattr(reader, "_recall", recall)
    reader._consumer = SimpleNamespace(getone=getone, commit=commit)
    own = await asyncio.wait_for(anext(aiter(reader._deliveries())), 30)
    assert (len(committed), committed) == (commits, sorted(committed))
    # Whoever reads on has at most as many before them as one commit is for.
    assert foreign - committed[-1] < 1_000
    await own.acknowledge()
    assert committed[-1] == end + 1


async def _has_begun(reader: AlertReader) -> TopicPartition:
    """Wait until nothing that comes is too old for the sink."""
    while not reader._acknowledged:  # noqa: ASYNC110 - it is a dictionary.
        await asyncio.sleep(0.02)
    (tp,) = reader._acknowledged
    while await reader._consumer.committed(tp) is None:  # noqa: ASYNC110 - it is Kafka's.
        await asyncio.sleep(0.02)
    return tp


async def _has_read_all(admin: AIOKafkaAdminClient, kafka: KafkaConfig, names: Names) -> bool:
    found = await admin.list_consumer_group_offsets(f"{kafka.group}-sink-hook")
    there = await asyncio.to_thread(records, kafka.bootstrap, [names.alerts])
    return all(found[TopicPartition(names.alerts, r.partition)].offset > r.offset for r in there)


def test_what_can_not_be_delivered_lies_among_the_dead_letters(
    broker: Broker, tmp_path: Path
) -> None:
    kafka, names = site(broker)
    asyncio.run(prepare(kafka))

    async def changed() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        ours = [(GROUP, kafka.group.encode()), ("trace", b"1")]
        await producer.send_and_wait(names.alerts, b"value", b"key", headers=ours)
        await producer.stop()

    asyncio.run(changed())

    async def work(deliveries: AsyncIterator[Delivery]) -> None:
        async for delivery in deliveries:
            await delivery.bury("answer 404")
            await delivery.acknowledge()
            done.set()

    async def reading() -> None:
        task = asyncio.create_task(AlertReader(kafka, names, "hook").serve(work))
        await asyncio.wait_for(done.wait(), _PATIENCE)
        task.cancel()
        await asyncio.wait({task})

    done = asyncio.Event()
    asyncio.run(reading())
    (dead,) = records(kafka.bootstrap, [f"{kafka.topic_prefix}cx.alert.dlq"])
    assert (dead.key, dead.value) == (b"key", b"value")
    assert [v for name, v in dead.headers if name == GROUP] == [kafka.group.encode()]
    assert dead.reasons["trace"] == "1"
    assert dead.reasons["__connect.errors.topic"] == f"{kafka.topic_prefix}cx.alert"
    assert dead.reasons["__connect.errors.offset"] == "0"
    assert dead.reasons["cxkpi.outcome"] == "undelivered"
    assert dead.reasons["cxkpi.field"] == "sink hook"
    assert dead.reasons["cxkpi.reason"] == "answer 404"

    config = tmp_path / "c.toml"
    config.write_text(
        f'[kafka]\nbootstrap = "{kafka.bootstrap}"\ngroup = "{kafka.group}"\n'
        f'topic_prefix = "{kafka.topic_prefix}"\n'
    )

    def dlq(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["dlq", *arguments, "--config", str(config)])

    (row,) = json.loads(dlq("list", "--topic", "cx.alert", "--json").stdout)
    assert (row["topic"], row["outcome"]) == ("cx.alert", "undelivered")
    assert (row["field"], row["reason"]) == ("sink hook", "answer 404")
    assert "sink hook" in dlq("show", "cx.alert/0/0").stdout
    assert dlq("list", "--json").stdout.strip() == "[]"
    refused = dlq("redrive", "--topic", "cx.alert", "--yes")
    assert (refused.exit_code, "is not sent again" in refused.stderr) == (2, True)


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 3), min_size=1, max_size=40),
    st.data(),
)
def test_who_reads_on_gets_exactly_what_was_not_done(
    first: int, gaps: list[int], data: st.DataObject
) -> None:
    """Offsets have gaps: markers of transactions are records too."""
    offsets = [first + n for n in itertools.accumulate(gaps, initial=0)]
    position, note = first, ""
    done: set[int] = set()
    for _ in range(3):
        acknowledged = Acknowledged.recalled(position, note)
        coming = iter([offset for offset in offsets if offset >= position])
        underway: list[int] = []
        for step in data.draw(st.lists(st.integers(-1, 5), max_size=40)):
            if step < 0 and (offset := next(coming, None)) is not None:
                assert acknowledged.begin(offset) == (offset not in done)
                if offset not in done:
                    underway.append(offset)
            elif step < len(underway) and step >= 0:
                acknowledged.end(underway[step])
                done.add(underway.pop(step))
                before = acknowledged.unwritten
                position, note = acknowledged.written()
                assert (before, acknowledged.unwritten) == (1, 0)
                assert {o for o in offsets if o < position} <= done


def test_a_note_that_would_be_too_long_forgets_the_end_of_it() -> None:
    acknowledged = Acknowledged()
    for offset in range(20_000):
        acknowledged.begin(offset)
    for offset in range(1, 20_000, 2):
        acknowledged.end(offset)
    position, note = acknowledged.written()
    assert (position, len(note) <= 4_000) == (0, True)
    again = Acknowledged.recalled(position, note)
    assert [again.begin(n) for n in range(4)] == [True, False, True, False]
    assert again.begin(19_999)


def test_notes_of_others_mean_nothing() -> None:
    for note in ("", "consumer-7", "{}", "[[1]]", "[[0,1000000000000]]"):
        assert Acknowledged.recalled(5, note).begin(6)


@pytest.mark.parametrize("note", ["[[1,3],[0,-2]]", "[[1,1],[9,0]]", "[[1,2],[0,-1]]"])
def test_a_note_of_no_records_or_fewer_is_none_of_ours(note: str) -> None:
    """A negative length would make up for one that is too long."""
    assert Acknowledged.recalled(5, note).begin(6)


@in_no_time
async def test_it_is_our_turn_for_as_long_as_the_group_can_not_have_given_us_up() -> None:
    reader = AlertReader(KafkaConfig(session_timeout="6s"), Names("", "g"), "webhook")
    waiting = asyncio.create_task(reader._our_turn())
    # As after a process stood still: an answer to what was asked long ago, and then a fresh one.
    for ago in (60.0, 6.5):
        reader._note_member(time.monotonic() - ago)
        await asyncio.sleep(0.02)
        assert not waiting.done()
    reader._note_member(time.monotonic() - 4.5)
    await asyncio.wait_for(waiting, 1)


def test_who_hears_nothing_of_the_group_tries_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, names = site(broker, "10s")
    asyncio.run(prepare(kafka))
    send(kafka, [("cx.alert", None, b"one")])
    beat = GroupCoordinator._do_heartbeat
    is_cut_off = False

    async def answered(self: GroupCoordinator) -> bool:
        # The group has heard us, and we may not have heard its answer.
        return bool(await beat(self)) and not is_cut_off

    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", answered)

    async def work(deliveries: AsyncIterator[Delivery]) -> None:
        nonlocal is_cut_off
        delivery = await anext(deliveries)
        is_cut_off = True
        await asyncio.sleep(kafka.session_timeout_ms / 1000)
        waiting = asyncio.ensure_future(delivery.our_turn())
        await asyncio.wait({waiting}, timeout=1)
        seen.append(waiting.done())
        is_cut_off = False
        await asyncio.wait_for(waiting, 30)
        seen.append(waiting.done())

    seen: list[bool] = []
    asyncio.run(asyncio.wait_for(AlertReader(kafka, names, "hook").serve(work), 300))
    # Whom the group has given up meanwhile begins again.
    assert (set(seen[:-1]), seen[-1]) == ({False}, True)


async def test_a_group_that_fails_ends_the_reader_also_while_nothing_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As much as may be is underway, and waits for a turn that never comes: nobody beats."""
    monkeypatch.setattr(alert_reader, "_LOOK_SECONDS", 0.01)
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")
    looks, is_cut_short = itertools.count(), asyncio.Event()

    def check_errors() -> None:
        if next(looks) == 3:
            raise GroupAuthorizationFailedError("g-sink-webhook")

    reader._consumer = SimpleNamespace(
        _coordinator=SimpleNamespace(check_errors=check_errors),
        _subscription=SubscriptionState(),
    )

    async def work(_: AsyncIterator[Delivery]) -> None:
        try:
            await reader._our_turn()
        finally:
            is_cut_short.set()

    with pytest.raises(GroupAuthorizationFailedError):
        await asyncio.wait_for(reader._while_ours(work), 60)
    assert is_cut_short.is_set()


async def test_what_ends_after_another_worker_has_taken_over_is_acknowledged_by_that_one() -> None:
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")
    committed: list[dict[TopicPartition, OffsetAndMetadata]] = []

    async def commit(offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        committed.append(offsets)

    reader._consumer = SimpleNamespace(commit=commit)
    tp = TopicPartition("cx.alert", 0)
    ours = Acknowledged(7)
    reader._acknowledged = {tp: ours}
    for offset in (7, 8, 9):
        ours.begin(offset)
    await reader._acknowledge(ours, tp, 7)
    assert committed == [{tp: OffsetAndMetadata(8, "[]")}]
    reader._acknowledged = {}
    await reader._acknowledge(ours, tp, 8)
    reader._acknowledged = {tp: Acknowledged(8)}
    await reader._acknowledge(ours, tp, 9)
    assert len(committed) == 1


@pytest.mark.parametrize(
    ("limit", "notes"),
    [
        (4096, ["[[1,1]]", "[[1,1],[3,1]]", "[[1,1],[3,1],[5,1]]", "[[1,1],[3,1]]"]),
        # What has no place is told a second time after a crash, and the reader goes on.
        (15, ["[[1,1]]", "[[1,1],[3,1]]", "[[1,1]]", "[[1,1]]"]),
        (7, ["[[1,1]]", "[]", "[]", "[]"]),
        (2, ["[]", "[]", "[]", "[]"]),
    ],
)
async def test_notes_are_as_long_as_the_broker_takes_them(limit: int, notes: list[str]) -> None:
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")
    committed: list[OffsetAndMetadata] = []

    async def commit(offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        (commit,) = offsets.values()
        if len(commit.metadata) > limit:
            raise OffsetMetadataTooLargeError
        committed.append(commit)

    reader._consumer = SimpleNamespace(commit=commit)
    tp, ours = TopicPartition("cx.alert", 0), Acknowledged(0)
    reader._acknowledged = {tp: ours}
    for offset in range(8):
        ours.begin(offset)
    for offset in (1, 3, 5, 0):
        await reader._acknowledge(ours, tp, offset)
    positions = [0, 0, 0, 2]
    assert committed == [OffsetAndMetadata(*each) for each in zip(positions, notes, strict=True)]


async def test_a_broker_that_refuses_a_commit_without_a_note_is_asked_no_more() -> None:
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")

    async def commit(_: object) -> None:
        raise OffsetMetadataTooLargeError

    reader._consumer = SimpleNamespace(commit=commit)
    tp, ours = TopicPartition("cx.alert", 0), Acknowledged(0)
    reader._acknowledged = {tp: ours}
    ours.begin(0)
    with pytest.raises(OffsetMetadataTooLargeError):
        await reader._acknowledge(ours, tp, 0)


def _recalled(first: int, ended: int) -> Acknowledged:
    """One that is not ended, and so many after it that are."""
    return Acknowledged.recalled(first, json.dumps([[1, ended]]) if ended else "")


@pytest.mark.parametrize(
    ("recalled", "begun", "is_held_up"),
    [
        ({0: 0}, [], False),
        ({0: 2}, [(0, 0)], False),
        # Nothing is underway, so nothing would ever make room.
        ({0: 3}, [], False),
        ({0: 4}, [], False),
        ({0: 4, 1: 4}, [], False),
        # What is recalled is passed, also with the first of them underway: there may be others.
        ({0: 4}, [(0, 0)], False),
        ({0: 4}, [(0, 0), (0, 3)], False),
        # It was passed, and all the others would have to be kept in mind.
        ({0: 4}, [(0, 0), (0, 4)], True),
        ({0: 3}, [(0, 0), (0, 3)], True),
        ({0: 4, 1: 0}, [(0, 0), (0, 4), (1, 0)], True),
        ({0: 0, 1: 4}, [(1, 0), (1, 4)], True),
        # What is underway lies in another partition, or after all that was ended.
        ({0: 0, 1: 4}, [(0, 0)], False),
        ({0: 4}, [(0, 5)], False),
    ],
)
async def test_a_reader_waits_only_for_what_is_underway(
    recalled: dict[int, int],
    begun: list[tuple[int, int]],
    is_held_up: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_reader, "_MOST_PASSED", 3)
    reader = AlertReader(KafkaConfig(), Names("", "g"), "webhook")
    one = SimpleNamespace(topic="cx.alert", partition=0, offset=50, headers=(), value=b"", key=None)
    asked = asyncio.Event()

    async def getone() -> SimpleNamespace:
        asked.set()
        return one

    async def commit(_: object) -> None:
        pass

    async def recall() -> None:
        reader._acknowledged = {
            TopicPartition("cx.alert", n): _recalled(0, ended) for n, ended in recalled.items()
        }
        for n, offset in begun:
            reader._acknowledged[TopicPartition("cx.alert", n)].begin(offset)

    monkeypatch.setattr(reader, "_recall", recall)
    reader._consumer = SimpleNamespace(getone=getone, commit=commit)
    reading = asyncio.ensure_future(anext(aiter(reader._deliveries())))
    await asyncio.wait({reading}, timeout=0.05)
    assert asked.is_set() is not is_held_up
    for n, offset in begun if is_held_up else []:
        tp = TopicPartition("cx.alert", n)
        if offset in reader._acknowledged[tp]._open:
            await reader._acknowledge(reader._acknowledged[tp], tp, offset)
    assert (await asyncio.wait_for(reading, 5)).value == b""


def test_what_was_recalled_and_lies_in_pieces_is_read_with_a_bound() -> None:
    """A note may tell of one that lies far away: not all before it is kept in mind."""
    acknowledged = Acknowledged.recalled(0, "[[1,4],[1000,1]]")
    read = 0
    while not acknowledged.is_full(3):
        if acknowledged.begin(read) and read > 0:
            acknowledged.end(read)
        read += 1
    assert (read, acknowledged.unwritten) == (8, 3)
    acknowledged.end(0)
    assert not acknowledged.is_full(3)
    assert acknowledged.written() == (8, "[[992,1]]")
