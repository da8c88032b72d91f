"""The generated company: valid events, consistent entities, shares, rhythm and incidents."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice, pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.catalogue import EVENT_TYPES, TOPIC_OF_TYPE
from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.core.labels import LabelCache
from stream.core.settings import DAY, HOUR, MINUTE, SECOND
from stream.core.timestamps import parse
from stream.generate.company import events
from stream.generate.draws import Record
from stream.generate.incidents import Incident, IncidentKind
from stream.generate.profile import REGION_SHARES, REGIONS, activity, busiest_region
from stream.generate.subscriptions import Segment

#: A Monday, 10:00 in UTC.
START = 1_772_445_600_000
Event = dict[str, Any]


def read(records: list[Record]) -> list[Event]:
    return [orjson.loads(record[3]) for record in records]


@pytest.fixture(scope="module")
def hours() -> list[Record]:
    """Four hours, some 140,000 events."""
    return list(events(START, START + 4 * HOUR, rate=10, seed=7))


@pytest.fixture(scope="module")
def parsed(hours: list[Record]) -> list[Event]:
    return read(hours)


def test_every_event_is_valid_on_its_topic_and_keyed_by_its_entity(hours: list[Record]) -> None:
    by_topic = defaultdict(list)
    for record in hours:
        by_topic[record[1]].append(record)
    labels = LabelCache()
    for topic, records in by_topic.items():
        decoded = Decoder(topic).decode([value for _, _, _, value in records])
        assert [e for e in decoded.events if isinstance(e, Invalid)] == []
        assert decoded.at.tolist() == [at for at, *_ in records]
        for (_, _, key, value), event in zip(records, decoded.events, strict=True):
            kind = orjson.loads(value)["type"]
            entity = getattr(event, EVENT_TYPES[kind].key)
            assert key == (
                labels.read(entity).key if kind == "subscription.base" else entity.encode()
            )


def test_events_come_in_order_of_time_within_the_span(hours: list[Record]) -> None:
    times = [at for at, *_ in hours]
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + 4 * HOUR


def test_event_ids_are_unique(parsed: list[Event]) -> None:
    assert len({event["event_id"] for event in parsed}) == len(parsed)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    start=st.integers(START, START + DAY),
    share=st.floats(0, 1),
    span_and_rate=st.sampled_from([(8 * HOUR, 0.5), (30 * MINUTE, 10), (15 * SECOND, 900)]),
)
def test_the_same_arguments_give_the_same_events_and_a_longer_span_begins_alike(
    seed: int, start: int, share: float, span_and_rate: tuple[int, float]
) -> None:
    span, rate = span_and_rate
    short, more = int(share * span), span - int(share * span)
    brief = list(events(start, start + short, rate, seed))
    assert brief == list(events(start, start + short, rate, seed))
    longer = list(events(start, start + short + more, rate, seed))
    assert longer[: len(brief)] == brief
    assert all(record[0] >= start + short for record in longer[len(brief) :])


def test_without_an_end_events_go_on() -> None:
    assert len(list(islice(events(START, None, 100), 50_000))) == 50_000


def test_other_seeds_and_other_starts_give_other_ids() -> None:
    one, two, three = (
        {event["event_id"] for event in read(list(events(start, start + MINUTE, 20, seed)))}
        for start, seed in ((START, 1), (START, 2), (START + 1, 1))
    )
    assert not one & two
    assert not one & three


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_not_above_zero_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="has to be above 0"):
        next(events(START, None, rate))


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("visit.ended", 0.25, 0.40),
        ("survey.responded", 0.10, 0.22),
        ("survey.updated", 0.005, 0.03),
        ("ticket.closed", 0.07, 0.16),
        ("ticket.reopened", 0.002, 0.01),
        ("cart.opened", 0.06, 0.11),
        ("cart.updated", 0.07, 0.13),
        ("cart.purchased", 0.02, 0.05),
        ("customer.signal", 0.08, 0.13),
        ("subscription.base", 0.00001, 0.001),
        ("subscription.started", 0.008, 0.02),
        ("subscription.renewed", 0.03, 0.07),
        ("subscription.upgraded", 0.004, 0.012),
        ("subscription.downgraded", 0.002, 0.007),
        ("subscription.cancelled", 0.005, 0.015),
    ],
)
def test_each_type_has_a_realistic_share(
    parsed: list[Event], kind: str, low: float, high: float
) -> None:
    shares = Counter(event["type"] for event in parsed)
    assert low < shares[kind] / len(parsed) < high


def test_all_types_occur(parsed: list[Event]) -> None:
    assert {event["type"] for event in parsed} == set(TOPIC_OF_TYPE)


def test_events_have_about_280_bytes(hours: list[Record]) -> None:
    assert 260 < sum(len(value) for *_, value in hours) / len(hours) < 310


def test_the_rate_is_the_mean_over_a_week() -> None:
    week = sum(1 for _ in events(START, START + 7 * DAY, rate=0.2, seed=3))
    assert week == pytest.approx(0.2 * 7 * 86_400, rel=0.03)


def test_nights_are_quiet_in_local_time() -> None:
    midnight = START - 10 * HOUR
    for region, offset in ((0, 1), (1, -6), (2, 8), (3, -3)):
        evening = activity("shop", region, midnight + (20 - offset) * HOUR)
        night = activity("shop", region, midnight + (28 - offset) * HOUR)
        assert evening > 5 * night


def test_offices_are_quiet_on_sundays_and_shops_are_not() -> None:
    monday, sunday = START, START + 6 * DAY
    assert activity("office", 0, sunday) < 0.5 * activity("office", 0, monday)
    assert activity("shop", 0, sunday) > activity("shop", 0, monday)


def test_an_update_follows_its_answer_and_a_reopening_its_close(parsed: list[Event]) -> None:
    answered: dict[str, Event] = {}
    closed: dict[str, int] = {}
    for event in parsed:
        match event["type"]:
            case "survey.responded":
                answered[event["response_id"]] = event
            case "survey.updated":
                first = answered[event["response_id"]]
                assert (first["survey"], first["labels"]) == (event["survey"], event["labels"])
            case "ticket.closed":
                closed[event["ticket_id"]] = parse(event["occurred_at"])
            case "ticket.reopened":
                assert 0 < parse(event["occurred_at"]) - closed.pop(event["ticket_id"]) < 7 * DAY


def test_carts_are_bought_or_time_out_or_are_recovered(parsed: list[Event]) -> None:
    carts: defaultdict[str, list[Event]] = defaultdict(list)
    for event in parsed:
        if event["type"].startswith("cart."):
            carts[event["cart_id"]].append(event)
    gaps: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for steps in carts.values():
        kinds = [step["type"] for step in steps]
        assert kinds[0] == "cart.opened"
        assert "cart.purchased" not in kinds[:-1]
        times = [parse(step["occurred_at"]) for step in steps]
        assert all(one < two for one, two in pairwise(times))
        long = sum(two - one > 30 * MINUTE for one, two in pairwise(times))
        assert long <= (kinds[-1] == "cart.purchased")
        gaps["recovered"] += long
        ends[kinds[-1]] += 1
    bought = ends["cart.purchased"] - gaps["recovered"]
    assert 0.25 < bought / len(carts) < 0.35
    assert 0.02 < gaps["recovered"] / len(carts) < 0.08


def test_no_subscription_is_cancelled_twice_or_pays_afterwards(parsed: list[Event]) -> None:
    gone: set[str] = set()
    started: set[str] = set()
    for event in parsed:
        kind = event["type"].removeprefix("subscription.")
        if kind == event["type"] or kind == "base":
            continue
        name = event["subscription_id"]
        assert name not in gone
        if kind == "started":
            assert name not in started
            started.add(name)
        elif kind == "cancelled":
            gone.add(name)
            assert ("started_at" in event) == (name not in started)
    assert gone & started
    assert gone - started


def test_bases_at_midnight_hold_what_was_active() -> None:
    start = START + 12 * HOUR
    active: Counter[bytes] = Counter()
    bases = 0
    for _, _, key, value in events(start, start + 4 * HOUR, rate=5, seed=2):
        event = orjson.loads(value)
        labels = orjson.dumps(event["labels"])
        match event["type"]:
            case "subscription.base":
                assert key == labels
                bases += 1
                if bases > 20:
                    assert active[labels] == event["active"]
                active[labels] = event["active"]
            case "subscription.started":
                active[labels] += 1
            case "subscription.cancelled":
                active[labels] -= 1
    assert bases == 40


def mean(values: list[float]) -> float:
    assert len(values) > 50
    return sum(values) / len(values)


def in_hour(kind: IncidentKind, region: str | None) -> tuple[list[Event], list[Event]]:
    """The events of one hour with an incident, and of the same hour without."""
    incident = Incident(kind, START + 30 * MINUTE, HOUR, region)
    with_it, without = (
        read(
            [
                record
                for record in events(START, incident.end, 15, seed=5, incidents=incidents)
                if record[0] >= incident.start
            ]
        )
        for incidents in ([incident], [])
    )
    return with_it, without


def duration(event: Event) -> float:
    return parse(event["occurred_at"]) - parse(event["opened_at"])


def where(found: list[Event], kind: str, region: str, **fields: object) -> list[Event]:
    return [
        event
        for event in found
        if event["type"] == kind
        and event["labels"]["region"] == region
        and event.items() >= fields.items()
    ]


def test_an_outage_lowers_csat_and_doubles_resolution_times_where_it_is() -> None:
    outage, usual = in_hour("outage", "eu")
    for region, slower, lower in (("eu", 2.0, 0.9), ("us", 1.0, 0.0)):
        csat, csat_before = (
            mean([e["score"] for e in where(found, "survey.responded", region, survey="csat")])
            for found in (outage, usual)
        )
        art, art_before = (
            mean([duration(e) for e in where(found, "ticket.closed", region) if "reopens" not in e])
            for found in (outage, usual)
        )
        assert csat_before - csat == pytest.approx(lower, abs=0.35)
        assert art / art_before == pytest.approx(slower, rel=0.35)


def test_a_churn_spike_stays_in_its_region() -> None:
    spike, usual = in_hour("churn-spike", "us")
    for region, factor in (("us", 15), ("eu", 1)):
        cancelled, before = (
            len(where(found, "subscription.cancelled", region)) for found in (spike, usual)
        )
        assert before > 5
        assert cancelled / before == pytest.approx(factor, rel=0.5)


def test_a_broken_checkout_lets_almost_nothing_be_bought() -> None:
    broken, usual = in_hour("broken-checkout", None)
    for region in ("eu", "us", "apac", "latam"):
        bought, before = (len(where(found, "cart.purchased", region)) for found in (broken, usual))
        assert before > 50
        assert bought < 0.15 * before


def test_an_incident_changes_nothing_long_before_it() -> None:
    incident = Incident("outage", START + 10 * MINUTE, MINUTE)
    with_it, without = (
        list(events(START, START + 5 * MINUTE, 10, incidents=incidents))
        for incidents in ([incident], [])
    )
    assert with_it == without


def test_a_second_holds_about_the_rate_at_any_rate() -> None:
    busy = list(events(START, START + SECOND, 20_000))
    assert 10_000 < len(busy) < 30_000


def test_when_the_first_subscriptions_are_gone_the_new_ones_renew_and_leave() -> None:
    segment = Segment("s", 3)
    segment.started.extend(["a", "b"])
    left = [segment.leaves(new=False) for _ in range(6)]
    assert len({name for name, is_new in left[:3] if not is_new}) == 3
    assert left[3:] == [("a", True), ("b", True), (None, False)]
    assert segment.present(0.5) is None
    segment.started.extend(["c", "d"])
    assert (segment.present(0.0), segment.present(0.99)) == ("c", "d")


def test_some_tenth_of_a_percent_is_cancelled_in_five_minutes(parsed: list[Event]) -> None:
    base = sum(e["active"] for e in parsed if e["type"] == "subscription.base")
    cancelled = sum(e["type"] == "subscription.cancelled" for e in parsed)
    assert 0.0005 < cancelled / (4 * 12) / base < 0.002


def test_somewhere_offices_are_always_busy() -> None:
    for hour in range(7 * 24):
        at = START + hour * HOUR
        shares = dict(zip(REGIONS, REGION_SHARES, strict=True))
        region = busiest_region("office", at)
        assert shares[region] * activity("office", REGIONS.index(region), at) > 0.05
