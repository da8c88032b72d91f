"""How tasks and clients end: waited for, and not for ever."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from stream.config import KafkaConfig
from stream.kafka import ending, group, shares, state_reading
from stream.kafka import firing as fires
from stream.kafka import log as state_log
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.ending import Tasks, cancelled, completed, say_goodbye
from stream.kafka.topics import Names
from tests.fixtures.clock import in_no_time

TP = TopicPartition("topic", 0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "GOODBYE_SECONDS", 0.05)
    monkeypatch.setattr(ending, "LAST_WORDS_SECONDS", 0.05)


async def within(seconds: float, work: Awaitable[object]) -> None:
    async with asyncio.timeout(seconds):
        await work


class Client:
    """A client that hangs when it is to end, until it is cancelled."""

    def __init__(self) -> None:
        self.told = self.cancelled = False

    async def stop(self) -> None:
        self.told = True
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def start(self) -> None:
        raise KafkaConnectionError("gone")


@pytest.mark.parametrize("times", [0, 1, 3])
@in_no_time
async def test_what_must_be_completed_is_however_often_it_is_cancelled(times: int) -> None:
    done = []

    async def commit() -> None:
        await asyncio.sleep(0.05)
        done.append("committed")

    task = asyncio.create_task(completed(commit()))
    for _ in range(times):
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.wait({task})
    assert done == ["committed"]
    assert task.cancelled() == (times > 0)


@pytest.mark.parametrize("times", [0, 2])
@in_no_time
async def test_what_fails_while_it_is_completed_says_so(times: int) -> None:
    async def commit() -> None:
        await asyncio.sleep(0.05)
        raise KafkaConnectionError("gone")

    task = asyncio.create_task(completed(commit()))
    for _ in range(times):
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.wait({task})
    assert isinstance(task.exception(), KafkaConnectionError)


@in_no_time
async def test_clients_that_hang_are_left_alone_after_one_wait_for_all_of_them() -> None:
    clients = [Client() for _ in range(100)]
    await within(2, say_goodbye(*(client.stop for client in clients)))
    assert all(client.cancelled for client in clients)


async def test_a_client_whose_own_tasks_were_cancelled_does_not_end_us() -> None:
    async def stop() -> None:
        raise asyncio.CancelledError

    other = asyncio.Event()

    async def stop_the_other() -> None:
        other.set()

    await say_goodbye(stop, stop_the_other)
    assert other.is_set()


@in_no_time
async def test_clients_are_told_to_end_also_where_we_are_cancelled_meanwhile() -> None:
    client = Client()
    ending_it = asyncio.ensure_future(say_goodbye(client.stop))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ending_it.cancel()
    await asyncio.wait({ending_it})
    assert ending_it.cancelled()
    assert client.cancelled


@pytest.mark.parametrize(
    ("error", "level"),
    [(KafkaConnectionError("gone"), logging.INFO), (AttributeError("stop"), logging.ERROR)],
)
async def test_a_client_that_can_not_even_end_is_of_no_consequence_but_a_mistake_is_said(
    error: Exception, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stream")

    async def stop() -> None:
        raise error

    await say_goodbye(stop)
    assert [record.levelno for record in caplog.records] == [level]


@in_no_time
async def test_a_task_that_is_told_to_end_is_waited_for_but_not_for_ever() -> None:
    cleaned = asyncio.Event()

    async def tidy() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                continue
            return

    tasks = [asyncio.ensure_future(work) for work in (tidy(), stubborn())]
    await asyncio.sleep(0)
    await within(2, cancelled(tasks))
    assert cleaned.is_set()
    assert not tasks[1].done()
    await asyncio.wait({tasks[1]})


async def test_nothing_is_logged_of_a_task_that_had_failed_before_it_was_told_to_end() -> None:
    unheard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    task = asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancelled([task])
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert unheard == []


async def fails() -> None:
    raise KeyError("a mistake")


async def follow(_: Client) -> None:
    reader = shares.ShareReader(KafkaConfig(), Names("", "g"))
    with pytest.raises(shares.SharesUnread):
        await reader.follow([0])


async def close_shares(client: Client) -> None:
    reader = shares.ShareReader(KafkaConfig(), Names("", "g"))
    reader._consumer = client
    await reader.close()


async def close_firing(client: Client) -> None:
    firing = fires.FiringAlerts(KafkaConfig(), Names("", "g"), {})
    firing._consumer = cast("Any", client)
    await firing.close()


async def read(_: Client) -> None:
    with pytest.raises(state_log.LogUnread):
        await state_log.read_log(KafkaConfig(), "topic", 0)


async def bounds(_: Client) -> None:
    with pytest.raises(KafkaConnectionError):
        await state_reading.bounds(KafkaConfig(), [TP])


async def last_buried(_: Client) -> None:
    with pytest.raises(KafkaConnectionError):
        await state_reading.last_buried(KafkaConfig(), TP, "source")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    for module in (fires, shares, state_log, state_reading):
        monkeypatch.setattr(module, "reader", lambda *_, **__: client)
    monkeypatch.setattr(group, "AIOKafkaConsumer", lambda **_: client)
    monkeypatch.setattr(group, "calm_reader", lambda _: None)
    return client


async def commit(_: Client) -> None:
    with pytest.raises(BrokerUnreachable):
        await group.commit(KafkaConfig(), {TP: cast("Any", None)})


@pytest.mark.parametrize(
    "use", [follow, close_shares, close_firing, read, bounds, last_buried, commit]
)
@in_no_time
async def test_no_client_holds_up_whoever_lets_go_of_it(
    use: Callable[[Client], Coroutine[Any, Any, None]], client: Client
) -> None:
    await within(2, use(client))
    assert client.told
    assert client.cancelled


async def gives_up() -> None:
    """As whoever waits for a task of the client's that the client cancels."""
    theirs = asyncio.get_running_loop().create_future()
    theirs.cancel()
    await theirs


async def ends() -> None: ...


async def hangs() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("works", "told"),
    [
        ([ends], []),
        ([fails], [KeyError]),
        ([gives_up], [RuntimeError]),
        ([hangs, hangs], []),
        ([hangs, fails, gives_up, ends], [KeyError, RuntimeError]),
    ],
)
@in_no_time
async def test_a_task_that_ends_otherwise_than_by_its_work_or_our_word_is_told(
    works: list[Callable[[], Coroutine[Any, Any, None]]], told: list[type[Exception]]
) -> None:
    found: list[Exception] = []
    tasks = Tasks(found.append)
    for work in works:
        tasks.spawn(work())
    await asyncio.sleep(0.01)
    await within(2, tasks.cancel())
    assert [type(error) for error in found] == told
    assert asyncio.all_tasks() == {asyncio.current_task()}
