"""Times and numbers at the limits of what an event may say."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from stream.core.settings import DAY, SECOND, Settings, Window
from tests.safety.shards import Log, evaluation, event, new_shard, outcomes, recovered, totals
from tests.strategies import NOW

YESTERDAY = "2026-03-01T12:00:00Z"


def all_types(at: str) -> list[bytes]:
    """Events of all types, at their limits too."""
    return [
        event("visit.ended", at, visit_id="a"),
        event("visit.ended", at, visit_id="b", pages=1e12),
        event("ticket.closed", at, ticket_id="a", opened_at=at),
        event("ticket.reopened", at, ticket_id="a"),
        event("ticket.closed", at, ticket_id="b", opened_at=at, excluded_seconds=1e12),
        event("cart.opened", at, cart_id="a", value=5e-324),
        event("cart.purchased", at, cart_id="b", value=1e12, currency="EUR"),
        event("subscription.base", at, active=1e12),
        event("subscription.started", at, subscription_id="a", amount=1e12, currency="EUR"),
        event("subscription.cancelled", at, subscription_id="a"),
        event("subscription.cancelled", at, subscription_id="b", started_at=at),
        event("survey.responded", at, response_id="a", survey="ces", score=5, sentiment=5e-324),
        event("survey.updated", at, response_id="a", survey="nps", score=-0.0),
        event(
            "survey.responded",
            at,
            response_id="b",
            survey="csat",
            score=1e12,
            scale={"min": -1e12, "max": 1e12},
        ),
        event("customer.signal", at, customer_id="a", signal="s", value=5e-324),
    ]


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00Z",
        "2262-04-11T23:47:17Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_events_of_any_year_are_counted_where_events_are_the_clock(at: str) -> None:
    shard = new_shard(Settings(), event_time=True)
    shard.ingest(None, all_types(at))
    assert outcomes(shard) == {"accepted": 15}
    shown = totals(shard, shard.progress.now, "5m")
    assert shown["conversion"].denominator == 2
    assert shown["pages_per_visit"].value == (1e12 + 1) / 2
    assert shown["nps"].value == -100
    assert shown["csat"].value == 1
    assert shown["art"].denominator == 1
    assert shown["cart_abandonment"].denominator == 1


def test_after_the_year_9999_came_only_its_events_are_in_the_windows() -> None:
    shard = new_shard(Settings(), event_time=True)
    for at in (YESTERDAY, "9999-12-31T23:00:00Z", YESTERDAY, "9999-12-31T23:59:59Z"):
        shard.ingest(None, [event("visit.ended", at, visit_id="a")])
        shard.settle(shard.progress.now)
    assert outcomes(shard) == {"accepted": 3, "late": 1}
    assert totals(shard, shard.progress.now, "1h")["conversion"].denominator == 2


@pytest.mark.parametrize("pane_ms", [1001, 1500, 1_000])
def test_windows_may_have_panes_of_any_length(pane_ms: int) -> None:
    windows = (Window("a", 240 * pane_ms, pane_ms), Window("b", 8000, 1000))
    settings = Settings(windows=windows)
    shard = new_shard(settings)
    log = Log(shard)
    for seconds in range(5):
        at = datetime.fromtimestamp((NOW - seconds * SECOND) / 1000, UTC).isoformat()
        shard.ingest("cx.visit", [event("visit.ended", at, visit_id="a")], NOW)
        log.flush(NOW)
    found = {label: totals(shard, NOW, label)["conversion"].denominator for label in "ab"}
    assert found == {"a": 5, "b": 5}
    assert evaluation(recovered(settings, log.records), NOW) == evaluation(shard, NOW)


def test_a_clock_at_the_epoch_takes_in_what_is_near_it() -> None:
    shard = new_shard(Settings())
    times = ["1969-12-31T23:59:58Z", "1970-01-01T00:00:01Z", "1970-01-01T00:01:01Z"]
    shard.ingest(None, [event("visit.ended", at, visit_id="a") for at in times], 0)
    assert outcomes(shard) == {"accepted": 2, "future": 1}
    assert totals(shard, 0, "1h")["conversion"].denominator == 2


def test_a_clock_that_is_set_back_takes_nothing_back() -> None:
    shard = new_shard(Settings())
    at = "2026-03-02T10:00:00Z"
    for now in (NOW, 0, -DAY, NOW - DAY, NOW - 10 * 365 * DAY):
        shard.ingest(None, [event("visit.ended", at, visit_id="a")], now)
        shard.fold(now)
    assert outcomes(shard) == {"accepted": 5}
    assert totals(shard, NOW, "5m")["conversion"].denominator == 5


def test_sums_of_the_largest_amounts_neither_overflow_nor_drift() -> None:
    settings = Settings()
    shard = new_shard(settings)
    log = Log(shard)
    at = "2026-03-02T10:00:00Z"
    for _ in range(10):
        values = [
            event(
                "subscription.renewed",
                at,
                subscription_id="a",
                amount=1e12,
                upsell_amount=1e12,
                currency="EUR",
            )
            for _ in range(10_000)
        ]
        shard.ingest("cx.subscription", values, NOW)
        log.flush(NOW)
    samples = [s for s in evaluation(shard, NOW) if s.kpi == "upsell"]
    assert {s.denominator for s in samples} == {1e17}
    assert {s.numerator for s in samples} == {1e17}
    assert evaluation(recovered(settings, log.records), NOW) == evaluation(shard, NOW)


def test_sums_of_the_longest_times_neither_overflow_nor_drift() -> None:
    settings = Settings()
    shard = new_shard(settings)
    log = Log(shard)
    at, opened = "2026-03-02T10:00:00Z", "0001-01-01T00:00:00Z"
    for part in range(10):
        values = [
            event("ticket.closed", at, ticket_id=f"{part}-{n}", opened_at=opened)
            for n in range(10_000)
        ]
        shard.ingest("cx.ticket", values, NOW)
        log.flush(NOW)
    shown = totals(shard, NOW, "5m")
    since = datetime(2026, 3, 2, 10, tzinfo=UTC) - datetime(1, 1, 1, tzinfo=UTC)
    assert shown["art"].denominator == 100_000
    assert shown["art"].value == pytest.approx(since / timedelta(seconds=1), rel=1e-14)
    middle = next(s.value for s in evaluation(shard, NOW) if s.kpi == "art_quantile")
    assert middle is not None
    assert math.isclose(middle, since / timedelta(seconds=1), rel_tol=0.01)
    assert evaluation(recovered(settings, log.records), NOW) == evaluation(shard, NOW)


def test_pages_at_the_limit_are_summed_exactly() -> None:
    shard = new_shard(Settings())
    for _ in range(10):
        values = [
            event("visit.ended", "2026-03-02T10:00:00Z", visit_id="a", pages=1e12)
            for _ in range(10_000)
        ]
        shard.ingest("cx.visit", values, NOW)
    assert totals(shard, NOW, "5m")["pages_per_visit"].numerator == 1e17
