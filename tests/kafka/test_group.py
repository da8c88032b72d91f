"""What a consumer group says of itself, without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    NodeNotReadyError,
)

from stream.core.state import StateRefused
from stream.kafka import group
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.group import Committed, is_settled, members, refuse_read


class FakeAdmin:
    """Knows a group with one member, which chose its name itself."""

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        member = ("id", "client\x1b[2J\nforged", "/10.0.0.1", b"", b"")
        return [SimpleNamespace(groups=[(0, "g", "Stable", "consumer", "range", [member])])]


async def test_a_member_is_named_on_one_line_whatever_it_calls_itself() -> None:
    admin: Any = FakeAdmin()
    (named,) = await members(admin, "g")
    assert named == "client\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}forged at 10.0.0.1"


class Describing:
    """Describes a group by a code and a state, or fails."""

    def __init__(self, code: int, state: str, error: Exception | None = None) -> None:
        self.found = SimpleNamespace(groups=[(code, "g", state, "consumer", "", [])])
        self.error = error

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        if self.error is not None:
            raise self.error
        return [self.found]


@pytest.mark.parametrize(
    ("state", "settled"),
    [
        ("Stable", True),
        ("Empty", True),
        ("Dead", True),
        ("PreparingRebalance", False),
        ("CompletingRebalance", False),
    ],
)
async def test_a_group_that_gathers_is_not_settled(state: str, settled: bool) -> None:
    admin: Any = Describing(0, state)
    assert await is_settled(admin, "g") is settled


async def test_a_missing_right_is_told_as_such() -> None:
    admin: Any = Describing(GroupAuthorizationFailedError.errno, "")
    for question in (is_settled, members):
        with pytest.raises(GroupAuthorizationFailedError):
            await question(admin, "g")


async def test_of_a_group_whose_coordinator_is_loading_no_members_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group, "_PATIENCE", 0.0)
    admin: Any = Describing(14, "")
    with pytest.raises(BrokerUnreachable, match="the coordinator of group g does not answer"):
        await members(admin, "g")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (14, None),
        (15, None),
        (16, None),
        (0, NodeNotReadyError()),
        (0, GroupCoordinatorNotAvailableError()),
    ],
)
async def test_of_a_group_without_a_coordinator_nothing_is_known(
    code: int, error: Exception | None
) -> None:
    admin: Any = Describing(code, "", error)
    with pytest.raises(BrokerUnreachable, match="the coordinator of group g does not answer"):
        await is_settled(admin, "g")


@pytest.mark.parametrize(
    ("offsets", "named"),
    [
        pytest.param(
            {"cx.survey": 0, "cx.visit": 20, "cx.cart": 7}, "cx.visit up to 20", id="most"
        ),
        pytest.param(
            {"cx.survey": 3, "cx.visit": 3}, "cx.survey up to 3", id="the first of equals"
        ),
        pytest.param({"cx.visit": 0}, "cx.visit up to 0", id="one that had nothing to read"),
        pytest.param({}, None, id="nothing was read"),
    ],
)
def test_that_a_state_is_lost_is_told_by_the_topic_of_which_most_was_read(
    offsets: dict[str, int], named: str | None
) -> None:
    said = Committed({TopicPartition(topic, 1): n for topic, n in offsets.items()}, {})
    sources = [TopicPartition(topic, 1) for topic in ("cx.survey", "cx.cart", "cx.visit")]
    if named is None:
        refuse_read(said, "g", "g-state", sources)
        return
    with pytest.raises(StateRefused, match=f"group g has read {named}: its state is lost"):
        refuse_read(said, "g", "g-state", sources)
