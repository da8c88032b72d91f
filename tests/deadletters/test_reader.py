"""Which topics a reader of dead letters finds, and whether they are those that it knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.deadletters.ledger import Ledger
from stream.deadletters.letter import Letter
from stream.kafka import letters
from stream.kafka.letters import Bounds, LetterReader, LettersUnusable
from tests.deadletters.letters import refused

SOURCES = list(TOPICS)
DEAD = [f"{topic}.dlq" for topic in SOURCES]


class Cluster:
    """Topics of one partition; those that are hidden are told of only where they are asked for."""

    def __init__(self, there: Iterable[str], hidden: Iterable[str]) -> None:
        self._there, self._hidden = [*there], {*hidden}

    async def list_topics(self) -> list[str]:
        return [topic for topic in self._there if topic not in self._hidden]

    def described(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        return [{"topic": t, "error_code": self._code(t), "partitions": [0]} for t in topics]

    def _code(self, topic: str) -> int:
        if topic in self._hidden:
            return int(TopicAuthorizationFailedError.errno)
        return 0 if topic in self._there else int(UnknownTopicOrPartitionError.errno)

    async def beginning_offsets(self, places: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(places, 0)

    async def end_offsets(self, places: list[Any]) -> dict[Any, int]:
        """The first source has no letters."""
        return {place: 0 if place.topic == DEAD[0] else 5 for place in places}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def described(admin: Cluster, topics: Iterable[str]) -> list[dict[str, Any]]:
        return admin.described(topics)

    async def largest(*_: object) -> int:
        return 1_000

    monkeypatch.setattr(letters, "described", described)
    monkeypatch.setattr(letters, "largest_batch", largest)


async def looked(there: Iterable[str], hidden: Iterable[str] = ()) -> LetterReader:
    reader = LetterReader(KafkaConfig(group="g"))
    reader._admin = reader._consumer = Cluster(there, hidden)
    await reader._look()
    return reader


@pytest.mark.parametrize(
    ("there", "hidden", "said"),
    [
        ([], [], "no worker has run here"),
        (DEAD, DEAD, f"the right to describe {', '.join(DEAD)} is missing"),
        ([], DEAD[1:], f"the right to describe {', '.join(DEAD[1:])} is missing"),
    ],
)
async def test_where_no_topic_of_letters_can_be_read_it_is_said_why(
    there: list[str], hidden: list[str], said: str
) -> None:
    with pytest.raises(LettersUnusable) as raised:
        await looked(there, hidden)
    assert said in str(raised.value)


async def test_topics_that_may_not_be_described_are_told_from_those_that_are_not_there() -> None:
    reader = await looked(DEAD[2:], DEAD[2:4])
    assert (reader.missing, reader.hidden) == (DEAD[:2], DEAD[2:4])
    assert [b.topic for b in reader.bounds] == SOURCES[4:]


async def test_a_ledger_that_may_not_be_described_is_not_taken_for_none() -> None:
    reader = await looked([*DEAD, "g-redrive"], ["g-redrive"])
    assert not reader.knows_what_was_sent
    for asked in (reader.ledger(), reader.create_ledger()):
        with pytest.raises(LettersUnusable, match="the right to describe g-redrive is missing"):
            await asked
    assert (await (await looked(DEAD)).ledger()).last(DEAD[0], 0) is None


async def test_a_source_that_may_not_be_described_is_not_taken_for_none() -> None:
    reader = await looked([*DEAD, *SOURCES], [SOURCES[1]])
    with pytest.raises(LettersUnusable, match=f"the right to describe {SOURCES[1]} is missing"):
        await reader.targets()
    # Where it has no letters nobody needs it.
    targets = await (await looked([*DEAD, *SOURCES], [SOURCES[0]])).targets()
    assert [target.partitions for target in targets.values()] == [0, 1, 1, 1, 1, 1]


class Held(LetterReader):
    """A reader of one partition, of which each test says what it holds."""

    def __init__(self, held: Iterable[Letter], end: int) -> None:
        super().__init__(KafkaConfig(group="g"))
        self.bounds = [Bounds("cx.visit", 0, 0, end)]
        self._held = [*held]

    async def _read(
        self, bounds: Bounds, since: int | None
    ) -> AsyncIterator[tuple[int, list[Letter]]]:
        yield bounds.first, []
        yield bounds.end, [x for x in self._held if bounds.first <= x.offset < bounds.end]


def at(offset: int, ms: int) -> Letter:
    return replace(refused(offset), at=ms)


@pytest.mark.parametrize(
    ("held", "is_former"),
    [
        ([at(0, 10), at(7, 50)], True),
        ([at(0, 10), at(7, 51)], False),
        # The letter was compacted away: what is left of a former topic was refused before it.
        ([at(0, 10), at(8, 60)], True),
        ([at(8, 60)], False),
        ([at(0, 90), at(8, 99)], False),
        ([], False),
    ],
)
async def test_a_topic_that_has_lost_a_letter_is_told_from_one_that_was_made_anew(
    held: list[Letter], is_former: bool
) -> None:
    ledger = Ledger()
    ledger.add("cx.visit.dlq", 0, 7, 50, None)
    assert (await Held(held, 9).made_anew(ledger) == []) == is_former
    assert await Held([at(0, 10)], 5).made_anew(ledger) != [], "it ends before that letter"


async def test_letters_that_are_missing_in_a_compacted_topic_are_never_sent_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def untaken(_: object, bootstrap: str, topics: Iterable[str]) -> str | None:
        return f"{', '.join(topics)} at {bootstrap}" if topics else None

    monkeypatch.setattr(letters, "untaken", untaken)
    reader = Held([], 9)
    await reader.refuse_compacted([])
    with pytest.raises(LettersUnusable, match=r"^cx\.visit\.dlq at "):
        await reader.refuse_compacted(reader.bounds)
