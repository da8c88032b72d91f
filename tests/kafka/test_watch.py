"""What a worker makes of what it finds when it looks at broker, topics and group now and then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from aiokafka.errors import GroupAuthorizationFailedError

from stream.config import KafkaConfig
from stream.kafka import watch as watching
from stream.kafka.administration import Administrator, TopicsUnfit
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import TopicMap
from stream.kafka.watch import GroupLost, silence_seconds

KAFKA = KafkaConfig()
AWAY, UNFIT = BrokerUnreachable("no broker answers"), TopicsUnfit("topic cx.cart is gone")
#: So many looks at a silent client in a row, and it counts as dead.
MOST = math.ceil(silence_seconds(KAFKA) / watching._EVERY_SECONDS)


class Look(NamedTuple):
    """What is found at one time."""

    error: Exception | None = None
    #: When the group accepted a heartbeat last, if not at this look.
    beat: float | None = None
    is_settled: bool = True
    #: When its coordinator last said that it can't do its work.
    helpless: float = 0.0


class Over(Exception):
    """There is nothing more to look at."""


class Looking:
    """A worker that finds one after the other, and what it said of outages after each."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self._looks = list(looks)
        self._number = 0
        self.outages: list[str] = []
        self.membership = SimpleNamespace(helpless_at=0.0)
        thread = SimpleNamespace(heartbeat_at=0.0, membership=self.membership)
        self.owner: Any = SimpleNamespace(outage="", thread=thread)
        self.is_closed = False

    @property
    def _look(self) -> Look:
        return self._looks[self._number - 1]

    async def sleep(self, seconds: float) -> None:
        assert seconds == watching._EVERY_SECONDS
        if self._number:
            self.outages.append(self.owner.outage)
        if self._number == len(self._looks):
            raise Over
        self._number += 1
        beat = self._look.beat
        self.owner.thread.heartbeat_at = float(self._number) if beat is None else beat
        self.membership.helpless_at = self._look.helpless

    async def check(self, administrator: object, topics: object) -> None:
        if self._look.error is not None:
            raise self._look.error

    async def ask(self, _: object) -> bool:
        return self._look.is_settled

    async def close(self) -> None:
        self.is_closed = True

    async def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "Administrator", lambda _: cast("Administrator", self))
        monkeypatch.setattr(watching, "check", self.check)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)
        topics = cast("TopicMap", SimpleNamespace())
        await watching.watch(KAFKA, topics, cast("ShardOwner", self.owner))


async def test_an_outage_is_told_once_and_is_over_once_a_broker_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looking = Looking([Look(), Look(AWAY), Look(AWAY), Look(), Look(AWAY)])
    with pytest.raises(Over):
        await looking.watch(monkeypatch)
    away = str(AWAY)
    assert looking.outages == ["", away, away, "", away]
    assert caplog.messages == [f"{away}; going on once one does"] * 2
    assert looking.is_closed


async def test_a_right_that_is_missing_is_waited_for_and_no_broker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = BrokerUnreachable("the right to read group g is missing")
    refused.__cause__ = GroupAuthorizationFailedError("g")
    with pytest.raises(Over):
        await Looking([Look(refused)]).watch(monkeypatch)
    assert caplog.messages == [f"{refused}; going on once it is granted"]


@pytest.mark.parametrize(
    ("looks", "ends"),
    [
        pytest.param([Look(UNFIT), Look(UNFIT)], True, id="it is so"),
        pytest.param([Look(UNFIT), Look(), Look(UNFIT)], False, id="it was so for a moment"),
        pytest.param([Look(UNFIT), Look(AWAY), Look(UNFIT)], False, id="a broker was starting"),
    ],
)
async def test_topics_are_gone_where_a_second_look_says_so_too(
    looks: list[Look], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(looks)
    with pytest.raises(TopicsUnfit if ends else Over):
        await looking.watch(monkeypatch)
    assert looking.is_closed


SILENT = [Look(beat=1.0)]
NEARLY = SILENT * MOST


@pytest.mark.parametrize(
    ("looks", "ends"),
    [
        pytest.param([*SILENT, *NEARLY], True, id="no heartbeat was accepted for long"),
        pytest.param(NEARLY, False, id="not for long enough"),
        pytest.param([*NEARLY, Look(), *NEARLY], False, id="one was in between"),
        pytest.param([Look()] * 3 * MOST, False, id="all are"),
        pytest.param(
            [*NEARLY, Look(beat=1.0, is_settled=False), *NEARLY[1:]], False, id="rebalance"
        ),
        pytest.param([*NEARLY, Look(AWAY, beat=1.0), *NEARLY[1:]], False, id="outage"),
        pytest.param([Look(beat=1.0, is_settled=False)] * 3 * MOST, False, id="no coordinator"),
        pytest.param(
            [Look(beat=1.0, helpless=float(n)) for n in range(3 * MOST)], False, id="helpless"
        ),
        pytest.param(
            [*NEARLY, *[Look(beat=1.0, helpless=2.0)] * (MOST + 1)], True, id="helpless once"
        ),
    ],
)
async def test_a_client_has_died_where_the_group_waits_for_nobody_and_hears_nothing_of_it(
    looks: list[Look], ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(looks)
    with pytest.raises(GroupLost if ends else Over) as raised:
        await looking.watch(monkeypatch)
    if ends:
        assert "has accepted no heartbeat for" in str(raised.value)


@pytest.mark.parametrize(
    ("request_ms", "session_ms", "seconds"), [(40_000, 10_000, 90.0), (10_000, 60_000, 182.0)]
)
def test_a_coordinator_that_hangs_is_waited_for_once_and_another_is_looked_for(
    request_ms: int, session_ms: int, seconds: float
) -> None:
    kafka = KafkaConfig().model_copy(
        update={"request_timeout_ms": request_ms, "session_timeout_ms": session_ms}
    )
    assert silence_seconds(kafka) == seconds


async def test_a_broker_that_takes_a_question_and_says_nothing_counts_as_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "_CHECK_SECONDS", 0.01)
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(BrokerUnreachable, match=r"no Kafka broker answers at .* in time"):
        await asyncio.wait_for(watching._in_time(KAFKA, never), 60)
