"""A worker finds out that a topic is gone, whichever it is, and says what to do."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
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
    """Describes all topics, one of which with an error, and ids where it has some."""

    def __init__(self, bad: str, error: int) -> None:
        self.bad = bad
        self.error = error
        self.ids: dict[str, str] = {}

    async def ask(self, _: object) -> list[dict[str, Any]]:
        return [
            {
                "topic": name,
                "error_code": self.error if name == self.bad else 0,
                "partitions": [] if name == self.bad else [None] * count,
                **({"topic_id": self.ids[name]} if name in self.ids else {}),
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


@pytest.mark.parametrize(
    ("name", "former", "now", "is_anew"),
    [
        (NAMES.source("cx.cart"), "a", "b", True),
        (NAMES.source("cx.cart"), "a", "a", False),
        (NAMES.source("cx.cart"), "a", "", False),
        (NAMES.source("cx.cart"), "a", None, False),
        (NAMES.source("cx.cart"), None, "b", False),
        # What is in the others is told anew, or is missed where it is read.
        (NAMES.shares, "a", "b", False),
    ],
)
async def test_a_source_that_was_made_anew_is_told_where_the_broker_tells_ids(
    name: str, former: str | None, now: str | None, is_anew: bool
) -> None:
    ids = {} if former is None else {name.removeprefix(NAMES.prefix): former}
    fake = FakeAdministrator("", 0)
    fake.ids = {} if now is None else {name: now}
    with pytest.raises(TopicsUnfit) if is_anew else nullcontext() as unfit:
        await check(cast("Administrator", fake), replace(TOPIC_MAP, ids=ids))
    if unfit is not None:
        said = f"topic {name} was made anew; where nothing was read of the former, start the worker"
        assert str(unfit.value) == f"{said} again, else {REMEDY}"


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
