"""A worker finds out that a topic is gone, whichever it is, and says what to do."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import pytest
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.state import REMEDY
from stream.kafka.administration import Administrator, TopicsUnfit
from stream.kafka.topics import Names, TopicMap, check

NAMES = Names("p-", "g")
TOPIC_MAP = TopicMap(NAMES, dict.fromkeys(TOPICS, 2), dict.fromkeys(TOPICS, 1_000_000))
COUNTS = {
    **{NAMES.source(topic): 2 for topic in TOPICS},
    **{NAMES.dead_letters(topic): 2 for topic in TOPICS},
    NAMES.state: 2,
    NAMES.shares: len(FAMILIES),
    NAMES.alert_state: 1,
    NAMES.values: 1,
    NAMES.alerts: 1,
    NAMES.dead_alerts: 1,
}
#: What a new start can't make anew without counting from zero.
LASTING = {NAMES.state, *(NAMES.source(topic) for topic in TOPICS)}


class FakeAdministrator:
    """Describes all topics, one of which with an error."""

    def __init__(self, bad: str, error: int) -> None:
        self.bad = bad
        self.error = error

    async def ask(self, _: object) -> list[dict[str, Any]]:
        return [
            {
                "topic": name,
                "error_code": self.error if name == self.bad else 0,
                "partitions": [] if name == self.bad else [None] * count,
            }
            for name, count in COUNTS.items()
        ]


def administrator(bad: str, error: int) -> Administrator:
    return cast("Administrator", FakeAdministrator(bad, error))


@pytest.mark.parametrize("name", COUNTS)
async def test_a_topic_that_is_gone_is_told_with_its_remedy(name: str) -> None:
    with pytest.raises(TopicsUnfit) as gone:
        await check(administrator(name, UnknownTopicOrPartitionError.errno), TOPIC_MAP)
    remedy = REMEDY if name in LASTING else "start the worker again, it makes it anew"
    assert str(gone.value) == f"topic {name} is gone; {remedy}"


@pytest.mark.parametrize("name", [NAMES.state, NAMES.shares, NAMES.source("cx.cart")])
async def test_only_shares_with_another_number_of_partitions_are_told_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COUNTS, name, 8)
    with pytest.raises(TopicsUnfit) as unfit:
        await check(administrator("", 0), TOPIC_MAP)
    said, remedy = str(unfit.value).split("; ")
    assert said.startswith(f"topic {name} has 8 partitions now, not ")
    assert remedy.startswith("stop all workers of the group, delete that topic, and start") is (
        name == NAMES.shares
    )
    assert (remedy == REMEDY) is (name != NAMES.shares)


@pytest.mark.parametrize(("count", "said"), [(1, "fewer than the 2 of its source"), (8, None)])
async def test_letters_need_the_partitions_of_their_source_and_may_have_more(
    count: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COUNTS, NAMES.dead_letters("cx.cart"), count)
    with nullcontext() if said is None else pytest.raises(TopicsUnfit, match=said):
        await check(administrator("", 0), TOPIC_MAP)


@pytest.mark.parametrize("name", ["", *COUNTS])
async def test_a_topic_that_may_not_be_described_is_not_taken_for_gone(name: str) -> None:
    await check(administrator(name, TopicAuthorizationFailedError.errno), TOPIC_MAP)


async def test_all_topics_of_the_worker_are_asked_for() -> None:
    asked: list[str] = []

    class Asking(FakeAdministrator):
        async def ask(self, question: Any) -> list[dict[str, Any]]:
            class Admin:
                async def _send_request(self, request: Any) -> Any:
                    asked.extend(request._topics)
                    raise UnknownTopicOrPartitionError

            with pytest.raises(UnknownTopicOrPartitionError):
                await question(Admin())
            return []

    await check(cast("Administrator", Asking("", 0)), TOPIC_MAP)
    assert set(asked) == set(COUNTS)
