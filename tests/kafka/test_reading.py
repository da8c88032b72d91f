"""Reading a log to its end: however long that takes, while something comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.core.errors import RetryError
from stream.core.settings import MINUTE, SECOND
from stream.kafka import firing, log, state_reading
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.firing import FiringAlerts
from stream.kafka.log import LogUnread, read_log
from stream.kafka.reading import Stalled, to_end
from stream.kafka.topics import Names

TP = TopicPartition("g-state", 3)
END = 40


class Slow:
    """A consumer whose broker takes its time, on a loop whose clock only it sets on."""

    def __init__(self, every_ms: int, stalls_at: int = END + 1) -> None:
        """It brings a record ``every_ms``, and nothing more once it has come to ``stalls_at``."""
        self._step = every_ms / SECOND
        self._stalls_at = stalls_at
        self._at = 0
        self.passed = 0.0
        self._fetcher = SimpleNamespace(_isolation_level=None)
        began = time.monotonic()
        asyncio.get_running_loop().time = lambda: began + self.passed  # type: ignore[method-assign]

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, END)

    def assign(self, _: object) -> None: ...

    def seek(self, *_: object) -> None: ...

    async def position(self, _: object) -> int:
        return self._at

    async def getmany(self, tp: TopicPartition, **_: object) -> dict[TopicPartition, list[Any]]:
        self.passed += self._step
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._at >= self._stalls_at:
            return {}
        self._at += 1
        key = b"%d" % self._at
        return {tp: [SimpleNamespace(offset=self._at - 1, key=key, value=b"v", headers=())]}


async def state() -> int:
    return len(await read_log(KafkaConfig(), TP.topic, TP.partition))


async def beside_writer() -> int:
    return len(await read_log(KafkaConfig(), TP.topic, TP.partition, beside_writer=True))


async def alerts() -> int:
    reading = FiringAlerts(KafkaConfig(), Names("", "g"), {})
    await reading.now()
    return len(reading._log)


async def letters() -> int:
    await state_reading.last_buried(KafkaConfig(), TP, "source")
    return END


Read = Callable[[], Awaitable[int]]

READINGS = [
    pytest.param(state, log._SILENCE, id="state"),
    pytest.param(beside_writer, log._SILENCE, id="state show"),
    pytest.param(alerts, firing._SILENCE, id="what fires"),
    pytest.param(letters, state_reading._SILENCE, id="dead letters"),
]


def read_by(consumer: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (log, firing, state_reading):
        monkeypatch.setattr(module, "reader", lambda *_, **__: consumer)


@pytest.mark.parametrize(("read", "patience"), READINGS)
async def test_what_comes_slowly_is_read_to_its_end_however_long_that_takes(
    read: Read, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(every_ms=int(patience * 0.9 * SECOND))
    read_by(slow, monkeypatch)
    assert await read() == END
    assert slow.passed > 30 * patience


@pytest.mark.parametrize(("read", "patience"), READINGS)
async def test_what_comes_no_more_is_given_up_soon_after_and_says_how_far_it_was_read(
    read: Read, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = Slow(every_ms=5 * SECOND, stalls_at=30)
    read_by(stalled, monkeypatch)
    with pytest.raises((LogUnread, BrokerUnreachable, Stalled)) as refused:
        await read()
    said = f"nothing has come for {patience:.0f} s, read up to offset 30 of 40"
    assert str(refused.value).endswith(said)
    assert 30 * 5 + patience <= stalled.passed <= 30 * 5 + patience + 10


async def test_a_state_that_can_not_be_read_is_named_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_by(Slow(every_ms=SECOND, stalls_at=7), monkeypatch)
    with pytest.raises(LogUnread) as refused:
        await state()
    assert str(refused.value) == (
        "g-state partition 3 can't be read: nothing has come for 120 s, read up to offset 7 of 40"
    )
    assert isinstance(refused.value, RetryError)


async def test_whoever_takes_long_over_what_has_come_is_not_taken_for_a_silent_broker() -> None:
    slow = Slow(every_ms=SECOND)
    consumer: Any = slow
    read = 0
    async for records in to_end(consumer, TP, END, 60.0):
        read += len(records)
        slow.passed += 10 * MINUTE / SECOND
        await asyncio.sleep(0)
    assert read == END


async def test_a_reading_that_is_cancelled_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(every_ms=SECOND)
    is_asked = asyncio.Event()

    async def wait(*_: object, **__: object) -> None:
        is_asked.set()
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(slow, "getmany", wait)
    read_by(slow, monkeypatch)
    reading = asyncio.ensure_future(state())
    await asyncio.wait_for(is_asked.wait(), 60)
    reading.cancel()
    await asyncio.wait({reading}, timeout=60)
    assert reading.cancelled()
