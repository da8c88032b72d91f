"""What usually comes of an entity is counted in columns, also where all of it comes at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from stream.core.batch import Batch
from stream.core.event import Event
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.values import Values
from tests.core.running import new_shard, outcomes
from tests.core.test_columns import Pair, contents
from tests.reference.streams import NOON, text

#: So many entities have the same history, one event after the other.
_ENTITIES: Final = 40
#: (type, how long after the first event, what else is said)
_Told = tuple[str, int, dict[str, Any]]

_ANSWER: Final[dict[str, Any]] = {"survey": "nps", "score": 3}
_CLOSE: Final[dict[str, Any]] = {"opened_at": text(NOON - DAY), "contacts": 1}
_LONG_AGO: Final[dict[str, Any]] = {"opened_at": "1700-01-01T00:00:00Z", "contacts": 1}
_IN_1969: Final[dict[str, Any]] = {"opened_at": "1969-12-31T00:00:00Z", "contacts": 1}
_TIMEOUT: Final = Settings().cart_timeout_ms
_VISIT: Final[dict[str, Any]] = {"pages": 1, "duration_seconds": 1}
_ENTITY: Final = {
    "survey": "response_id",
    "ticket": "ticket_id",
    "cart": "cart_id",
    "visit": "visit_id",
    "subscription": "subscription_id",
}

#: By what happens to an entity.
USUAL: Final[dict[str, list[_Told]]] = {
    "an answer and its update": [
        ("survey.responded", 0, _ANSWER),
        ("survey.updated", SECOND, {**_ANSWER, "score": 9}),
    ],
    "an answer and two updates": [
        ("survey.responded", 0, _ANSWER),
        ("survey.updated", SECOND, {**_ANSWER, "score": 9}),
        ("survey.updated", MINUTE, {**_ANSWER, "score": 5}),
    ],
    "an answer and an update as late as may be": [
        ("survey.responded", 0, _ANSWER),
        ("survey.updated", 7 * DAY, {**_ANSWER, "score": 9}),
    ],
    "a close that is taken back": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", MINUTE, {}),
    ],
    "a close that is taken back, and another": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", MINUTE, {}),
        ("ticket.closed", DAY, _CLOSE),
    ],
    "two reopenings, the later one first": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", 2 * MINUTE, {}),
        ("ticket.reopened", MINUTE, {}),
    ],
    "a cart that is used and bought": [
        ("cart.opened", 0, {}),
        ("cart.updated", SECOND, {}),
        ("cart.purchased", MINUTE, {}),
    ],
    "a cart that is bought after its time-out": [
        ("cart.opened", 0, {}),
        ("cart.purchased", DAY, {}),
    ],
}
#: What is less usual, or stands at a limit.
RARE: Final[dict[str, list[_Told]]] = {
    "another close near the reopening alone": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", 7 * DAY, {}),
        ("ticket.closed", 14 * DAY, _CLOSE),
    ],
    "another close as late as may be": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.closed", 7 * DAY, _CLOSE),
    ],
    "another close after that": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.closed", 7 * DAY + 1, _CLOSE),
    ],
    "a reopening from before the close": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", -SECOND, {}),
    ],
    "closes of tickets that were opened centuries ago": [
        ("ticket.closed", 0, _LONG_AGO),
        ("ticket.closed", SECOND, _CLOSE),
        ("ticket.closed", MINUTE, _LONG_AGO),
        ("ticket.reopened", DAY, {}),
        ("ticket.closed", 2 * DAY, _CLOSE),
    ],
    "reopenings when 1970 began": [
        ("ticket.closed", -NOON - SECOND, _LONG_AGO),
        ("ticket.closed", -NOON - SECOND, _IN_1969),
        ("ticket.reopened", -NOON, {}),
        ("ticket.reopened", -NOON, {}),
        ("ticket.closed", -NOON + SECOND, _IN_1969),
    ],
    "a cart that is bought at its time-out": [
        ("cart.opened", 0, {}),
        ("cart.purchased", _TIMEOUT, {}),
    ],
    "a cart that is bought as late as carts are remembered": [
        ("cart.opened", 0, {}),
        ("cart.purchased", 7 * DAY, {}),
    ],
    "a cart that is bought later than that": [
        ("cart.opened", 0, {}),
        ("cart.purchased", 7 * DAY + 1, {}),
    ],
    "a cart that is bought twice": [
        ("cart.opened", 0, {}),
        ("cart.purchased", DAY, {}),
        ("cart.purchased", 2 * DAY, {}),
    ],
    "a cart that is bought when it is opened, and again": [
        ("cart.opened", 0, {}),
        ("cart.purchased", 0, {}),
        ("cart.purchased", DAY, {}),
    ],
    "a cart that is bought elsewhere after its time-out": [
        ("cart.opened", 0, {}),
        ("cart.purchased", DAY, {"labels": {"channel": "app", "region": "eu"}}),
    ],
    "a cart that is used after its time-out and bought": [
        ("cart.opened", 0, {}),
        ("cart.updated", DAY, {}),
        ("cart.purchased", DAY + SECOND, {}),
    ],
}
#: What is refused, or may be, is looked at one by one.
DOUBTFUL: Final[dict[str, list[_Told]]] = {
    "an update that nothing came before": [("survey.updated", 0, _ANSWER)],
    "an update before its answer": [
        ("survey.updated", 0, _ANSWER),
        ("survey.responded", SECOND, _ANSWER),
    ],
    "an update after more than the memory": [
        ("survey.responded", 0, _ANSWER),
        ("survey.updated", 7 * DAY + 1, _ANSWER),
    ],
    "a reopening that no close came before": [("ticket.reopened", 0, {})],
    "a reopening after more than seven days": [
        ("ticket.closed", 0, _CLOSE),
        ("ticket.reopened", 7 * DAY + 1, {}),
    ],
}

ALL: Final = {**USUAL, **RARE, **DOUBTFUL}


def _records(history: Sequence[_Told]) -> list[bytes]:
    return [
        json.dumps(
            {
                "event_id": f"{step}-{i}",
                "type": kind,
                "occurred_at": text(NOON + after),
                _ENTITY[kind.split(".")[0]]: f"entity {i}",
                "labels": {"channel": "web", "region": "eu"},
                **said,
            }
        ).encode()
        for step, (kind, after, said) in enumerate(history)
        for i in range(_ENTITIES)
    ]


@pytest.fixture
def read_anew(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places of the events that were handled one by one: each is read once more for it."""
    places: list[int] = []
    event = Batch.event

    def noted(batch: Batch, place: int) -> Event:
        places.append(place)
        return event(batch, place)

    monkeypatch.setattr(Batch, "event", noted)
    return places


