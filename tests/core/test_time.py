"""Windows by the calendar and by the millisecond: edges of panes, leap days, a clock set back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stream.core.settings import Window
from stream.core.shard import Shard
from stream.core.values import Values
from tests.core.running import new_shard, outcomes, samples, settings_of
from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE, SECOND
from tests.reference.events import milliseconds
from tests.reference.streams import NOON, text

SIZES = {
    "5m": (5 * MINUTE, 5 * SECOND),
    "1h": (HOUR, MINUTE),
    "24h": (DAY, 10 * MINUTE),
    "7d": (7 * DAY, HOUR),
    "30d": (30 * DAY, 6 * HOUR),
    "360d": (360 * DAY, 36 * HOUR),
}
MOMENTS = [
    "2026-03-02T12:00:00Z",
    "2026-12-31T23:59:59.999Z",
    "2028-02-29T00:00:00Z",
    "2028-02-29T23:59:59.999Z",
    "2027-02-28T23:59:59.999Z",
    "2000-02-29T12:34:56.789Z",
    "2026-03-02T12:00:00.001+05:30",
]


def visit(at: int, number: int = 0) -> bytes:
    fields = {"visit_id": f"v{number}", "occurred_at": text(at), "type": "visit.ended"}
    return json.dumps({**fields, "event_id": f"e{number}"}).encode()


def visits(core: Any, shard: Shard, at: int) -> dict[str, float]:
    """How many visits each window holds, those without any left out."""
    return {
        s.window: s.denominator
        for s in samples(core, [shard], at)
        if s.kpi == "conversion" and not s.labels and s.denominator
    }


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("label", SIZES)
def test_an_event_is_in_a_window_until_its_pane_is_too_old(label: str, moment: str) -> None:
    size, pane = SIZES[label]
    at = milliseconds(moment)
    core = settings_of({**DEFAULTS, "windows": SIZES})
    shard = new_shard(core)
    assert not shard.ingest(None, [visit(at)])
    # Its pane is the oldest one until the pane that begins a size after it.
    gone = at // pane * pane + size
    assert visits(core, shard, gone - 1)[label] == 1
    assert label not in visits(core, shard, gone)


@pytest.mark.parametrize("moment", MOMENTS)
def test_windows_of_different_panes_age_side_by_side_without_events(moment: str) -> None:
    at = milliseconds(moment)
    core = settings_of({**DEFAULTS, "windows": SIZES})
    shard = new_shard(core)
    assert not shard.ingest(None, [visit(at)])
    left = dict.fromkeys(SIZES, 1.0)
    for label, (size, pane) in SIZES.items():
        gone = at // pane * pane + size
        assert visits(core, shard, gone - 1) == left
        del left[label]
        assert visits(core, shard, gone) == left


@pytest.mark.parametrize("k", [0, 1, 5, 239])
def test_a_pane_begins_at_its_first_millisecond_and_ends_before_the_next(k: int) -> None:
    size, pane = HOUR, MINUTE
    core = settings_of({**DEFAULTS, "windows": {"1h": (size, pane)}})
    edge = NOON + k * pane
    shard = new_shard(core)
    assert not shard.ingest(None, [visit(edge - 1, 1), visit(edge, 2)])
    assert visits(core, shard, edge) == {"1h": 2}
    assert visits(core, shard, edge + size - pane - 1) == {"1h": 2}
    assert visits(core, shard, edge + size - pane) == {"1h": 1}
    assert visits(core, shard, edge + size) == {}


@pytest.mark.parametrize(
    ("day", "days"),
    [("2028-02-28", 2), ("2027-02-28", 1), ("2000-02-28", 2), ("2100-02-28", 1)],
)
def test_there_is_a_day_between_february_and_march_in_leap_years_only(day: str, days: int) -> None:
    march = f"{day[:5]}03-01T00:00:00Z"
    assert milliseconds(march) - milliseconds(f"{day}T00:00:00Z") == days * DAY
    core = settings_of({**DEFAULTS, "windows": {"2d": (2 * DAY, DAY)}})
    shard = new_shard(core)
    noon = f"{day}T12:00:00Z"
    assert not shard.ingest(None, [visit(milliseconds(noon))])
    # A window of two days holds today and yesterday.
    assert visits(core, shard, milliseconds(march)) == ({"2d": 1} if days == 1 else {})


def live(**config: Any) -> tuple[Any, Shard]:
    core = settings_of({**DEFAULTS, **config})
    return core, Shard(core, Values(core))


def test_a_clock_that_is_set_back_does_not_turn_back_what_was_counted() -> None:
    core, shard = live()
    assert not shard.ingest("cx.visit", [visit(NOON, 1)], NOON)
    back = NOON - 2 * HOUR
    assert not shard.ingest("cx.visit", [visit(back, 2)], back)
    assert shard.progress.now == NOON
    # Both were counted; the second one's pane has left the window of an hour.
    assert shard.progress.outcomes["cx.visit"] == {"accepted": 2}
    assert visits(core, shard, shard.progress.now) == {"1h": 1}


def test_after_a_clock_was_set_back_the_latest_time_says_what_is_future_and_late() -> None:
    _, shard = live()
    shard.ingest("cx.visit", [], NOON)
    records = [
        visit(NOON + MINUTE, 1),
        visit(NOON + MINUTE + 1, 2),
        visit(NOON - 7 * DAY, 3),
        visit(NOON - 7 * DAY - 1, 4),
    ]
    refused = shard.ingest("cx.visit", records, NOON - DAY)
    assert outcomes(records, refused) == ["accepted", "future", "accepted", "late"]


def test_carts_that_were_abandoned_stay_so_when_the_clock_is_set_back() -> None:
    core, shard = live()
    opened = {
        "event_id": "e",
        "type": "cart.opened",
        "cart_id": "c",
        "occurred_at": text(NOON),
    }
    assert not shard.ingest("cx.cart", [json.dumps(opened).encode()], NOON)
    for clock in (NOON + 30 * MINUTE, NOON, NOON + 31 * MINUTE):
        shard.ingest("cx.cart", [], clock)
        shard.advance(shard.progress.now)
        found = samples(core, [shard], shard.progress.now)
        abandoned = [s.numerator for s in found if s.kpi == "cart_abandonment" and not s.labels]
        assert abandoned == [1]


def test_the_start_of_a_window_is_that_of_its_oldest_pane() -> None:
    for label, (size, pane) in SIZES.items():
        window = Window(label, size, pane)
        for at in (NOON, NOON - 1, 0, -1, milliseconds("2028-02-29T23:59:59.999Z")):
            start = window.start(at)
            assert start % pane == 0
            assert at - size < start <= at - size + pane


@pytest.mark.parametrize(("after", "kept"), [(7 * DAY, "other"), (7 * DAY + 1, "two")])
def test_a_value_keeps_its_place_for_all_of_its_time(after: int, kept: str) -> None:
    core = settings_of({**DEFAULTS, "max_values_per_dimension": 1})
    shard = new_shard(core)
    records = []
    for number, (value, at) in enumerate([("one", NOON), ("two", NOON + after)]):
        event = json.loads(visit(at, number))
        records.append(json.dumps({**event, "labels": {"channel": value}}).encode())
    assert not shard.ingest(None, records)
    found = samples(core, [shard], NOON + after)
    assert {s.labels for s in found if s.kpi == "conversion" and len(s.labels) == 1} == {
        (("channel", kept),)
    }
