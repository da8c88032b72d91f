"""Which log lines are left out while a client repeats itself."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import FetchError
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    BrokerResponseError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    IllegalGenerationError,
    KafkaConnectionError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from stream import desk
from stream.config import KafkaConfig
from stream.core.settings import Settings
from stream.kafka.owner import ShardOwner
from stream.kafka.repeats import EACH_TRY, SparseRepeats, tidy
from stream.kafka.shards import OwnedShard
from stream.kafka.wording import InWords
from tests.fixtures.clock import in_no_time
from tests.kafka.batches import TP
from tests.kafka.clients import Reading, consumer_of, new_app, topic_map
from tests.kafka.test_desk_left_out import Alerts, Family, refused
from tests.kafka.test_monitor_reads_again import LOST, Site

OF_ANOTHER_CAUSE = KeyError("a")
OF_ANOTHER_CAUSE.__cause__ = OSError("a")
SENDER = "aiokafka.producer.sender"


@pytest.fixture
def clock() -> list[float]:
    return [1_000.0]


@pytest.fixture
def repeats(clock: list[float]) -> SparseRepeats:
    return SparseRepeats("client", clock=lambda: clock[0])


def said(repeats: SparseRepeats, name: str, message: str, *args: object) -> str | None:
    record = logging.LogRecord(name, logging.ERROR, "", 1, message, args, None)
    return record.getMessage() if repeats.filter(record) else None


def test_a_repeated_message_passes_once_a_minute_and_says_how_many_were_left_out(
    repeats: SparseRepeats, clock: list[float]
) -> None:
    assert said(repeats, "client.part", "no answer from %d", 1) == "no answer from 1"
    for second in range(59):
        clock[0] = 1_000.0 + second
        assert said(repeats, "client.part", "no answer from %d", second) is None
    clock[0] = 1_060.0
    again = said(repeats, "client.part", "no answer from %d", 7)
    assert again == "no answer from 7 (59 more like this)"


@pytest.mark.parametrize("name", ["stream.kafka", "clients", "root"])
def test_all_lines_of_others_pass(repeats: SparseRepeats, name: str) -> None:
    assert [said(repeats, name, "same") for _ in range(3)] == ["same"] * 3


def test_other_messages_and_loggers_pass(repeats: SparseRepeats) -> None:
    assert said(repeats, "client", "one") == "one"
    assert said(repeats, "client", "two") == "two"
    assert said(repeats, "client.part", "one") == "one"


@pytest.mark.parametrize(
    ("args", "passes"),
    [
        pytest.param((3, "taken over", KeyError("a")), False, id="the same"),
        pytest.param((4, "taken over", KeyError("b")), False, id="another shard, another key"),
        pytest.param((3, "read", KeyError("a")), True, id="something else"),
        pytest.param((3, "taken over", OSError("a")), True, id="another kind of error"),
        pytest.param((3, "taken over", OF_ANOTHER_CAUSE), True, id="of another cause"),
    ],
)
def test_what_we_say_at_each_try_passes_once_a_minute_for_each_kind_of_failure(
    repeats: SparseRepeats, clock: list[float], args: tuple[object, ...], passes: bool
) -> None:
    def told(*args: object) -> str | None:
        record = logging.LogRecord("stream.any", logging.WARNING, "", 1, "%d %s: %r", args, None)
        vars(record).update(EACH_TRY)
        return record.getMessage() if repeats.filter(record) else None

    first = told(3, "taken over", KeyError("a"))
    assert first == "3 taken over: KeyError('a')"
    assert (told(*args) is not None) is passes
    clock[0] += 60
    again = told(5, "taken over", KeyError("c"))
    assert again == "5 taken over: KeyError('c')" + ("" if passes else " (1 more like this)")


def test_what_we_say_of_a_lost_connection_is_no_repetition_of_what_the_client_says(
    repeats: SparseRepeats,
) -> None:
    lost = KafkaConnectionError("Connection at kafka:9092 closed")
    assert said(repeats, "client", "Unable to update metadata from %s", [1]) is not None
    args = (3, "a flush failed", InWords(lost))
    record = logging.LogRecord("stream.any", logging.WARNING, "", 1, "%d %s: %s", args, None)
    vars(record).update(EACH_TRY)
    assert repeats.filter(record)
    assert said(repeats, "client", "Unable to update metadata from %s", [2]) is None


def test_what_is_remembered_is_bounded(repeats: SparseRepeats) -> None:
    for number in range(5_000):
        assert said(repeats, "client", f"message {number}") is not None
    assert said(repeats, "client", "message 0") == "message 0"


def test_all_that_a_lost_connection_brings_about_is_one_line(repeats: SparseRepeats) -> None:
    lost = KafkaConnectionError("Connection at kafka:9092 closed")
    away = GroupCoordinatorNotAvailableError()
    unready = NodeNotReadyError("node id 1")
    said_of_it = [
        said(repeats, "client", "Unable to request metadata from node with id %s: %r", 1, lost),
        said(repeats, "client", "Unable to update metadata from %s", [1]),
        said(repeats, "client.consumer.fetcher", "Failed fetch messages from %s: %s", 1, lost),
        said(repeats, "client.coordinator", "Marking the coordinator dead (node %s)", 1),
        said(repeats, "client.coordinator", "Heartbeat send request failed: %s. Retry.", unready),
        said(
            repeats, "client", "Unable connect to node with id %s: %s", 1, OSError(111, "refused")
        ),
        said(repeats, "client.coordinator", "Heartbeat session expired - marking coordinator dead"),
        said(repeats, "client.coordinator", "LeaveGroup request failed: %s", away),
    ]
    assert [n for n, line in enumerate(said_of_it) if line is not None] == [0]
    assert said(repeats, "client.coordinator", "Heartbeat failed: %s", "not authorized")


class Writing(logging.Handler):
    """Keeps what a worker would write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[logging.LogRecord] = []
        tidy(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(record)


async def test_connections_that_can_not_be_taken_are_a_line_without_traceback() -> None:
    loop, writing = asyncio.get_running_loop(), Writing()
    of_asyncio = logging.getLogger("asyncio")
    of_asyncio.addHandler(writing)
    try:
        for number in range(300):
            loop.call_exception_handler(
                {
                    "message": "socket.accept() out of system resource",
                    "exception": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
                    "socket": f"number {number} of 100%",
                }
            )
        loop.call_exception_handler({"message": "else", "exception": OSError("else")})
    finally:
        of_asyncio.removeHandler(writing)
    line, other = writing.written
    assert line.getMessage() == (
        "no connection to the pages is taken: [Errno 24] Too many open files; see ulimit -n"
    )
    assert (line.levelno, line.exc_info) == (logging.ERROR, None)
    assert other.exc_info is not None


async def test_a_partition_that_can_not_be_fetched_is_not_a_line_for_each_try() -> None:
    reading = Reading(consumer_of(new_app()).thread)
    await reading.enter(0, 1)
    handler = Writing()
    logging.getLogger("stream").addHandler(handler)
    try:
        for _ in range(20):
            error = TopicAuthorizationFailedError("a")
            reading.fetcher._records[TP] = FetchError(error=error, backoff=0)
            assert reading.take(1) == []
    finally:
        logging.getLogger("stream").removeHandler(handler)
    (record,) = handler.written
    assert record.getMessage().endswith("can't be fetched: the right to read topic a is missing")


async def shards_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def recover(shard: OwnedShard) -> None:
        raise TransactionalIdAuthorizationFailed(f"g-shard-{shard.number}")

    monkeypatch.setattr(OwnedShard, "recover", recover)
    owner = ShardOwner(Settings(), KafkaConfig(), topic_map())
    async with asyncio.timeout(10):
        await owner._take_over(set(range(16)))


async def alerts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = Alerts()
    alerts.taking_over = refused
    monkeypatch.setattr(desk, "AlertLog", alerts)
    family = Family()
    await family.turns(family.new_desk(), 10)


async def parts_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    await Site(monkeypatch).shown(*[LOST] * 10)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (
            shards_are_refused,
            "shard 0 can't be taken over yet: the right to describe and write transactional id",
        ),
        (alerts_are_refused, "the alerts' state can't be taken over yet"),
        (parts_are_not_read, "the parts of KPIs can't be read now"),
    ],
)
@in_no_time
async def test_what_is_tried_each_second_is_not_a_line_for_each_try(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[pytest.MonkeyPatch], Awaitable[None]],
    said: str,
) -> None:
    handler = Writing()
    logging.getLogger("stream").addHandler(handler)
    try:
        with suppress(TimeoutError):
            await work(monkeypatch)
    finally:
        logging.getLogger("stream").removeHandler(handler)
    (record,) = handler.written
    assert record.getMessage().startswith(said)


