"""When the registry of values is asked, without a broker."""

from __future__ import annotations

import pytest

from stream.config import KafkaConfig
from stream.core.settings import Settings
from stream.core.values import Values
from stream.kafka import registry
from stream.kafka.log import FlushFailed
from stream.kafka.registry import ValueRegistry
from stream.kafka.topics import Names

CORE = Settings(dimensions=("channel",), rollups=((),), max_values_per_dimension=10_000)


class Busy(ValueRegistry):
    """A registry that each change of takes so long that another value comes, until it is behind."""

    def __init__(self, values: Values) -> None:
        super().__init__(KafkaConfig(), Names("", "g"), values)
        self.told = 0

    async def _tell(self) -> bool:
        self.told += 1
        asked = self._values.asked()
        after = self._values.propose([])
        if not self.is_behind or self.told < 100:
            self._values.fold((f"v{self.told}", None), 0)
        self._values.decide(after, asked)
        return True


async def test_a_flush_waits_while_values_come_and_asks_for_silence() -> None:
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    busy = Busy(values)
    await busy.settle()
    assert busy.told == 100
    assert not values.is_undecided
    assert not busy.is_behind


class Broken(Busy):
    async def _tell(self) -> bool:
        self.told += 1
        return False


async def test_a_flush_fails_where_the_registry_can_not_be_changed() -> None:
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    broken = Broken(values)
    with pytest.raises(FlushFailed):
        await broken.settle()
    assert not broken.is_behind


class Unreachable:
    """A writer whose broker does not answer."""

    def __init__(self, *_: object) -> None: ...

    async def start(self) -> None:
        raise ConnectionRefusedError

    async def stop(self) -> None: ...


async def test_a_broker_that_does_not_answer_fails_the_flush_and_not_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "TransactionalWriter", Unreachable)
    monkeypatch.setattr(registry, "_BACKOFF_SECONDS", 0.0)
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    with pytest.raises(FlushFailed):
        await ValueRegistry(KafkaConfig(), Names("", "g"), values).settle()
    assert values.is_undecided