@pytest.mark.parametrize("history", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "one batch after the other"])
def test_what_usually_comes_of_an_entity_is_not_handled_one_by_one(
    history: list[_Told], apart: bool, read_anew: list[int]
) -> None:
    shard = new_shard(Settings(rollups=((),)))
    # The first event of a segment finds its row, and is read for that alone.
    assert not shard.ingest(None, _records([("visit.ended", 0, _VISIT)]), 0)
    read_anew.clear()
    records = _records(history)
    step = _ENTITIES if apart else len(records)
    for first in range(0, len(records), step):
        assert not shard.ingest(None, records[first : first + step], 0)
    assert read_anew == []


@pytest.mark.parametrize("kind", ["subscription.started", "subscription.cancelled"])
def test_of_a_first_batch_only_what_comes_first_is_handled_one_by_one(
    kind: str, read_anew: list[int]
) -> None:
    records = [
        json.dumps(
            {
                "event_id": f"event {i}",
                "type": kind,
                "occurred_at": text(NOON + i),
                "subscription_id": f"subscription {i}",
                "labels": {"channel": "web", "region": f"region {i % 12}"},
            }
        ).encode()
        for i in range(3_000)
    ]
    assert not new_shard(Settings()).ingest("cx.subscription", records, NOON)
    assert 0 < len(read_anew) <= 256


