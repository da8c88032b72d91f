"""What a member of the group hears of the group's coordinator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.commit import OffsetCommitResponse_v2, OffsetFetchResponse_v1
from aiokafka.protocol.group import (
    HeartbeatResponse_v0,
    JoinGroupResponse_v0,
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
