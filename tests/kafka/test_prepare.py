"""Which topics a worker makes at its start, how, in which order, and what it refuses before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.state import StateRefused
from stream.kafka import administration, topics
from stream.kafka.administration import USUAL_LIMIT, TopicsHidden, TopicsUnfit
from stream.kafka.group import Committed, Note
from stream.kafka.topics import (
    COMPACTED,
    DEAD_LETTER_ROOM,
    STATE_LIMIT,
    Names,
    TopicMap,
    refuse_grown,
    refuse_made_anew,
)
from tests.fixtures.clock import in_no_time
from tests.kafka.fakes import FORBIDDEN, UNKNOWN, ListedTopics

KAFKA = KafkaConfig().model_copy(update={"topic_prefix": "p-", "group": "g", "partitions": 3})
NAMES = Names("p-", "g")
TP = TopicPartition("p-cx.cart", 0)
READ = Committed({TP: 7}, {})
NOTED = Committed({TP: 7}, {TP: Note("reset", 7, 7)})
DAY_MS = 24 * 60 * 60 * 1000


class Brokers:
    """Brokers with some topics, which take what is made."""

    def __init__(self, there: Mapping[str, int], said: Committed, limit: int) -> None:
        self.partitions = dict(there)
        self.said = said
        self.limit = limit
        #: What topics of dead letters take that were there before.
        self.letters: int | None = limit
        #: Sources whose limit is not told.
        self.untold: set[str] = set()
        #: What was made, in this order, with its settings.
        self.made: dict[str, dict[str, str]] = {}
        self.refusal: str | None = None
        #: What is there and not listed, by what a broker says of it.
        self.unlisted: dict[str, list[int]] = {}
        self.looks = 0

    async def list_topics(self) -> list[str]:
        return [topic for topic in self.partitions if topic not in self.unlisted]

    async def committed(self, _: object, group: str) -> Committed:
        assert group == "g"
        return self.said

    async def create(
        self, _: object, kafka: object, wanted: Mapping[str, int], config: Mapping[str, str]
    ) -> None:
        for name, count in wanted.items():
            if name not in self.partitions:
                self.partitions[name] = count
                self.made[name] = dict(config)

    async def counts(self, _: object, names: Iterable[str]) -> dict[str, int]:
        return {name: self.partitions[name] for name in names}

    async def topic_ids(self, _: object, names: Mapping[str, str]) -> dict[str, str]:
        return {topic: f"id of {name}" for topic, name in names.items()}

    async def largest_batch(self, _: object, name: str) -> int | None:
        if name in self.untold:
            return None
        usual = self.letters if name.endswith(".dlq") else self.limit
        made = self.made.get(name, {}).get("max.message.bytes")
        return usual if made is None else int(made)

    async def refused_settings(self, *_: object) -> str | None:
        return self.refusal

    async def prepare(self, monkeypatch: pytest.MonkeyPatch) -> TopicMap:
        asked = ("committed", "create", "counts", "topic_ids", "largest_batch", "refused_settings")
        for name in asked:
            monkeypatch.setattr(topics, name, getattr(self, name))
        asked_by_name = ListedTopics(await self.list_topics(), self.unlisted)
        monkeypatch.setattr(administration, "described", asked_by_name.described)
        monkeypatch.setattr(topics, "LOOKS", 1)
        try:
            return await topics._prepare(cast("AIOKafkaAdminClient", self), KAFKA)
        finally:
            self.looks = asked_by_name.looks


def brokers(*there: str, said: Committed | None = None) -> Brokers:
    return Brokers(dict.fromkeys(there, 1), said or Committed({}, {}), 5000)


async def test_what_is_missing_is_made_as_it_has_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # One source is there already, with more partitions than are configured.
    found = Brokers({"p-cx.cart": 7}, Committed({}, {}), 5000)
    told = await found.prepare(monkeypatch)
    assert told.partitions == dict.fromkeys(TOPICS, 3) | {"cx.cart": 7}
    assert told.ids == {topic: f"id of {NAMES.source(topic)}" for topic in TOPICS}
    room = 5000 + DEAD_LETTER_ROOM
    assert told.dead_letter_limits == dict.fromkeys(TOPICS, room)
    letters = {"cleanup.policy": "delete", "max.message.bytes": str(room)}
    for topic in TOPICS:
        full, dead = NAMES.source(topic), NAMES.dead_letters(topic)
        assert found.made.get(full, {}) == {}
        assert found.partitions[dead] == found.partitions[full]
        assert found.made[dead] == letters
    assert (found.partitions[NAMES.alerts], found.made[NAMES.alerts]) == (1, {})
    assert (found.partitions[NAMES.dead_alerts], found.made[NAMES.dead_alerts]) == (1, letters)
    own = {NAMES.state: 7, NAMES.alert_state: 1, NAMES.values: 1, NAMES.shares: len(FAMILIES)}
    for name, count in own.items():
        assert found.partitions[name] == count
        assert found.made[name]["cleanup.policy"] == "compact"
        assert found.made[name]["max.message.bytes"] == str(STATE_LIMIT)
    # Where one of the others is there, there was a state.
    assert next(name for name in found.made if name in own) == NAMES.state


def test_compacted_topics_are_compacted_soon_and_not_all_the_time() -> None:
    for settings in (COMPACTED, topics._SHARED):
        assert 60_000 <= int(settings["segment.ms"]) <= DAY_MS
        assert int(settings["segment.bytes"]) >= STATE_LIMIT
        assert 0.1 <= float(settings["min.cleanable.dirty.ratio"]) <= 0.5


@pytest.mark.parametrize(
    ("found", "raised", "said"),
    [
        pytest.param(
            brokers(said=NOTED), StateRefused, "`cxkpi state reset` of group g", id="unfinished"
        ),
        pytest.param(
            brokers(NAMES.values), TopicsUnfit, "topic g-state is gone", id="without its state"
        ),
    ],
)
@in_no_time
async def test_a_group_whose_state_can_not_be_gone_on_with_is_left_as_it_is(
    found: Brokers, raised: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(raised, match=said):
        await found.prepare(monkeypatch)
    assert found.made == {}


@pytest.mark.parametrize("topic", [NAMES.state, NAMES.alert_state, "p-cx.visit", "p-cx.visit.dlq"])
async def test_a_topic_that_one_may_not_see_is_not_gone(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Brokers(dict.fromkeys(NAMES.all, 1), READ, 5000)
    found.unlisted = {topic: [FORBIDDEN]}
    with pytest.raises(TopicsHidden) as raised:
        await found.prepare(monkeypatch)
    assert f"the right to describe topic {topic} is missing" in str(raised.value)
    assert "rebuild" not in str(raised.value)
    assert found.made == {}


@in_no_time
async def test_a_state_that_a_broker_does_not_know_yet_is_not_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = dict.fromkeys(NAMES.internal, 3) | {NAMES.shares: len(FAMILIES)}
    found = Brokers(there, READ, 5000)
    found.unlisted = {NAMES.state: [UNKNOWN, UNKNOWN, 0]}
    await found.prepare(monkeypatch)
    assert found.looks == 3


@pytest.mark.parametrize("there", [(), ("p-cx.visit", "p-cx.cart")])
async def test_a_first_start_waits_for_no_topics(
    there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Brokers(dict.fromkeys(there, 3), Committed({}, {}), 100_000)
    await found.prepare(monkeypatch)
    assert found.looks == 1


async def test_topics_that_lose_what_is_written_are_refused_before_any_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = brokers()
    found.refusal = "topic g-state has cleanup.policy=delete"
    with pytest.raises(TopicsUnfit, match="has cleanup"):
        await found.prepare(monkeypatch)
    assert found.made == {}


@pytest.mark.parametrize(
    ("there", "said", "told"),
    [
        pytest.param((), Committed({}, {}), False, id="a new group"),
        pytest.param((NAMES.state,), Committed({}, {}), False, id="a start that was cut short"),
        pytest.param((NAMES.state,), READ, True, id="they were deleted"),
        pytest.param((NAMES.state, NAMES.alert_state), READ, False, id="they are there"),
    ],
)
@in_no_time
async def test_it_is_told_that_the_alerts_states_are_gone_where_there_were_any(
    there: tuple[str, ...],
    said: Committed,
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = Brokers(dict.fromkeys(there, 3), said, 5000)
    await found.prepare(monkeypatch)
    assert [message.partition(" though")[0] for message in caplog.messages] == [
        "topic g-alerts is gone"
    ] * told


async def test_letters_that_would_not_fit_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Brokers({"p-cx.cart.dlq": 3}, Committed({}, {}), 5000)
    with pytest.raises(TopicsUnfit, match=r"p-cx.cart.dlq takes 5000 bytes, less than its source"):
        await found.prepare(monkeypatch)


@pytest.mark.parametrize(
    ("letters", "untold"),
    [
        pytest.param(None, set(), id="what the letters take is not told"),
        pytest.param(USUAL_LIMIT, {"p-cx.cart"}, id="what the source takes is not told"),
    ],
)
async def test_what_is_not_told_of_letters_is_not_held_against_them(
    letters: int | None, untold: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Brokers({"p-cx.cart": 3, "p-cx.cart.dlq": 3}, Committed({}, {}), 5000)
    found.letters, found.untold = letters, untold
    told = await found.prepare(monkeypatch)
    taken = USUAL_LIMIT if untold else 5000
    assert told.dead_letter_limits["cx.cart"] == taken + DEAD_LETTER_ROOM


@pytest.mark.parametrize(
    ("there", "said"),
    [
        pytest.param({"p-cx.cart": 7, "p-cx.cart.dlq": 3}, "p-cx.cart has 7", id="a source"),
        pytest.param({NAMES.shares: 8, NAMES.state: 3}, "g-share has 8 partitions", id="shares"),
    ],
)
async def test_topics_of_other_numbers_of_partitions_are_refused_at_the_start(
    there: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Brokers({NAMES.state: 3} | there, Committed({}, {}), 5000)
    found.letters = 1_000_000
    with pytest.raises(TopicsUnfit, match=said):
        await found.prepare(monkeypatch)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({}, None, id="as they were"),
        pytest.param({"p-cx.cart.dlq": 5}, None, id="more letters than needed"),
        pytest.param({"p-cx.cart.dlq": 2}, "if p-cx.cart always had 3, give", id="fewer letters"),
        pytest.param(
            {"p-cx.cart.dlq": 2, "g-state": 2}, "their number has changed", id="a source has grown"
        ),
        pytest.param({"g-state": 4}, "g-state has 4 partitions", id="a source was made smaller"),
        pytest.param({"g-state": 2}, "g-state has 2 partitions", id="letters were given more"),
    ],
)
def test_a_state_holds_for_as_many_partitions_as_it_was_made_for(
    changed: dict[str, int], said: str | None
) -> None:
    found = dict.fromkeys([*map(NAMES.dead_letters, TOPICS), NAMES.state], 3) | changed
    partitions: dict[str, Any] = dict.fromkeys(TOPICS, 3)
    if said is None:
        refuse_grown(NAMES, partitions, found)
    else:
        with pytest.raises(TopicsUnfit, match=said):
            refuse_grown(NAMES, partitions, found)


@pytest.mark.parametrize(
    ("position", "end", "said"),
    [
        (0, None, None),
        (0, 0, None),
        (7, 7, None),
        (7, 8, None),
        (7, 6, "ends at 6 but was read up to 7"),
        (7, 0, "ends at 0 but was read up to 7"),
        (7, None, "is gone but was read up to 7"),
    ],
)
def test_a_source_that_ends_before_what_was_read_of_it_is_another(
    position: int, end: int | None, said: str | None
) -> None:
    if said is None:
        refuse_made_anew(TP, position, end)
    else:
        with pytest.raises(StateRefused, match=said):
            refuse_made_anew(TP, position, end)
