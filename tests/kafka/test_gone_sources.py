"""Whether a source topic is gone that was read: no worker makes it anew, or says so early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.inspection import Inspection, Size
from stream.core.state import StateRefused
from stream.kafka import group_state
from tests.fixtures.clock import in_no_time

UNKNOWN = UnknownTopicOrPartitionError.errno
DENIED = TopicAuthorizationFailedError.errno
NOTHING = Inspection(Size(), Size(), {})
READ = (NOTHING, Inspection(Size(), Size(), {}, positions={"cx.visit": 7}))


async def look(
    monkeypatch: pytest.MonkeyPatch,
    codes: list[int],
    shards: Iterable[Inspection] = READ,
    state: str = "cxkpi-state",
) -> int:
    """Look for sources where cx.visit is not listed, and asked for gives these; looks made."""
    said = iter(codes)
    looks = 0

    @asynccontextmanager
    async def administration(_: KafkaConfig) -> AsyncIterator[Any]:
        async def list_topics() -> list[str]:
            return [state, *(topic for topic in TOPICS if topic != "cx.visit")]

        yield SimpleNamespace(list_topics=list_topics)

    async def described(_: object, topics: Iterable[str]) -> list[Mapping[str, Any]]:
        nonlocal looks
        looks += 1
        return [{"topic": topic, "error_code": next(said)} for topic in topics]

    async def read_state(_: KafkaConfig) -> list[Inspection]:
        return list(shards)

    monkeypatch.setattr(group_state, "administration", administration)
    monkeypatch.setattr(group_state, "described", described)
    monkeypatch.setattr(group_state, "read_state", read_state)
    await group_state.refuse_gone_sources(KafkaConfig())
    return looks


@in_no_time
async def test_one_that_no_broker_knows_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "topic cx.visit partition 1 is gone but was read up to 7"
    with pytest.raises(StateRefused, match=said):
        await look(monkeypatch, [UNKNOWN] * 3)


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param([0], id="it is there after all"),
        pytest.param([UNKNOWN, 0], id="the first broker had just begun"),
        pytest.param([UNKNOWN, UNKNOWN, 0], id="so had the second"),
        pytest.param([DENIED], id="one may not see it"),
    ],
)
@in_no_time
async def test_one_that_is_only_not_listed_is_not(
    codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await look(monkeypatch, codes) == len(codes)


@in_no_time
async def test_one_of_which_nothing_was_read_may_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await look(monkeypatch, [UNKNOWN] * 3, [NOTHING]) == 3


async def test_where_there_is_no_state_nobody_waits_for_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await look(monkeypatch, [], state="other-state") == 0
