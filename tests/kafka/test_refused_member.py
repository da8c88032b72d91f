"""A member that its group refuses, for a moment or for good: a worker's own, and a sink's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownError,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest

from stream.config import KafkaConfig
from stream.kafka import connection
from stream.kafka.alert_reader import AlertReader
from stream.kafka.connection import ask_group_again, tell_heartbeats
from stream.kafka.repeats import SparseRepeats
from stream.kafka.topics import Names
from stream.kafka.transport import ChunkThread
from tests.fixtures.clock import in_no_time
from tests.kafka.batches import TP
from tests.kafka.clients import consumer_of, new_app
from tests.kafka.groups import Asked, Group

#: Longer than a member waits before it asks again and beats, in seconds.
_SOON = 6.0
_LASTING = 10**6
REFUSALS = pytest.mark.parametrize(
    ("what", "code"),
    [
        (JoinGroupRequest, GroupAuthorizationFailedError.errno),
        (JoinGroupRequest, UnknownError.errno),
        (HeartbeatRequest, GroupAuthorizationFailedError.errno),
        (HeartbeatRequest, UnknownError.errno),
    ],
    ids=["join, no right", "join, unknown", "heartbeat, no right", "heartbeat, unknown"],
)


@pytest.fixture(autouse=True)
def _written_sparsely(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """As a worker's log is."""
    # What a test of no time puts in its place is asked for.
    sparse = SparseRepeats(clock=lambda: time.monotonic())  # noqa: PLW0108
    caplog.handler.addFilter(sparse)
    yield
    caplog.handler.removeFilter(sparse)


def worker(group: Group) -> ChunkThread:
    """The thread of a worker that is the member."""
    thread = consumer_of(new_app()).thread
    thread._consumer = cast("Any", SimpleNamespace(_coordinator=group.coordinator))
    thread._watch_membership()
    return thread


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if r.name == connection.__name__]


@REFUSALS
@in_no_time
async def test_a_worker_that_is_refused_for_a_moment_is_a_member_again_soon(
    what: Asked, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group()
    thread = worker(group)
    await group.until_member()
    for _ in range(2):
        group.refuse(what, code, 2)
        group.coordinator.request_rejoin()
        async with asyncio.timeout(60):
            while not group.refused(what):  # noqa: ASYNC110 - it is a list.
                await asyncio.sleep(0.1)
        at = time.monotonic()
        await asyncio.sleep(_SOON)
        assert thread.heartbeat_at > at
        # What is refused once in a while is worth a line each time.
        await asyncio.sleep(100)
    lines = said(caplog)
    assert [level for level, _ in lines] == [logging.WARNING] * 2
    assert all(line.startswith("group g refuses this member") for _, line in lines)
    await group.coordinator.close()


@in_no_time
async def test_a_worker_that_is_refused_for_good_hears_nothing_of_its_group_and_says_so_each_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Then the worker stops: that no heartbeat is accepted is what it looks at."""
    group = Group()
    thread = worker(group)
    await group.until_member()
    group.refuse(JoinGroupRequest, GroupAuthorizationFailedError.errno, _LASTING)
    group.coordinator.request_rejoin()
    await asyncio.sleep(1)
    beat, asked = thread.heartbeat_at, group.asked.count(JoinGroupRequest)
    await asyncio.sleep(200)
    assert thread.heartbeat_at == beat
    assert 100 < group.asked.count(JoinGroupRequest) - asked < 400
    assert len(said(caplog)) == 4
    at = time.monotonic()
    await group.coordinator.close()
    assert time.monotonic() - at < connection._REFUSED_SECONDS / 2


@pytest.mark.parametrize(
    ("times", "is_told"), [(2, True), (_LASTING, False)], ids=["for a moment", "for good"]
)
@in_no_time
async def test_a_worker_that_is_told_no_offsets_asks_again_and_holds_up_nobody_by_a_rebalance(
    times: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is told, aiokafka fetches nothing from the broker that leads the partition."""
    group = Group((TP.partition,))
    thread = worker(group)
    await group.until_member()
    group.refuse(OffsetFetchRequest, TopicAuthorizationFailedError.errno, times)
    told = group.subscriptions.subscription.assignment.state_value(TP).fetch_committed()
    await asyncio.sleep(60)
    assert told.done() == is_told
    assert group.asked.count(JoinGroupRequest) == 1
    assert group.asked.count(OffsetFetchRequest) > min(times, 30)
    assert time.monotonic() - thread.heartbeat_at < _SOON
    assert [level for level, _ in said(caplog)] == [logging.WARNING]
    await group.coordinator.close()


@in_no_time
async def test_a_mistake_of_ours_is_not_tried_again_with_the_group(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = Group()

    def mistaken(_: float) -> None:
        raise TypeError("a mistake")

    tell_heartbeats(group.coordinator, mistaken)
    ask_group_again(group.coordinator)
    await asyncio.sleep(600)
    assert group.asked.count(JoinGroupRequest) == 1
    assert said(caplog) == [
        (logging.ERROR, "group g: this member has failed: TypeError('a mistake')")
    ]
    await group.coordinator.close()


# A sink's reader ------------------------------------------------------------------------------


async def endless() -> None:
    """Work that does not end by itself."""
    await asyncio.get_running_loop().create_future()


class Reader(AlertReader):
    """A reader to which the group gives the turn, or does not."""

    def __init__(self, *, has_turn: bool) -> None:
        super().__init__(KafkaConfig(), Names("", "g"), "hook")
        self.group = Group((0,) if has_turn else (), self)
        self._consumer = SimpleNamespace(
            _coordinator=self.group.coordinator, _subscription=self.group.subscriptions
        )

    async def read(self) -> None:
        """As ``serve`` does once it has begun."""
        while True:
            await self._until_our_turn()
            assert not await self._while_ours(lambda _: endless())


PHASES = pytest.mark.parametrize("has_turn", [True, False], ids=["at work", "waits for its turn"])


@REFUSALS
@PHASES
@in_no_time
async def test_a_reader_that_its_group_refuses_ends_soon_so_that_another_takes_its_place(
    has_turn: bool, what: Asked, code: int
) -> None:
    reader = Reader(has_turn=has_turn)
    reading = asyncio.ensure_future(reader.read())
    await reader.group.until_member()
    await asyncio.sleep(5)
    assert not reading.done()
    reader.group.refuse(what, code, _LASTING)
    if what is JoinGroupRequest:
        reader.group.coordinator.request_rejoin()
    await asyncio.wait({reading}, timeout=_SOON)
    assert isinstance(reading.exception(), KafkaError)
    await reader.group.coordinator.close()


@PHASES
@in_no_time
async def test_so_does_one_whose_client_has_failed_by_its_own_mistake(
    has_turn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(has_turn=has_turn)
    reading = asyncio.ensure_future(reader.read())
    await reader.group.until_member()

    async def mistaken(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(reader.group.coordinator, "_do_rejoin_group", mistaken)
    reader.group.coordinator.request_rejoin()
    await asyncio.wait({reading}, timeout=_SOON)
    with pytest.raises(KafkaError, match="Unexpected error during coordination"):
        await reading


@PHASES
@in_no_time
async def test_a_reader_to_which_nothing_comes_for_long_stays_a_member(has_turn: bool) -> None:
    reader = Reader(has_turn=has_turn)
    reader.group.coordinator._max_poll_interval = 30.0
    reading = asyncio.ensure_future(reader.read())
    await asyncio.sleep(600)
    assert not reading.done()
    assert LeaveGroupRequest not in reader.group.asked
    reading.cancel()
    await reader.group.coordinator.close()
