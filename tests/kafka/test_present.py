"""Which topics are there: lists lack those that one may not see, or that a broker has yet to learn.

Who took its word would advise to destroy a state that is whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.kafka import administration, group_state, renewal, state_reading
from stream.kafka.administration import TopicsHidden, counts, present
from stream.kafka.group_state import look_at_group
from stream.kafka.renewal import plan
from stream.kafka.state_reading import read_state
from stream.kafka.topics import Names
from tests.fixtures.clock import in_no_time
from tests.kafka.fakes import FORBIDDEN, UNKNOWN, ListedTopics

KAFKA = KafkaConfig().model_copy(update={"topic_prefix": "p-", "group": "g"})
NAMES = Names("p-", "g")
#: What a broker says of a partition without a leader: the topic is there.
LEADERLESS = 5


def connected(monkeypatch: pytest.MonkeyPatch, broker: ListedTopics) -> ListedTopics:
    """Have all ask this broker."""

    @asynccontextmanager
    async def connecting(_: KafkaConfig) -> AsyncIterator[Any]:
        yield broker

    async def nothing(*_: object) -> list[str]:
        return []

    for module in (group_state, renewal, state_reading):
        monkeypatch.setattr(module, "administration", connecting)
    for name in ("committed", "members"):
        monkeypatch.setattr(group_state, name, nothing)
    monkeypatch.setattr(renewal, "_refuse_members", nothing)
    monkeypatch.setattr(administration, "described", broker.described)
    return broker


async def asked(
    monkeypatch: pytest.MonkeyPatch, codes: Iterable[int], is_loss: bool
) -> tuple[Collection[str], int]:
    """Which of a and b are there where only a is listed, and how often b was asked for by name."""
    broker: Any = connected(monkeypatch, ListedTopics(["a", "other"], {"b": codes}))
    there = await present(broker, ["a", "b"], lambda _: is_loss)
    return there, broker.looks


@pytest.mark.parametrize(
    ("codes", "is_loss", "found", "looks"),
    [
        pytest.param([0], True, {"a", "b"}, 1, id="it is there after all"),
        pytest.param([LEADERLESS], True, {"a", "b"}, 1, id="it has no leader now"),
        pytest.param([UNKNOWN, 0], True, {"a", "b"}, 2, id="the first broker had just begun"),
        pytest.param([UNKNOWN, UNKNOWN, 0], True, {"a", "b"}, 3, id="so had the second"),
        pytest.param([UNKNOWN], True, {"a"}, 3, id="it is gone"),
        pytest.param([UNKNOWN, 0], False, {"a"}, 1, id="nothing says that it ever was"),
    ],
)
@in_no_time
async def test_a_topic_is_gone_where_no_broker_knows_it_for_some_time(
    codes: list[int], is_loss: bool, found: set[str], looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await asked(monkeypatch, codes, is_loss) == (found, looks)


@pytest.mark.parametrize("codes", [[FORBIDDEN], [UNKNOWN, FORBIDDEN]])
@in_no_time
async def test_one_that_may_not_be_described_is_neither_there_nor_gone(
    codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TopicsHidden) as raised:
        await asked(monkeypatch, codes, True)
    assert str(raised.value) == (
        "the right to describe topic b is missing, so whether it is there is not known: grant it"
    )


async def test_all_that_is_listed_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    broker: Any = connected(monkeypatch, ListedTopics(["a", "b"], {}))
    assert await present(broker, ["a", "b"], bool) == {"a", "b"}
    assert broker.looks == 0


async def test_partitions_that_may_not_be_counted_are_not_called_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker: Any = connected(monkeypatch, ListedTopics(["a"], {"b": [FORBIDDEN], "c": [FORBIDDEN]}))
    with pytest.raises(TopicsHidden, match="the right to describe topics b, c is missing"):
        await counts(broker, ["a", "b", "c"])


async def look(kafka: KafkaConfig) -> object:
    return await look_at_group(kafka, None)  # type: ignore[arg-type]


async def reset(kafka: KafkaConfig) -> object:
    return await plan(kafka, "reset")


async def rebuild(kafka: KafkaConfig) -> object:
    return await plan(kafka, "rebuild")


@pytest.mark.parametrize("ask", [look, reset, rebuild])
@pytest.mark.parametrize("topic", [*NAMES.internal, *map(NAMES.source, TOPICS), "p-cx.visit.dlq"])
async def test_nothing_is_said_of_a_state_and_none_destroyed_where_a_topic_may_not_be_described(
    ask: Any, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [name for name in NAMES.all if name != topic]
    connected(monkeypatch, ListedTopics(listed, {topic: [FORBIDDEN]}))
    with pytest.raises(TopicsHidden, match=f"the right to describe topic {topic} is missing"):
        await ask(KAFKA)


@pytest.mark.parametrize("ask", [look, reset, rebuild])
@pytest.mark.parametrize("topic", [NAMES.state, NAMES.source("cx.visit")])
@in_no_time
async def test_what_lacks_a_topic_is_asked_for_it_until_that_is_sure(
    ask: Any, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [name for name in NAMES.all if name != topic]
    broker = connected(monkeypatch, ListedTopics(listed, {topic: [UNKNOWN, UNKNOWN, FORBIDDEN]}))
    with pytest.raises(TopicsHidden):
        await ask(KAFKA)
    assert broker.looks == 3


async def test_a_state_that_may_not_be_described_is_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected(monkeypatch, ListedTopics([], {NAMES.state: [FORBIDDEN]}))
    with pytest.raises(TopicsHidden):
        await read_state(KAFKA)
