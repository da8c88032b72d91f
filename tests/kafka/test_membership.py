"""What a member of the group hears of the group's coordinator, and how it leaves the group."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaConnectionError, MemberIdRequired, RequestTimedOutError
from aiokafka.protocol.commit import OffsetCommitResponse_v2, OffsetFetchResponse_v1
from aiokafka.protocol.group import (
    HeartbeatResponse_v0,
    JoinGroupRequest,
    JoinGroupResponse_v0,
    LeaveGroupRequest,
    LeaveGroupResponse_v0,
    SyncGroupRequest,
    SyncGroupResponse_v0,
)

from stream.kafka.membership import Membership
from tests.kafka.clients import consumer_of, new_app

LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16


class Coordinator:
    """The client's part of a coordinator, which is answered what a test says."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def _send_req(self, request: Any) -> Any:
        assert request == "request"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def _do_heartbeat(self) -> bool:
        return False

    async def _push_error_to_user(self, error: BaseException) -> None:
        raise error

    def coordinator_dead(self) -> None: ...


def committed(*codes: int) -> Any:
    return OffsetCommitResponse_v2([("cx.visit", list(enumerate(codes)))])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(HeartbeatResponse_v0(0), "", id="a heartbeat is accepted"),
        pytest.param(HeartbeatResponse_v0(LOADING), "COORDINATOR_LOAD_IN_PROGRESS", id="loading"),
        pytest.param(HeartbeatResponse_v0(NOT_AVAILABLE), "COORDINATOR_NOT_AVAILABLE", id="beat"),
        pytest.param(HeartbeatResponse_v0(NOT_COORDINATOR), "NOT_COORDINATOR", id="another"),
        pytest.param(HeartbeatResponse_v0(25), "", id="the member is not known"),
        pytest.param(HeartbeatResponse_v0(22), "", id="the member is of a former generation"),
        pytest.param(HeartbeatResponse_v0(27), "", id="the group rebalances"),
        pytest.param(
            JoinGroupResponse_v0(NOT_AVAILABLE, -1, "", "", "", []),
            "COORDINATOR_NOT_AVAILABLE",
            id="join",
        ),
        pytest.param(
            SyncGroupResponse_v0(NOT_COORDINATOR, b""), "NOT_COORDINATOR", id="assignment"
        ),
        pytest.param(committed(0, 0), "", id="offsets are written"),
        pytest.param(committed(0, NOT_AVAILABLE), "COORDINATOR_NOT_AVAILABLE", id="not all are"),
        pytest.param(
            OffsetFetchResponse_v1([("cx.visit", [(0, -1, "", LOADING)])]),
            "COORDINATOR_LOAD_IN_PROGRESS",
            id="offsets",
        ),
        pytest.param(OffsetFetchResponse_v1([]), "", id="no offsets"),
    ],
)
async def test_a_coordinator_that_can_not_do_its_work_says_so(answer: Any, said: str) -> None:
    membership, coordinator = Membership(), Coordinator(answer)
    membership.follow(coordinator)
    assert await coordinator._send_req("request") is answer
    assert membership.helpless_since(0.0) == said
    assert (membership.helpless_at > 0.0) is bool(said)
    assert membership.helpless_since(membership.helpless_at) == "", "it can by now"


async def test_no_answer_says_nothing_of_what_the_coordinator_can_do() -> None:
    membership, coordinator = Membership(), Coordinator(RequestTimedOutError())
    membership.follow(coordinator)
    with pytest.raises(RequestTimedOutError):
        await coordinator._send_req("request")
    assert membership.helpless_at == 0.0


async def test_the_thread_that_talks_to_the_broker_follows_its_membership() -> None:
    thread = consumer_of(new_app()).thread
    coordinator: Any = Coordinator(HeartbeatResponse_v0(NOT_AVAILABLE))
    consumer: Any = SimpleNamespace(_coordinator=coordinator)
    thread._consumer = consumer
    thread._watch_membership()
    await coordinator._send_req("request")
    assert thread.membership.helpless_since(0.0) == "COORDINATOR_NOT_AVAILABLE"


# How a member leaves ---------------------------------------------------------------------------


