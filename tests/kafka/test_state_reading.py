"""Reading what surrounds a state while the broker does not answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.deadletters.headers import Source, refusal_headers
from stream.kafka import state_reading
from stream.kafka.connection import BrokerUnreachable

DEAD = TopicPartition("cx.visit.dlq", 2)


class Silent:
    """A consumer whose broker has told where a partition ends and says nothing after that."""

    def __init__(self) -> None:
        self.stopped = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 5)

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    def assign(self, places: list[TopicPartition]) -> None: ...

    def seek(self, place: TopicPartition, offset: int) -> None: ...

    async def position(self, place: TopicPartition) -> int:
        return 0

    async def getmany(self, *_: object, timeout_ms: int) -> dict[TopicPartition, list[object]]:
        await asyncio.sleep(0.001)
        return {}


class Holding(Silent):
    """A consumer of a partition with some dead letters."""

    def __init__(self, letters: list[SimpleNamespace]) -> None:
        super().__init__()
        self._letters = letters

    async def position(self, place: TopicPartition) -> int:
        return 5 if not self._letters else 0

    async def getmany(self, *_: object, timeout_ms: int) -> dict[TopicPartition, list[object]]:
        letters, self._letters = self._letters, []
        return {DEAD: list(letters)}


@pytest.mark.parametrize(
    ("groups", "position"),
    [(["a", "a", "b"], 2), (["a", "b", ""], 3), (["b", "b", "b"], 0), ([], 0)],
)
async def test_letters_of_another_group_say_nothing_of_what_a_group_has_buried(
    groups: list[str], position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [
        refusal_headers(
            Source("cx.visit", 2, n), "S", "", outcome="future", field="$", reason="", group=group
        )
        for n, group in enumerate(groups)
    ]
    consumer = Holding([SimpleNamespace(headers=headers) for headers in said])
    monkeypatch.setattr(state_reading, "reader", lambda kafka: consumer)
    found = await state_reading.last_buried(KafkaConfig(group="a"), DEAD, "cx.visit")
    assert found == position


async def test_a_broker_that_falls_silent_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = Silent()
    monkeypatch.setattr(state_reading, "reader", lambda kafka: silent)
    monkeypatch.setattr(state_reading, "_SILENCE", 0.05)
    with pytest.raises(BrokerUnreachable, match=r"cx\.visit\.dlq partition 2 can't be read"):
        await state_reading.last_buried(KafkaConfig(), DEAD, "cx.visit")
    assert silent.stopped
