"""Streams on which the core once differed from the reference, small enough to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stream.core.series import Sample
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import new_shard, samples, settings_of
from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE
from tests.reference.streams import NOON, text


def series(*events: dict[str, Any], **config: Any) -> dict[tuple[str, Any], Sample]:
    """The series of the window by KPI and labels, at the time of the last event."""
    core = settings_of({**DEFAULTS, **config})
    shard = new_shard(core)
    assert not shard.ingest(None, _written(events))
    return {(s.kpi, s.labels): s for s in samples(core, [shard], shard.progress.now)}


def _written(events: Sequence[dict[str, Any]]) -> list[bytes]:
    return [
        json.dumps({**e, "event_id": str(i), "occurred_at": text(e["occurred_at"])}).encode()
        for i, e in enumerate(events)
    ]


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


#: Of two channels one has a place, for as long as it is heard from once in seven days.
ONE_PLACE: dict[str, Any] = {
    "dimensions": ["channel"],
    "rollups": [[], ["channel"]],
    "windows": {"7d": (7 * DAY, HOUR)},
    "max_values_per_dimension": 1,
}


def _of_d(kind: str, at: int, **fields: Any) -> dict[str, Any]:
    return event(kind, at, labels={"channel": "d"}, **fields)


def _of_a(at: int) -> dict[str, Any]:
    return event("visit.ended", at, labels={"channel": "a"}, visit_id="v", pages=1)


def _gets_a_place() -> list[dict[str, Any]]:
    """The channel d counts as other first, and by name once a is not heard from any more."""
    return [
        _of_a(0),
        _of_d("subscription.base", 1, active=100),
        _of_d("subscription.base", 9 * DAY, active=100),
        _of_d("subscription.cancelled", 20 * DAY, subscription_id="s1"),
    ]


def _loses_its_place() -> list[dict[str, Any]]:
    """The channel d counts by name first, and as other once a has taken its place."""
    return [
        _of_d("subscription.base", 0, active=100),
        _of_a(9 * DAY),
        _of_d("subscription.cancelled", 9 * DAY + 1, subscription_id="s1"),
        _of_a(15 * DAY),
        _of_d("subscription.cancelled", 20 * DAY, subscription_id="s2"),
    ]


@pytest.mark.parametrize(
    ("events", "channel", "churned", "active"),
    [
        pytest.param(_gets_a_place(), "d", 1, 100, id="a value that gets a place"),
        pytest.param(_loses_its_place(), "other", 1, 99, id="a value that loses its place"),
        pytest.param(
            [
                *_gets_a_place()[:2],
                *(_of_d("subscription.base", day * DAY, active=100) for day in range(60)),
                _of_d("subscription.cancelled", 60 * DAY, subscription_id="s1"),
            ],
            *("d", 1, 100),
            id="with a base each day",
        ),
        pytest.param(
            [
                *_gets_a_place()[:1],
                _of_d("subscription.started", 1, subscription_id="s1", amount=5, currency="EUR"),
                _of_d("subscription.started", 9 * DAY, subscription_id="s2"),
                _of_d("subscription.cancelled", 20 * DAY, subscription_id="s1"),
            ],
            *("d", 1, 2),
            id="without a base",
        ),
    ],
)
def test_active_subscriptions_count_where_their_cancellations_do(
    events: list[dict[str, Any]], channel: str, churned: int, active: int
) -> None:
    found = series(*events, **ONE_PLACE)
    of_churn = {
        labels: (s.numerator, s.denominator) for (kpi, labels), s in found.items() if kpi == "churn"
    }
    assert of_churn == dict.fromkeys([(), (("channel", channel),)], (churned, active))
    assert found["retention", (("channel", channel),)].denominator == active


def _label_sets(shard: Shard) -> dict[bytes, Any]:
    return {key: (found.segment, found.since) for key, found in shard.active.sets.items()}


_LEARNS_FROM_VISITS: list[dict[str, Any]] = [
    _of_a(0),
    _of_d("subscription.started", 1, subscription_id="s1"),
    _of_a(5 * DAY),
    _of_d("subscription.started", 8 * DAY, subscription_id="s2"),
    *(_of_d("visit.ended", 13 * DAY + ms, visit_id=f"{ms}", pages=1) for ms in range(3)),
    _of_d("subscription.started", 13 * DAY + 3, subscription_id="s3"),
]


@pytest.mark.parametrize("events", [_gets_a_place(), _loses_its_place(), _LEARNS_FROM_VISITS])
@pytest.mark.parametrize("read", ["at once", "one by one", "in rows", "with a restart each time"])
def test_where_a_set_of_labels_counts_does_not_depend_on_how_its_events_are_read(
    events: list[dict[str, Any]], read: str
) -> None:
    core = settings_of({**DEFAULTS, **ONE_PLACE})
    alike, records = new_shard(core), _written(events)
    for record in records:
        alike.ingest(None, [record])
    shard = Shard(core, Values(core), event_time=True, columns=read != "in rows")
    log, durable = StateLog(shard), dict[bytes, bytes]()
    for batch in [records] if read in ("at once", "in rows") else [[r] for r in records]:
        shard.ingest(None, batch)
        if "restart" in read:
            for key, value in log.flush(shard.progress.now):
                durable.pop(key, None)
                if value is not None:
                    durable[key] = value
            shard = new_shard(core)
            log = StateLog(shard)
            log.recover(durable)
    assert _label_sets(shard) == _label_sets(alike)
    assert len({since for _, since in _label_sets(shard).values()}) == 1


def test_of_shards_that_know_a_set_of_labels_the_one_that_heard_of_it_last_says_where() -> None:
    core = settings_of({**DEFAULTS, **ONE_PLACE})
    values = Values(core)
    one, two = new_shard(core, values), new_shard(core, values)
    # The place goes from d to a, and back: only the second shard sees what lies between.
    heard = [
        (one, _of_d("subscription.base", 0, active=100)),
        (two, _of_a(9 * DAY)),
        (two, _of_d("subscription.cancelled", 9 * DAY + 1, subscription_id="s1")),
        (one, _of_d("subscription.cancelled", 20 * DAY, subscription_id="s2")),
    ]
    for (shard, _), record in zip(heard, _written([said for _, said in heard]), strict=True):
        assert not shard.ingest(None, [record])
    found = {(s.kpi, s.labels): s for s in samples(core, [one, two], one.progress.now)}
    of_d = found["churn", (("channel", "d"),)]
    assert (of_d.numerator, of_d.denominator) == (1, 99)
    assert ("churn", (("channel", "other"),)) not in found


#: Around a time of the past whose number is 0, or another that is false or negative.
EARLY = [pytest.param(at, id=text(at)) for at in (0, -1, -7 * DAY, -100 * DAY)]


@pytest.mark.parametrize("at", EARLY)
def test_a_ticket_that_was_reopened_long_ago_was_no_first_contact(at: int) -> None:
    def early(kind: str, moment: int, **fields: Any) -> dict[str, Any]:
        return event(kind, at + moment - NOON, ticket_id="t", **fields)

    opened = text(at - 2 * MINUTE)
    closed = early("ticket.closed", -MINUTE, opened_at=opened)
    again = early("ticket.closed", MINUTE, opened_at=opened)
    reopened = early("ticket.reopened", 0)
    assert series(closed, again)["fcr", ()].value == 1
    assert series(closed, reopened, again)["fcr", ()].value == 0


@pytest.mark.parametrize("at", EARLY)
def test_the_later_of_two_carts_of_one_id_is_abandoned_at_any_time(at: int) -> None:
    earlier = event("cart.opened", at - 15 * DAY - NOON, cart_id="a")
    later = event("cart.opened", at - 30 * MINUTE - NOON, cart_id="a")
    # Now is the deadline of the later one.
    now = event("cart.opened", at - NOON, cart_id="b")
    assert series(earlier, later, now)["cart_abandonment", ()].numerator == 1
