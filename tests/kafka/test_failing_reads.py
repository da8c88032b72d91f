"""What a log that can't be read is called, without a broker."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.config import KafkaConfig
from stream.core.errors import RetryError
from stream.core.settings import Settings
from stream.core.values import Values
from stream.kafka import log as state_log
from stream.kafka import registry
from stream.kafka.firing import FiringAlerts
from stream.kafka.log import FlushFailed, LogUnread, read_log
from stream.kafka.registry import ValueRegistry
from stream.kafka.topics import Names


class Away:
    """A reader whose broker is away."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.stopped = False

    async def start(self) -> None:
        raise self.error

    async def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), TimeoutError(), OSError("gone")])
async def test_a_log_that_can_not_be_read_is_no_flush_that_failed_and_can_be_tried_again(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(error)
    monkeypatch.setattr(state_log, "reader", lambda kafka: away)
    with pytest.raises(LogUnread, match="topic partition 3 can't be read") as raised:
        await read_log(KafkaConfig(), "topic", 3)
    assert isinstance(raised.value, RetryError)
    assert not isinstance(raised.value, FlushFailed), "nothing in memory is void"
    assert away.stopped


class Idle:
    """A writer of the registry that has nothing to say against it."""

    def __init__(self, *_: object) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


async def test_a_registry_that_can_not_be_read_fails_the_flush_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unread(*_: Any) -> dict[bytes, bytes]:
        raise LogUnread("g-values partition 0 can't be read")

    monkeypatch.setattr(registry, "TransactionalWriter", Idle)
    monkeypatch.setattr(registry, "read_log", unread)
    monkeypatch.setattr(registry, "_BACKOFF_SECONDS", 0.0)
    values = Values(Settings(dimensions=("channel",), rollups=((),)), shared=True)
    values.decide([{}], [])
    values.fold(("web", None), 0)
    asked = ValueRegistry(KafkaConfig(), Names("", "g"), values)
    with pytest.raises(FlushFailed):
        await asked.settle()
    assert values.is_undecided


@pytest.mark.parametrize(
    ("error", "told"), [(OSError("gone"), True), (KeyError("a mistake"), False)]
)
async def test_what_was_known_to_fire_bridges_an_outage_and_hides_no_mistake(
    error: Exception, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    firing = FiringAlerts(KafkaConfig(), Names("", "g"), {})
    outcomes: list[Exception | None] = [None, error]

    async def catch_up() -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr(firing, "_catch_up", catch_up)
    assert await firing.now() == []
    with nullcontext() if told else pytest.raises(type(error)):
        assert await firing.now() == []
