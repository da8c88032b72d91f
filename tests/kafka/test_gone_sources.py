"""Whether a source topic is gone that was read: no worker makes it anew, or says so early."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.inspection import Inspection, Size
from stream.core.state import StateRefused
from stream.kafka import administration, group_state
from stream.kafka.administration import TopicsHidden
from tests.fixtures.clock import in_no_time
from tests.kafka.fakes import FORBIDDEN, UNKNOWN, ListedTopics

NOTHING = Inspection(Size(), Size(), {})
READ = (NOTHING, Inspection(Size(), Size(), {}, positions={"cx.visit": 7}))


async def look(
    monkeypatch: pytest.MonkeyPatch,
    codes: list[int],
    shards: Iterable[Inspection] = READ,
    state: str = "cxkpi-state",
) -> int:
    """Look for sources where cx.visit is not listed, and asked for gives these; looks made."""
    listed = [state, *(topic for topic in TOPICS if topic != "cx.visit")]
    broker = ListedTopics(listed, {"cx.visit": codes})

    @asynccontextmanager
    async def connected(_: KafkaConfig) -> AsyncIterator[Any]:
        yield broker

    async def read_state(_: KafkaConfig) -> list[Inspection]:
        return list(shards)

    monkeypatch.setattr(group_state, "administration", connected)
    monkeypatch.setattr(administration, "described", broker.described)
    monkeypatch.setattr(group_state, "read_state", read_state)
    await group_state.refuse_gone_sources(KafkaConfig())
    return broker.looks


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


@in_no_time
async def test_one_that_one_may_not_see_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TopicsHidden, match=r"the right to describe topic cx\.visit is missing"):
        await look(monkeypatch, [FORBIDDEN])


async def test_where_there_is_no_state_nobody_waits_for_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await look(monkeypatch, [UNKNOWN], state="other-state") == 1
