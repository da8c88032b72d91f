"""Work on topics and groups goes on while one of several brokers is down."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    GroupLoadInProgressError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from stream.kafka import admin as administrative
from stream.kafka import group as groups
from stream.kafka.admin import AdminClient
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.group import committed, members
from tests.fixtures.clock import in_no_time


class FakeClient:
    """Knows three brokers, some of which are down; another controller is known after a look."""

    _request_timeout_ms = 300
    answer: Any = None

    def __init__(self, down: Iterable[int], error: KafkaError, controllers: list[int]) -> None:
        self.down = set(down)
        self.error = error
        self.asked: list[int] = []
        self.limits: list[float | None] = []
        self.controllers = controllers
        self.cluster = SimpleNamespace(
            brokers=lambda: [SimpleNamespace(nodeId=n) for n in (1, 2, 3)], controller=None
        )
        self.look()

    def get_random_node(self) -> int:
        return 2

    def look(self) -> None:
        following = self.controllers.pop(0) if self.controllers else None
        self.cluster.controller = None if following is None else SimpleNamespace(nodeId=following)

    async def force_metadata_update(self) -> None:
        self.look()

    async def send(self, broker: int, request: str, within: float | None = None) -> Any:
        self.asked.append(broker)
        self.limits.append(within)
        if broker in self.down:
            raise self.error
        return self.answer or f"{request} by {broker}"


def client_with(
    down: Iterable[int], error: KafkaError | None = None, controllers: Iterable[int] = ()
) -> tuple[AdminClient, FakeClient]:
    admin: AdminClient = object.__new__(AdminClient)
    fake = FakeClient(down, error or NodeNotReadyError(), list(controllers))
    admin._client = fake
    return admin, fake


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrative, "_BACKOFF", 0.01)


@pytest.mark.parametrize("error", [NodeNotReadyError, KafkaConnectionError, RequestTimedOutError])
@pytest.mark.parametrize("up", [1, 2, 3])
async def test_what_any_broker_may_answer_is_answered_by_the_one_that_is_up(
    error: type[KafkaError], up: int
) -> None:
    admin, fake = client_with({1, 2, 3} - {up}, error())
    assert await admin._send_request("topics") == f"topics by {up}"
    assert len(set(fake.asked)) == len(fake.asked)


async def test_where_all_are_down_the_last_failure_is_told() -> None:
    admin, fake = client_with({1, 2, 3})
    with pytest.raises(NodeNotReadyError):
        await admin._send_request("topics")
    assert sorted(fake.asked) == [1, 2, 3]
    # The last one is waited for.
    assert fake.limits == [3.0, 3.0, None]


async def test_a_refusal_is_an_answer() -> None:
    admin, fake = client_with({1, 2, 3}, InvalidTopicError())
    with pytest.raises(InvalidTopicError):
        await admin._send_request("topics")
    assert len(fake.asked) == 1


async def test_what_one_broker_alone_can_answer_is_asked_of_no_other() -> None:
    admin, fake = client_with({2})
    with pytest.raises(NodeNotReadyError):
        await admin._send_request("offsets", 2)
    assert fake.asked == [2]


async def test_a_coordinator_that_is_loading_is_not_taken_for_one_that_knows_of_nothing() -> None:
    admin, fake = client_with({})
    fake.answer = SimpleNamespace(topics=[], error_code=GroupLoadInProgressError.errno)
    with pytest.raises(GroupLoadInProgressError):
        await admin._send_request("offsets", 2)
    fake.answer = SimpleNamespace(topics=[], error_code=0)
    assert await admin._send_request("offsets", 2) is fake.answer


@in_no_time
async def test_the_controller_that_took_the_place_of_one_that_is_down_is_asked() -> None:
    admin, fake = client_with({1}, controllers=[1, 1, 3])
    assert await admin._send_to_controller("create") == "create by 3"
    assert fake.asked == [1, 1, 3]


@in_no_time
async def test_a_controller_that_is_not_known_yet_is_looked_for() -> None:
    admin, fake = client_with({}, controllers=[])
    fake.controllers = [2]
    assert await admin._send_to_controller("create") == "create by 2"


@in_no_time
async def test_a_controller_that_stays_away_is_given_up_in_the_time_of_a_request() -> None:
    admin, fake = client_with({1}, controllers=[1] * 1_000)
    with pytest.raises(NodeNotReadyError):
        await admin._send_to_controller("create")
    assert len(fake.asked) > 1


async def test_nothing_is_made_twice_where_the_controller_was_lost_before_it_answered() -> None:
    admin, fake = client_with({1}, KafkaConnectionError(), controllers=[1, 2])
    with pytest.raises(KafkaConnectionError):
        await admin._send_to_controller("delete")
    assert fake.asked == [1]


class LateCoordinator:
    """A group's coordinator that is down for so many questions."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def _answer(self, found: Any) -> Any:
        self.failures -= 1
        if self.failures >= 0:
            raise NodeNotReadyError
        return found

    async def describe_consumer_groups(self, _: list[str]) -> Any:
        member = ("id", "worker", "/10.0.0.1", b"", b"")
        found = SimpleNamespace(groups=[(0, "g", "Stable", "consumer", "range", [member])])
        return await self._answer([found])

    async def list_consumer_group_offsets(self, _: str) -> Any:
        return await self._answer({})


@in_no_time
async def test_a_group_is_asked_about_until_another_broker_coordinates_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(groups, "_PAUSE", 0.01)
    monkeypatch.setattr(groups, "_PATIENCE", 0.5)
    admin: Any = LateCoordinator(3)
    assert await members(admin, "g") == ["worker at 10.0.0.1"]
    admin = LateCoordinator(3)
    assert (await committed(admin, "g")).offsets == {}
    admin = LateCoordinator(1_000)
    with pytest.raises(BrokerUnreachable, match="the coordinator of group g does not answer"):
        await committed(admin, "g")
