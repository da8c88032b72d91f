"""What comes of an entity further from what is remembered of it than that reaches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from stream.core.settings import DAY, HOUR, Settings, Window
from stream.core.shard import Shard
from stream.core.values import Values
from tests.core.running import outcomes, samples
from tests.reference.streams import NOON, text

#: (type, how long after the first event), of each of so many entities.
_Told = tuple[str, int]
_ENTITIES: Final = 10
_CLOSED, _REOPENED = "ticket.closed", "ticket.reopened"
_OPENED, _USED, _BOUGHT = "cart.opened", "cart.updated", "cart.purchased"
_PASSED: Final = "visit.ended"
_WEEK: Final = 7 * DAY
_LONG: Final = replace(Settings(), rollups=((),), windows=(Window("30d", 30 * DAY, 6 * HOUR),))
#: Carts are bought in time for longer than the longest window, which is a week.
_PATIENT: Final = replace(
    Settings(),
    rollups=((),),
    windows=(Window("7d", _WEEK, HOUR),),
    cart_timeout_ms=10 * DAY,
)

#: By what happens: that, how many are first contacts, of how many, and which events are orphans.
TICKETS: Final[dict[str, tuple[list[_Told], int, int, list[int]]]] = {
    "a reopening of the younger close": (
        [(_CLOSED, 0), (_CLOSED, -10 * DAY), (_REOPENED, DAY)], 1, 1, [],
    ),
    "a reopening as late as may be, of a close that was overtaken by a millisecond more": (
        [(_CLOSED, 0), (_CLOSED, -_WEEK - 1), (_REOPENED, _WEEK)], 1, 1, [],
    ),
    "a second close near the younger one": (
        [(_CLOSED, 0), (_CLOSED, -10 * DAY), (_CLOSED, DAY)], 2, 2, [],
    ),
    "a close after the reopening of the younger one": (
        [(_CLOSED, 0), (_REOPENED, DAY), (_CLOSED, -10 * DAY), (_CLOSED, 2 * DAY)], 1, 2, [],
    ),
    "another reopening of the younger one": (
        [(_CLOSED, 0), (_REOPENED, DAY), (_CLOSED, -10 * DAY), (_REOPENED, 2 * DAY)], 1, 1, [],
    ),
    "a reopening between both closes": (
        [(_CLOSED, 0), (_CLOSED, -10 * DAY), (_REOPENED, -9 * DAY)], 2, 2, [],
    ),
    "a close that is just near enough to be replaced": (
        [(_CLOSED, 0), (_CLOSED, -_WEEK), (_REOPENED, DAY)], 1, 1, [2],
    ),
    "a close near an earlier reopening alone": (
        [(_CLOSED, 0), (_REOPENED, _WEEK), (_CLOSED, 14 * DAY), (_CLOSED, 0)], 0, 2, [],
    ),
    "a reopening from long before the close": (
        [(_CLOSED, 0), (_REOPENED, -_WEEK - 1), (_REOPENED, -20 * DAY)], 1, 1, [],
    ),
}  # fmt: skip

#: By what happens: that, how many are abandoned, and of how many.
CARTS: Final[dict[str, tuple[list[_Told], int, int]]] = {
    "bought in time": ([(_OPENED, 0), (_BOUGHT, 8 * DAY), (_PASSED, 11 * DAY)], 0, 1),
    "bought at the deadline": ([(_OPENED, 0), (_BOUGHT, 10 * DAY), (_PASSED, 11 * DAY)], 0, 1),
    "bought too late, as another": ([(_OPENED, 0), (_BOUGHT, 10 * DAY + 1)], 1, 2),
    "used in time, and bought": ([(_OPENED, 0), (_USED, 8 * DAY), (_BOUGHT, 17 * DAY)], 0, 1),
    "bought in time, which is heard of later": (
        [(_OPENED, 0), (_PASSED, 12 * DAY), (_BOUGHT, 8 * DAY)], 0, 1,
    ),
    "left alone": ([(_OPENED, 0), (_PASSED, 10 * DAY)], 1, 1),
}  # fmt: skip


def _records(history: Sequence[_Told]) -> list[bytes]:
    entity = {"ticket": "ticket_id", "cart": "cart_id", "visit": "visit_id"}
    said: dict[str, Any] = {_CLOSED: {"opened_at": text(NOON - 60 * DAY)}}
    return [
        json.dumps(
            {
                "event_id": f"{step}-{i}",
                "type": kind,
                "occurred_at": text(NOON + after),
                entity[kind.split(".")[0]]: f"entity {i}",
                **said.get(kind, {}),
            }
        ).encode()
        for step, (kind, after) in enumerate(history)
        for i in range(_ENTITIES)
    ]


def _read(
    core: Settings, history: Sequence[_Told], kpi: str, columns: bool, step: int
) -> tuple[list[int], tuple[float, float]]:
    """Which of the events are orphans, and the numerator and denominator for each entity."""
    shard = Shard(core, Values(core), event_time=True, columns=columns)
    records, found = _records([(_PASSED, history[0][1]), *history]), list[str]()
    for first in range(0, len(records), step):
        some = records[first : first + step]
        found += outcomes(some, shard.ingest(None, some))
        shard.settle(shard.progress.now)
    orphans = {i // _ENTITIES - 1 for i, outcome in enumerate(found) if outcome == "orphan"}
    assert found.count("accepted") == len(found) - _ENTITIES * len(orphans)
    (sample,) = (s for s in samples(core, [shard], shard.progress.now) if s.kpi == kpi)
    assert sample.numerator is not None
    assert sample.denominator is not None
    return sorted(orphans), (sample.numerator / _ENTITIES, sample.denominator / _ENTITIES)


in_columns = pytest.mark.parametrize("columns", [True, False], ids=["columns", "rows"])
at_once = pytest.mark.parametrize("step", [1, _ENTITIES, 100 * _ENTITIES])


@in_columns
@at_once
@pytest.mark.parametrize(("history", "first", "of", "orphans"), TICKETS.values(), ids=TICKETS)
def test_a_close_from_long_before_counts_and_the_younger_one_stays_remembered(
    history: list[_Told], first: int, of: int, orphans: list[int], columns: bool, step: int
) -> None:
    assert _read(_LONG, history, "fcr", columns, step) == (orphans, (first, of))


@in_columns
@at_once
@pytest.mark.parametrize(("history", "abandoned", "of"), CARTS.values(), ids=CARTS)
def test_the_id_of_a_cart_is_not_new_while_it_can_be_bought_in_time(
    history: list[_Told], abandoned: int, of: int, columns: bool, step: int
) -> None:
    assert _read(_PATIENT, history, "cart_abandonment", columns, step) == ([], (abandoned, of))


@in_columns
@at_once
def test_a_close_that_replaces_one_that_was_reopened_makes_that_forgotten_no_sooner(
    columns: bool, step: int
) -> None:
    closed = [(_CLOSED, 0), (_REOPENED, _WEEK), (_CLOSED, 0)]
    # The last close is within a week of the reopening, and comes after more than three.
    later = [*closed, (_PASSED, 38 * DAY), (_CLOSED, 14 * DAY)]
    assert _read(_LONG, later, "fcr", columns, step) == ([], (0, 1))
