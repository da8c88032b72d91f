"""Following what the shards tell, also where its topic loses what was read of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from stream.config import KafkaConfig
from stream.kafka import shares
from stream.kafka.shares import ShareReader, SharesUnread
from stream.kafka.topics import Names

LOST = "topic g-share partition 1 was made anew or has lost records, so all is read again"


class Logs:
    """Two partitions that may lose records, and a client as Kafka's: three records at a time.

    It goes back to the beginning where it was told so, and else says that it was refused.
    """

    def __init__(self) -> None:
        self.logs: dict[int, list[bytes]] = {0: [b"a", b"b"], 1: [b"%d" % n for n in range(9)]}
        self.clients = 0
        self._reset = ""
        self._at: dict[int, int] = {}

    def reader(self, _: KafkaConfig, __: int, reset: str = "earliest") -> Logs:
        self.clients += 1
        self._reset = reset
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def beginning_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: len(self.logs[tp.partition]) for tp in places}

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = {tp.partition: 0 for tp in places}

    def seek(self, place: TopicPartition, position: int) -> None:
        self._at[place.partition] = position

    async def position(self, place: TopicPartition) -> int:
        return self._at[place.partition]

    async def getmany(self, **_: object) -> dict[TopicPartition, list[Any]]:
        found: dict[TopicPartition, list[Any]] = {}
        for number, log in self.logs.items():
            tp, at = TopicPartition("g-share", number), self._at.get(number)
            if at is None:
                continue
            if at > len(log) and self._reset == "none":
                raise OffsetOutOfRangeError({tp: at})
            if at > len(log):
                self._at[number] = 0
            elif some := log[at : at + 3]:
                self._at[number] = at + len(some)
                found[tp] = [SimpleNamespace(key=value, value=value) for value in some]
        return found


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Logs:
    made = Logs()
    monkeypatch.setattr(shares, "reader", made.reader)
    return made


async def read_up(reader: ShareReader, family: int) -> list[bytes]:
    """What was read of a family, once that is all."""
    found: list[bytes] = []
    for _ in range(10):
        told = await reader.read()
        found += [value or b"" for _, value in told.get(family, [])]
        if reader.is_caught_up(family):
            return found
    raise AssertionError(found)


async def test_a_family_is_read_when_all_was_read_that_was_there_and_stays_so(logs: Logs) -> None:
    reader = ShareReader(KafkaConfig(), Names("", "g"))
    await reader.follow([0, 1])
    assert not reader.is_caught_up(1)
    assert await read_up(reader, 1) == logs.logs[1]
    logs.logs[1] += [b"more"] * 4
    assert reader.is_caught_up(1)
    assert (await reader.read())[1] == [(b"more", b"more")] * 3
    assert reader.is_caught_up(1)


@pytest.mark.parametrize("left", [0, 1, 5, 8])
async def test_where_a_log_ends_before_what_was_read_all_is_read_again_up_to_the_new_end(
    logs: Logs, left: int
) -> None:
    """And is read then, though the log may need weeks to be as long as the former one was."""
    reader = ShareReader(KafkaConfig(), Names("", "g"))
    await reader.follow([0, 1])
    await read_up(reader, 1)
    logs.logs[1] = [b"new %d" % n for n in range(left)]
    with pytest.raises(SharesUnread) as told:
        await reader.read()
    assert str(told.value) == LOST
    await reader.close()
    assert not reader.is_caught_up(0)
    assert not reader.is_caught_up(1)
    await reader.follow([0, 1])
    assert await read_up(reader, 1) == logs.logs[1]
    assert reader.is_caught_up(0)


async def test_nothing_counts_as_read_of_a_log_that_was_cut_back_when_it_is_followed_anew(
    logs: Logs,
) -> None:
    """As when the broker that lost it, and a worker with it, come back at the same time."""
    reader = ShareReader(KafkaConfig(), Names("", "g"))
    await reader.follow([1])
    await read_up(reader, 1)
    del logs.logs[1][7:]
    with pytest.raises(SharesUnread) as told:
        await reader.follow([0, 1])
    assert str(told.value) == LOST


async def test_a_log_that_is_followed_anew_goes_on_where_it_was_read_to(logs: Logs) -> None:
    reader = ShareReader(KafkaConfig(), Names("", "g"))
    await reader.follow([1])
    await read_up(reader, 1)
    logs.logs[1] += [b"more"]
    await reader.follow([0, 1])
    assert not reader.is_caught_up(1)
    assert await read_up(reader, 1) == [b"more"]
    assert logs.clients == 1


@pytest.mark.parametrize(
    ("error", "raised"), [(KafkaConnectionError("gone"), SharesUnread), (KeyError("a"), KeyError)]
)
async def test_what_passes_is_read_again_and_a_mistake_is_not_hidden(
    logs: Logs, error: Exception, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getmany(**_: object) -> dict[TopicPartition, list[object]]:
        raise error

    reader = ShareReader(KafkaConfig(), Names("", "g"))
    await reader.follow([1])
    monkeypatch.setattr(reader._consumer, "getmany", getmany)
    with pytest.raises(raised):
        await reader.read()