class Broker:
    """A client whose broker answers over each connection what comes over it, one by one."""

    def __init__(self, *answers: Any) -> None:
        self.cluster = ClusterMetadata()
        self.answers = list(answers)
        self.is_waiting = asyncio.Event()
        self._conns: dict[Any, Any] = {}
        self._unanswered: list[asyncio.Future[Any]] = []
        self.left: list[Any] = []

    def close(self, reason: object) -> None:
        self._conns.clear()
        for request in self._unanswered:
            if not request.done():
                request.set_exception(KafkaConnectionError("closed"))

    async def never(self) -> Any:
        """Wait for an answer until the connection is closed."""
        self._unanswered.append(asyncio.get_running_loop().create_future())
        return await self._unanswered[-1]

    async def coordinator_lookup(self, *_: object) -> int:
        return 1

    async def ready(self, node: int, group: ConnectionGroup) -> bool:
        return True

    async def send(self, node: int, request: Any, *, group: ConnectionGroup) -> Any:
        place = node, group
        if place in self._conns:
            return await self.never()
        self._conns[place] = SimpleNamespace(close=self.close)
        if isinstance(request, LeaveGroupRequest):
            self.left.append(request._member_id)
            return LeaveGroupResponse_v0(0)
        if not self.answers:
            self.is_waiting.set()
            return await self.never()
        del self._conns[place]
        return self.answers.pop(0)


def joined(code: int, generation: int) -> Any:
    return JoinGroupResponse_v0(code, generation, "range", "leader", "m-1", [])


@pytest.mark.parametrize(
    ("former", "answers"),
    [
        pytest.param((-1, ""), [joined(MemberIdRequired.errno, -1)], id="its first join"),
        pytest.param((3, "m-1"), [], id="a later one"),
        pytest.param((-1, ""), [joined(0, 4)], id="what the leader shares out"),
    ],
)
@pytest.mark.parametrize("is_committing", [False, True])
async def test_a_worker_that_ends_while_others_are_waited_for_leaves_the_group_at_once(
    former: tuple[int, str], answers: list[Any], is_committing: bool
) -> None:
    broker, subscription = Broker(*answers), SubscriptionState()
    subscription.subscribe({"cx.visit"})
    assignor: Any = SimpleNamespace(name="range", metadata=lambda _: b"")
    coordinator = GroupCoordinator(
        cast("AIOKafkaClient", broker),
        subscription,
        assignors=(assignor,),
        enable_auto_commit=False,
    )
    coordinator.generation, coordinator.member_id = former
    Membership().follow(coordinator)
    async with asyncio.timeout(60):
        await broker.is_waiting.wait()
        # Positions that were sent before wait for their answer, too.
        others = [asyncio.ensure_future(coordinator._send_req("commit"))] * is_committing
        await asyncio.sleep(0)
        await coordinator.close()
        await asyncio.gather(*others, return_exceptions=True)
    assert broker.left == ["m-1"]


@pytest.mark.parametrize(
    "request_of_all",
    [
        JoinGroupRequest("g", 1, 1, "m-1", None, "consumer", []),
        SyncGroupRequest("g", 4, "m-1", None, []),
    ],
    ids=["join", "assignment"],
)
async def test_what_waits_for_others_is_answered_or_fails_as_ever(request_of_all: Any) -> None:
    for answer in (
        JoinGroupResponse_v0(0, 4, "range", "leader", "m-1", []),
        RequestTimedOutError(),
    ):

        async def send(_: object, answer: Any = answer) -> Any:
            await asyncio.sleep(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        closing = asyncio.get_running_loop().create_future()
        coordinator: Any = SimpleNamespace(
            _send_req=send, _closing=closing, coordinator_dead=lambda: None
        )
        Membership().follow(coordinator)
        if isinstance(answer, Exception):
            with pytest.raises(RequestTimedOutError):
                await coordinator._send_req(request_of_all)
        else:
            assert await coordinator._send_req(request_of_all) is answer


async def test_a_rebalance_while_a_worker_ends_does_not_cut_it_off_from_the_group() -> None:
    consumer = consumer_of(new_app())
    client: Any = SimpleNamespace(_closed=False)
    consumer.thread._consumer = client
    consumer.close()
    assert not client._closed
