"""What alerts rest on: that all that there was at a time has been read."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stream.kafka import completeness
from stream.kafka.completeness import CaughtUp, Completeness
from tests.kafka.batches import TP


class Fetching:
    """A client's fetcher of one partition, and its assignment; its fetches take a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10_000
        self._records: dict[object, object] = {}
        self.state: Any = SimpleNamespace(
            timestamp=None, has_valid_position=True, position=0, highwater=0, lso=None
        )
        assignment = SimpleNamespace(state_value=lambda tp: self.state if tp == TP else None)
        self._subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self.is_answered = True
        self.seen = Completeness()
        self.seen.watch(self)
        monkeypatch.setattr(completeness, "now_ms", lambda: self.now)

    async def _proc_fetch_request(self, *_: object) -> bool:
        self.now += 1_000
        if self.is_answered:
            self.state.timestamp = self.now
        return True

    async def fetch(self) -> None:
        request = SimpleNamespace(topics=[(TP.topic, [(TP.partition, 0, 1)])])
        assignment = self._subscriptions.subscription.assignment
        await self._proc_fetch_request(assignment, 0, request)

    def note(self) -> dict[Any, CaughtUp]:
        self.seen.note(self, [TP])
        return self.seen.caught_up


@pytest.fixture
def fetching(monkeypatch: pytest.MonkeyPatch) -> Fetching:
    return Fetching(monkeypatch)


async def test_an_answer_knows_what_was_there_when_it_was_asked_for(fetching: Fetching) -> None:
    fetching.state.position = fetching.state.highwater = 7
    assert fetching.note() == {}
    await fetching.fetch()
    assert fetching.note() == {TP: CaughtUp(7, at=10_000)}
    assert fetching.seen.ends == {TP: 7}


async def test_what_lies_fetched_and_not_taken_is_not_read(fetching: Fetching) -> None:
    fetching.state.highwater = 7
    await fetching.fetch()
    fetching._records[TP] = "records"
    fetching.state.position = 7
    assert fetching.note() == {}
    fetching._records.clear()
    fetching.state.position = 6
    assert fetching.note() == {}
    fetching.state.position = 7
    assert fetching.note() == {TP: CaughtUp(7, at=10_000)}


async def test_what_an_open_transaction_holds_up_is_yet_to_come(fetching: Fetching) -> None:
    fetching.state.position, fetching.state.highwater, fetching.state.lso = 5, 9, 5
    await fetching.fetch()
    assert fetching.note()
    assert fetching.seen.ends == {TP: 9}
    fetching.state.lso = -1
    fetching.seen.begin_anew(TP)
    assert fetching.note() == {}
    assert fetching.seen.ends == {TP: 9}


async def _times(fetching: Fetching, answers: Sequence[tuple[int, int]]) -> list[int]:
    """Up to when all was read after each answer, of which all that may be read is taken at once.

    Answers, a second apart from 10 s on, say up to where records may be read and where they end.
    """
    times = []
    for readable, end in answers:
        await fetching.fetch()
        fetching.state.position = fetching.state.lso = readable
        fetching.state.highwater = end
        at = fetching.note()[TP].at
        assert fetching.note()[TP].at == at, "the same answer, noted once more"
        times.append(at)
    return times


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        pytest.param([(5, 5), (5, 5)], [10_000, 11_000], id="no-transaction"),
        pytest.param([(5, 5), (5, 9), (9, 9)], [10_000, 10_000, 12_000], id="a-short-one"),
        pytest.param(
            [(5, 5), (5, 9), (5, 9), (5, 9), (5, 9), (9, 9)],
            [10_000, 10_000, 10_000, 11_000, 12_000, 15_000],
            id="a-long-one-holds-up-for-two-seconds",
        ),
        pytest.param(
            [(5, 7), (7, 9), (9, 11), (11, 13)],
            [8_000, 10_000, 11_000, 12_000],
            id="always-a-short-one",
        ),
    ],
)
async def test_the_end_of_a_transaction_is_waited_for_unless_that_takes_long(
    fetching: Fetching, answers: Sequence[tuple[int, int]], times: Sequence[int]
) -> None:
    assert await _times(fetching, answers) == times


async def test_what_is_held_up_takes_no_more_room_while_no_fetch_is_answered(
    fetching: Fetching,
) -> None:
    assert await _times(fetching, [(5, 9)]) == [8_000]
    for _ in range(100):
        fetching.note()
    assert len(fetching.seen._held[TP]) == 1


async def test_what_was_noted_before_the_clock_was_set_back_says_nothing(
    fetching: Fetching,
) -> None:
    assert await _times(fetching, [(5, 9)]) == [8_000]
    fetching.now = 3_000
    assert await _times(fetching, [(5, 9), (9, 9)]) == [1_000, 4_000]
    fetching.now = 2_000
    assert await _times(fetching, [(9, 12)]) == [0]


async def test_a_fetch_without_an_answer_says_nothing(fetching: Fetching) -> None:
    await fetching.fetch()
    fetching.note()
    fetching.now = 60_000
    fetching.is_answered = False
    await fetching.fetch()
    assert fetching.note() == {TP: CaughtUp(0, at=10_000)}
