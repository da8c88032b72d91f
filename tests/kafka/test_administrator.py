"""A client for questions that are asked again and again: kept, and made anew where it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

from stream.config import KafkaConfig
from stream.core.errors import StopError
from stream.kafka import administration, refusal, renewal
from stream.kafka.administration import Administrator, TopicsUnfit
from stream.kafka.connection import BrokerUnreachable

KAFKA = KafkaConfig(bootstrap="kafka:9092")


class Admin:
    """A client that connects where ``away`` is None."""

    made: ClassVar[list[Admin]]
    away: ClassVar[Exception | None]

    def __init__(self, **_: object) -> None:
        self._client = SimpleNamespace(_metadata_update=None, _request_timeout_ms=40_000)
        self.closed = False
        Admin.made.append(self)

    async def start(self) -> None:
        if Admin.away is not None:
            raise Admin.away

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def admins(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(kafka: KafkaConfig) -> BrokerUnreachable:
        return BrokerUnreachable(f"no Kafka broker answers at {kafka.bootstrap}")

    Admin.made, Admin.away = [], None
    monkeypatch.setattr(administration, "AdminClient", Admin)
    monkeypatch.setattr(refusal, "unreachable", unreachable)


async def fine(_: Any) -> str:
    return "fine"


def failing(*errors: Exception) -> Any:
    """A question that fails as often as there are errors."""
    left = list(errors)

    async def ask(_: Any) -> str:
        if left:
            raise left.pop(0)
        return "fine"

    return ask


async def test_one_client_asks_all_questions() -> None:
    administrator = Administrator(KAFKA)
    for _ in range(5):
        assert await administrator.ask(fine) == "fine"
    (admin,) = Admin.made
    assert not admin.closed
    await administrator.close()
    assert admin.closed


async def ask_no_node(_: Any) -> None:
    """What aiokafka does where it knows of no broker any more."""
    await AIOKafkaClient(bootstrap_servers="kafka:9092").send(None, None)


@pytest.mark.parametrize("error", [NodeNotReadyError("1"), TimeoutError(), OSError("reset")])
async def test_a_connection_that_is_lost_is_no_outage_where_a_new_one_is_answered(
    error: Exception,
) -> None:
    administrator = Administrator(KAFKA)
    await administrator.ask(fine)
    assert await administrator.ask(failing(error)) == "fine"
    first, second = Admin.made
    assert first.closed
    assert not second.closed


@pytest.mark.parametrize("question", [failing(NodeNotReadyError("1")), ask_no_node])
async def test_where_nobody_answers_a_new_one_either_that_one_says_why(
    question: Any,
) -> None:
    administrator = Administrator(KAFKA)
    await administrator.ask(fine)
    Admin.away = KafkaConnectionError("refused")
    with pytest.raises(BrokerUnreachable, match="no Kafka broker answers at kafka:9092"):
        await administrator.ask(question)
    assert all(admin.closed for admin in Admin.made)
    Admin.away = None
    assert await administrator.ask(fine) == "fine"


async def test_where_a_new_client_is_refused_what_it_asks_that_is_told() -> None:
    with pytest.raises(BrokerUnreachable, match="Kafka at kafka:9092: NodeNotReadyError"):
        await Administrator(KAFKA).ask(ask_no_node)


@pytest.mark.parametrize("error", [TopicsUnfit("topic a is gone"), KeyError("mistake")])
async def test_what_a_question_finds_out_is_not_asked_again(error: Exception) -> None:
    administrator = Administrator(KAFKA)
    await administrator.ask(fine)
    with pytest.raises(type(error)):
        await administrator.ask(failing(error, error))
    assert len(Admin.made) == 1


async def test_a_client_that_hangs_is_not_asked_again() -> None:
    administrator = Administrator(KAFKA)
    await administrator.ask(fine)

    def hang(_: Any) -> Awaitable[str]:
        return asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await administrator.ask(hang)
    assert Admin.made[0].closed
    assert await administrator.ask(fine) == "fine"
    assert len(Admin.made) == 2


async def create(admin: Any) -> None:
    await administration.create(admin, KAFKA, {"cx.cart": 1, "cx.visit": 1}, {})


async def delete(admin: Any) -> None:
    await renewal._delete(admin, ["cx.cart", "cx.visit"])


@pytest.mark.parametrize("work", [create, delete])
@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        pytest.param(7, BrokerUnreachable, "request timed out (error 7)", id="no answer"),
        pytest.param(41, BrokerUnreachable, "not controller (error 41)", id="no controller"),
        pytest.param(29, StopError, "the right to {} it is missing", id="no right"),
        pytest.param(89, StopError, "unknown (error 89)", id="not known to the client"),
    ],
)
async def test_what_passes_while_topics_are_made_or_deleted_is_tried_again_the_rest_said_in_words(
    work: Callable[[Any], Awaitable[None]], code: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as refused:
        await refused_with(work, code, None)
    said = words.format(work.__name__)
    assert f"topic cx.visit can't be {work.__name__}d: {said}" in str(refused.value)


async def test_what_the_broker_says_of_a_topic_that_it_does_not_make_is_said() -> None:
    with pytest.raises(TopicsUnfit, match=r"cx.visit can.t be created: three of two brokers$"):
        await refused_with(create, 38, "three of two brokers")


async def refused_with(work: Callable[[Any], Awaitable[None]], code: int, said: str | None) -> None:
    """Have the broker refuse one topic, while the other is made or gone already."""

    async def answer(_: object) -> SimpleNamespace:
        return SimpleNamespace(
            topic_errors=[("cx.cart", 36, None), ("cx.visit", code, said)],
            topic_error_codes=[("cx.cart", 3), ("cx.visit", code)],
        )

    async with administration.administration(KAFKA) as admin:
        fake: Any = admin
        unknown = {"topics": [{"topic": t, "error_code": 3} for t in ("cx.cart", "cx.visit")]}
        fake._send_request = mock.AsyncMock(return_value=SimpleNamespace(to_object=lambda: unknown))
        fake.list_topics = mock.AsyncMock(return_value=[])
        fake.create_topics = fake.delete_topics = answer
        await work(fake)


@pytest.mark.parametrize("newest", [4, 5, 9, 10, 13])
async def test_who_asks_of_topics_makes_none(newest: int) -> None:
    """Many brokers make a topic that is asked for."""
    asked: list[Any] = []
    answer: list[Any] = ["what", "it", "says"]

    async def send(request: MetadataRequest) -> SimpleNamespace:
        asked.append(request.prepare({MetadataRequest.API_KEY: (0, newest)}))
        return SimpleNamespace(to_object=lambda: {"topics": answer})

    admin: Any = SimpleNamespace(_send_request=send)
    assert list(await administration.described(admin, ["a", "b"])) == answer
    (request,) = asked
    version = request.API_VERSION
    assert version == (10 if newest >= 10 else min(5, newest))
    names = [name for _, name, _ in request.topics] if version == 10 else request.topics
    assert (names, request.allow_auto_topic_creation) == (["a", "b"], False)
    assert await administration.described(admin, []) == []
    assert len(asked) == 1
