"""The embedded broker, on the real thing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from stream.broker import Broker, FolderRefused, PortTaken, StartFailed
from stream.broker.jars import KAFKA_VERSION
from stream.broker.ports import free_port
from tests.fixtures.broker import NewBroker

LIMIT_SECONDS = 30.0


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def topics(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def settings(bootstrap: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        ((_, _, _, _, entries),) = answer.resources
        return {entry[0]: entry[1] for entry in entries}
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=16_000_000)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def first_value(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), LIMIT_SECONDS)
        value: bytes | None = record.value
        return value
    finally:
        await consumer.stop()


def refused(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_record_of_two_megabytes_comes_back_unchanged(broker: Broker) -> None:
    value = os.urandom(2_000_000)
    await create_topic(broker.bootstrap, "two-megabytes")
    await send(broker.bootstrap, "two-megabytes", value)
    assert await first_value(broker.bootstrap, "two-megabytes") == value


async def test_a_record_beyond_the_limit_is_refused_by_kafka(broker: Broker) -> None:
    await create_topic(broker.bootstrap, "five-megabytes")
    with pytest.raises(MessageSizeTooLargeError):
        await send(broker.bootstrap, "five-megabytes", bytes(5_000_000))


def test_it_listens_on_loopback_only(broker: Broker) -> None:
    listeners = broker.folder.properties.read_text().splitlines()[2]
    assert listeners.count("://127.0.0.1:") == listeners.count("://") == 2
    others = {
        str(info[4][0])
        for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(info[4][0]).startswith("127.")
    }
    for address in others:
        with socket.socket() as probe:
            probe.settimeout(1)
            assert probe.connect_ex((address, broker.port)) != 0


async def test_records_and_port_outlast_a_crash(new_broker: NewBroker) -> None:
    own = new_broker()
    own.start()
    port = own.port
    await create_topic(own.bootstrap, "kept")
    await send(own.bootstrap, "kept", b"a record")
    assert own.pid is not None
    os.kill(own.pid, signal.SIGKILL)
    assert own.wait(LIMIT_SECONDS) == 128 + signal.SIGKILL
    assert not own.running
    assert refused(port)
    own.start()
    assert own.port == port
    assert await first_value(own.bootstrap, "kept") == b"a record"
    own.stop()
    assert refused(port)


async def unanswered(bootstrap: str) -> asyncio.Task[set[str]]:
    """A question that gets no answer, once all threads of a paused broker have stopped."""
    for _ in range(10):
        asked = asyncio.create_task(topics(bootstrap))
        done, _ = await asyncio.wait([asked], timeout=1.0)
        if not done:
            return asked
    raise AssertionError("it answers on and on")


async def test_overrides_win_and_a_paused_broker_answers_after_it_went_on(
    new_broker: NewBroker,
) -> None:
    own = new_broker(overrides={"log.retention.hours": 5, "num.partitions": 7})
    starter = threading.Thread(target=own.start)
    starter.start()
    starter.join()  # the end of the thread that started it must not end the broker
    found = await settings(own.bootstrap)
    assert (found["log.retention.hours"], found["num.partitions"]) == ("5", "7")
    assert found["auto.create.topics.enable"] == "false"

    own.pause()
    asked = await unanswered(own.bootstrap)
    own.resume()
    assert await asyncio.wait_for(asked, LIMIT_SECONDS) == set()


def test_a_setting_that_kafka_refuses_is_told_with_the_log(new_broker: NewBroker) -> None:
    own = new_broker(overrides={"log.retention.hours": "many"})
    with pytest.raises(StartFailed) as caught:
        own.start()
    message = str(caught.value)
    assert "log.retention.hours" in message
    assert "server.log" in message or "jvm.log" in message
    assert "\n" not in message
    assert not own.running


def test_a_taken_port_is_named_before_anything_is_written(
    new_broker: NewBroker, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        own = new_broker(data=tmp_path / "unused", port=port)
        with pytest.raises(PortTaken, match=f"^port {port} of 127.0.0.1 is taken"):
            own.start()
    assert not (tmp_path / "unused").exists()


def another_version(folder: Path) -> None:
    folder.mkdir()
    (folder / "version").write_text("3.9.0\n")


def something_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("don't touch")


def a_file(folder: Path) -> None:
    folder.write_text("don't touch")


@pytest.mark.parametrize(
    ("name", "prepare", "reason"),
    [
        ("data", another_version, f"was written by Apache Kafka 3.9.0, this is {KAFKA_VERSION}"),
        ("data", something_else, "is not empty and not the folder of an embedded broker"),
        ("data", a_file, "can't be used"),
        ("one,two", another_version, "has a comma in its name"),
    ],
)
def test_a_folder_that_is_not_its_own_is_refused_and_left_alone(
    new_broker: NewBroker,
    tmp_path: Path,
    name: str,
    prepare: Callable[[Path], None],
    reason: str,
) -> None:
    folder = tmp_path / name
    prepare(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FolderRefused) as caught:
        new_broker(data=folder).start()
    assert reason in str(caught.value)
    assert str(folder) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_in_use_is_refused(broker: Broker, new_broker: NewBroker) -> None:
    with pytest.raises(FolderRefused, match="is in use by another broker"):
        new_broker(data=broker.folder.path).start()
    assert broker.running


def test_a_folder_whose_formatting_was_cut_short_is_formatted_anew(new_broker: NewBroker) -> None:
    own = new_broker()
    half = own.folder.path / "logs.new"
    half.mkdir(parents=True)
    (own.folder.path / "version").write_text("")
    (half / "bootstrap.checkpoint").write_bytes(b"half of i")
    own.start()
    assert own.running