@pytest.mark.parametrize(
    ("name", "error", "level", "said"),
    [
        (SENDER, UnknownError("%s"), "WARNING", "sender 7 failed: UnknownError('%s')"),
        (SENDER, None, "WARNING", "sender 7 failed"),
        (SENDER, KeyError("a"), "ERROR", "sender 7 failed"),
        ("aiokafka.consumer.fetcher", UnknownError(), "ERROR", "sender 7 failed"),
    ],
)
def test_a_transaction_that_the_client_could_not_end_is_no_error_with_a_traceback(
    name: str, error: Exception | None, level: str, said: str
) -> None:
    handler = Writing()
    exc_info = (type(error), error, None) if error is not None else None
    record = logging.LogRecord(name, logging.ERROR, "", 1, "sender %d failed", (7,), exc_info)
    handler.handle(record)
    (written,) = handler.written
    assert (written.levelname, written.getMessage()) == (level, said)
    assert (written.exc_info is None) == (error is None or level == "WARNING")
    handler.handle(logging.LogRecord(name, logging.INFO, "", 1, "a word", (), None))
    assert handler.written[1].levelname == "INFO"


UNHEARD = "Task exception was never retrieved\nfuture: <Task finished coro=<{}() done>>"
COMMIT = UNHEARD.format(GroupCoordinator._do_commit_offsets.__qualname__)


