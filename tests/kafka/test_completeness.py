"""What alerts rest on: that all that there was at a time has been read."""

from __future__ import annotations

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


async def test_what_stands_behind_an_open_transaction_is_not_waited_for_and_yet_to_come(
    fetching: Fetching,
) -> None:
    fetching.state.position, fetching.state.highwater, fetching.state.lso = 5, 9, 5
    await fetching.fetch()
    assert fetching.note() == {TP: CaughtUp(5, at=10_000)}
    assert fetching.seen.ends == {TP: 9}
    fetching.state.lso = -1
    fetching.seen.begin_anew(TP)
    assert fetching.note() == {}
    assert fetching.seen.ends == {TP: 9}


async def test_a_fetch_without_an_answer_says_nothing(fetching: Fetching) -> None:
    await fetching.fetch()
    fetching.note()
    fetching.now = 60_000
    fetching.is_answered = False
    await fetching.fetch()
    assert fetching.note() == {TP: CaughtUp(0, at=10_000)}
