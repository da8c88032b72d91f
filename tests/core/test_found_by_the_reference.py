"""Streams on which the core once differed from the reference, small enough to read."""

from __future__ import annotations

import json
from typing import Any

from stream.core.series import Sample
from tests.core.running import new_shard, samples, settings_of
from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE
from tests.reference.streams import NOON, text


def series(*events: dict[str, Any], **config: Any) -> dict[tuple[str, Any], Sample]:
    """The series of the one hour window by KPI and labels, at the time of the last event."""
    core = settings_of({**DEFAULTS, **config})
    shard = new_shard(core)
    records = [
        json.dumps({**e, "event_id": str(i), "occurred_at": text(e["occurred_at"])}).encode()
        for i, e in enumerate(events)
    ]
    assert not shard.ingest(None, records)
    return {(s.kpi, s.labels): s for s in samples(core, [shard], shard.progress.now)}


def event(kind: str, at: int, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "occurred_at": NOON + at, **fields}


def test_a_currency_that_nobody_pays_in_any_more_has_no_lifetime_value() -> None:
    found = series(
        event("subscription.base", 0, active=10),
        event("subscription.started", 0, subscription_id="a", amount=5, currency="USD"),
        event("subscription.started", 2 * HOUR, subscription_id="b", amount=5, currency="EUR"),
        event("subscription.cancelled", 2 * HOUR, subscription_id="a"),
    )
    assert found["clv", (("currency", "EUR"),)].value
    assert ("clv", (("currency", "USD"),)) not in found


def test_amounts_of_two_currencies_are_never_added_up() -> None:
    found = series(
        event("subscription.renewed", 0, subscription_id="a", amount=5, currency="USD"),
        event("subscription.renewed", 0, subscription_id="a", amount=7, currency="EUR"),
        max_values_per_dimension=1,
    )
    assert found["upsell", (("currency", "USD"),)].denominator == 5
    assert found["upsell", (("currency", "EUR"),)].denominator == 7


def test_a_late_event_joins_what_looked_like_two_carts_of_one_id() -> None:
    opened = event("cart.opened", 0, cart_id="a")
    again = event("cart.opened", 7 * DAY + 1, cart_id="a")
    apart = event("cart.updated", 7 * DAY - 30 * MINUTE, cart_id="b")
    # It is within seven days of both, so there was one cart, abandoned half an hour after `opened`.
    between = {**apart, "cart_id": "a"}
    assert series(opened, again, apart)["cart_abandonment", ()].numerator == 1
    assert ("cart_abandonment", ()) not in series(opened, again, between)
    assert ("cart_abandonment", ()) not in series(opened, between, again)


def test_a_cancellation_is_forgotten_at_the_same_time_whether_or_not_somebody_tidies_up() -> None:
    core = settings_of({**DEFAULTS})
    found = []
    for tidies in (False, True):
        shard = new_shard(core)
        for i, (kind, at) in enumerate(
            [
                ("subscription.cancelled", NOON),
                ("subscription.renewed", NOON + 14 * DAY + 1),
                ("subscription.cancelled", NOON),
            ]
        ):
            record = {"event_id": str(i), "type": kind, "occurred_at": text(at)}
            record["subscription_id"] = "b" if "renewed" in kind else "a"
            assert not shard.ingest(None, [json.dumps(record).encode()])
            if tidies:
                shard.settle(shard.progress.now)
        found.append(samples(core, [shard], shard.progress.now))
    assert found[0] == found[1]
    assert [s.denominator for s in found[0] if s.kpi == "churn"] == [-2]