@pytest.mark.parametrize(
    ("message", "error", "lines"),
    [
        ("Unclosed AIOKafkaConnection\nc", None, 0),
        ("Un", None, 1),
        (COMMIT, KafkaConnectionError(), 0),
        (COMMIT, TypeError(), 1),
        (UNHEARD.format("ShardOwner.apply"), KafkaConnectionError(), 1),
    ],
)
def test_a_connection_that_nobody_uses_any_more_is_not_worth_an_error(
    message: str, error: Exception | None, lines: int
) -> None:
    handler = Writing()
    exc_info = (type(error), error, None) if error is not None else None
    handler.handle(logging.LogRecord("asyncio", logging.ERROR, "", 1, message, (), exc_info))
    assert len(handler.written) == lines


class Answering(GroupCoordinator):  # type: ignore[misc]
    """A member of a group whose coordinator answers all that it is sent with an error."""

    def __init__(self, error: type[BrokerResponseError]) -> None:
        self.group_id = "cxkpi"
        self.generation = 1
        self.member_id = "member"
        self.coordinator_id = 0
        self._error = error

    async def _send_req(self, request: object) -> object:
        code = self._error.errno
        return SimpleNamespace(error_code=code, topics=[(TP.topic, [(TP.partition, code)])])

    def request_rejoin(self) -> None: ...
    def reset_generation(self) -> None: ...
    def coordinator_dead(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "levels"),
    [
        pytest.param(RebalanceInProgressError, [logging.INFO], id="a rebalance"),
        pytest.param(IllegalGenerationError, [logging.WARNING], id="left behind by one"),
        pytest.param(UnknownMemberIdError, [logging.WARNING], id="evicted"),
        pytest.param(NotCoordinatorForGroupError, [logging.WARNING], id="no coordinator"),
        pytest.param(GroupAuthorizationFailedError, [], id="raised"),
    ],
)
@pytest.mark.parametrize("verbose", [True, False])
async def test_a_rebalance_is_information_and_what_a_member_has_lost_a_warning(
    error: type[BrokerResponseError], levels: list[int], verbose: bool
) -> None:
    written = await _written(Answering(error)._do_heartbeat(), verbose=verbose)
    assert written == [level for level in levels if verbose or level > logging.INFO]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        pytest.param(RebalanceInProgressError, logging.INFO, id="in a rebalance"),
        pytest.param(IllegalGenerationError, logging.INFO, id="after one"),
        pytest.param(UnknownMemberIdError, logging.ERROR, id="evicted"),
        pytest.param(GroupAuthorizationFailedError, logging.ERROR, id="not allowed"),
    ],
)
@pytest.mark.parametrize("verbose", [True, False])
async def test_a_commit_between_two_generations_is_information_and_another_that_fails_is_none(
    error: type[BrokerResponseError], level: int, verbose: bool
) -> None:
    commit = Answering(error)._do_commit_offsets(None, {TP: OffsetAndMetadata(7, "")})
    written = await _written(commit, verbose=verbose)
    assert written == ([level] if verbose or level > logging.INFO else [])


async def _written(work: Coroutine[object, object, object], *, verbose: bool) -> list[int]:
    """The levels of what a worker writes of the client's work, which may fail."""
    handler = Writing()
    client = logging.getLogger("aiokafka")
    before, client.disabled = client.level, False
    client.addHandler(handler)
    client.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        with suppress(BrokerResponseError):
            await work
    finally:
        client.removeHandler(handler)
        client.setLevel(before)
    for record in handler.written:
        assert record.levelname == logging.getLevelName(record.levelno)
    return [record.levelno for record in handler.written]


def test_faust_warns_of_no_rebalance_that_overlaps_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Writing()
    app = new_app()
    logger = logging.getLogger("stream.kafka.app")
    before = logger.level
    monkeypatch.setattr(logger, "disabled", False)
    logger.addHandler(handler)
    try:
        for verbose in (True, False):
            logger.setLevel(logging.INFO if verbose else logging.WARNING)
            app.on_rebalance_return()
            app.on_rebalance_end()
            app.log.warning("another warning %s", verbose)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert [record.levelno for record in handler.written] == [20, 20, 30, 30]


@pytest.mark.parametrize(
    ("name", "message", "level"),
    [
        ("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", "WARNING"),
        ("stream.kafka.shards", "Failed fetch messages from %s: %s", "ERROR"),
        ("aiokafka.consumer.fetcher", "Failed otherwise %s: %.0s", "ERROR"),
        ("stream.kafka.transport", "[^--ChunkThread]: Thread keepalive is not responding...", None),
        ("mode.timers", "Timer %s is overlapping (interval=%r runtime=%r)", None),
    ],
)
def test_what_is_no_failure_of_ours_is_no_error_in_the_log(
    name: str, message: str, level: str | None
) -> None:
    lost = KafkaConnectionError("Connection at kafka:9092 closed")
    args = (1, "else" if "otherwise" in message else lost, 2)[: message.count("%")]
    handler = logging.Handler()
    tidy(handler)
    record = logging.LogRecord(name, logging.ERROR, "", 1, message, args, None)
    assert bool(handler.filter(record)) == (level is not None)
    assert record.levelname == (level or "INFO")