@pytest.mark.parametrize("before", [0, 100, 256])
def test_what_is_refused_of_a_first_batch_is_named_by_its_place_in_it(before: int) -> None:
    records = _records([("visit.ended", step, _VISIT) for step in range(20)])
    bad, again = range(0, 800, 7), range(401, 800, 9)
    for place in again:
        records[place] = records[place - 400]
    for place in bad:
        records[place] = b"{"
    shard = new_shard(Settings())
    shard.ingest(None, _records([("cart.opened", 0, {})] * 10)[:before], 0)
    found = outcomes(records, shard.ingest(None, records, 0))
    assert [place for place, outcome in enumerate(found) if outcome == "invalid"] == list(bad)
    assert [place for place, outcome in enumerate(found) if outcome == "duplicate"] == [
        place for place in again if place not in bad and place - 400 not in bad
    ]


@pytest.mark.parametrize("history", ALL.values(), ids=ALL)
@pytest.mark.parametrize("step", [1, _ENTITIES, 10 * _ENTITIES])
def test_what_columns_remember_is_what_rows_do(history: list[_Told], step: int) -> None:
    # What happens in between keeps the segment known, so that its rows are no reason for doubt.
    between = [("visit.ended", told[1], _VISIT) for told in history]
    records = _records([told for pair in zip(between, history, strict=True) for told in pair])
    known = []
    for columns in (True, False):
        core = Settings()
        shard = Shard(core, Values(core), event_time=True, columns=columns)
        for first in range(0, len(records), step):
            shard.ingest(None, records[first : first + step], 0)
        shard.fold(shard.progress.now)
        known.append(contents(shard))
    assert known[0] == known[1]


_WEB: Final = {"channel": "web"}
_SHOP: Final[_Told] = ("visit.ended", 2, {**_VISIT, "labels": {"channel": "shop"}})


def _single(told: Sequence[_Told]) -> list[bytes]:
    """Records of a single entity of each kind."""
    return _records(told)[::_ENTITIES]


@pytest.mark.parametrize("timeout", [10 * MINUTE, 90 * MINUTE])
@pytest.mark.parametrize(
    "later", [[], [("cart.purchased", 5 * MINUTE, {})], [("cart.updated", 20 * MINUTE, {})]]
)
def test_a_cart_that_was_abandoned_under_another_time_out_is_bought_alike(
    timeout: int, later: list[_Told]
) -> None:
    told: list[_Told] = [
        ("cart.opened", 0, {}),
        ("cart.purchased", 2 * HOUR, {}),
        *later,
    ]
    opened, *rest = _single(told)
    pair = Pair(Settings(), event_time=False)
    pair.ingest("cx.cart", [opened], NOON)
    pair.flush(NOON + HOUR)
    pair.core = replace(pair.core, cart_timeout_ms=timeout)
    pair.start_over()
    for record in rest:
        pair.ingest("cx.cart", [record], NOON + 2 * HOUR)
        pair.check()


@pytest.mark.parametrize("known", ["subscription.renewed", "subscription.started"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_last_room_for_segments_goes_to_whoever_comes_first(known: str, last: int) -> None:
    paid = {"amount": 1, "currency": "EUR", "labels": _WEB}
    pair = Pair(replace(Settings(), max_segments=3), event_time=True)
    before = _single([(known, 0, paid), ("visit.ended", 0, {**_VISIT, "labels": {}})])
    first, second = _single([_SHOP, ("subscription.started", 1, {**paid, "subscription_id": "s"})])
    batch = [first, second] if last else [second, first]
    for records in (before, [r.replace(b'"0-', b'"x-').replace(b'"1-', b'"y-') for r in batch]):
        pair.ingest(None, records, NOON)
        pair.check()


@pytest.mark.parametrize("history", DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_may_be_an_orphan_is_told_one_by_one(history: list[_Told]) -> None:
    shard = new_shard(Settings())
    records = _records(history)
    found = outcomes(records, shard.ingest(None, records, 0))
    orphans = 0 if history[0][0].endswith(("updated", "reopened")) else len(history) - 1
    assert [i // _ENTITIES for i, outcome in enumerate(found) if outcome == "orphan"] == [
        orphans
    ] * _ENTITIES
    assert found.count("accepted") == len(records) - _ENTITIES
