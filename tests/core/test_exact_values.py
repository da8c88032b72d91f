"""A value that is exactly a threshold is not beyond it: it is rounded once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.catalogue import KPIS, LAYOUT, UNITS
from stream.core.decode import Decoder
from stream.core.evaluate import Evaluator, Wanted
from stream.core.formulas import FIXED, divided, fixed, fixed_columns, roomy, times
from stream.core.labels import NO_LABELS
from stream.core.settings import Rule, Settings
from stream.core.timestamps import format_ms
from stream.core.topics.ticket.closes import RESPONDED_RAPIDLY, close_of
from stream.replay.files import Batch
from stream.replay.run import Replay
from tests.core.running import new_shard
from tests.reference.streams import NOON

Events = Sequence[dict[str, Any]]


def answers(survey: str, scores: Sequence[float], **more: object) -> Events:
    return [{"type": "survey.responded", "survey": survey, "score": s, **more} for s in scores]


def feelings(sentiments: Sequence[float]) -> Events:
    return [one for x in sentiments for one in answers("csat", [5], sentiment=x)]


def emotions(*pairs: tuple[str, float]) -> Events:
    kind = {"type": "survey.responded", "survey": "emotion", "scale": {"min": 0, "max": 10}}
    return [kind | {"emotions": {name: x}} for name, x in pairs]


def payments(pairs: Sequence[tuple[float, float]]) -> Events:
    return [
        {"type": "subscription.renewed", "amount": paid, "upsell_amount": more, "currency": "EUR"}
        for paid, more in pairs
    ]


def tickets(seconds: Sequence[float]) -> Events:
    return [
        {"type": "ticket.closed", "opened_at": format_ms(NOON - round(1000 * s))} for s in seconds
    ]


def signals(values: Sequence[float]) -> Events:
    return [{"type": "customer.signal", "signal": "mood", "value": x} for x in values]


#: What an event is about, by how its type begins.
ENTITIES = {
    "survey": "response_id",
    "ticket": "ticket_id",
    "subscription": "subscription_id",
    "customer": "customer_id",
}


def records_of(events: Events) -> list[bytes]:
    """Events at noon, each of an entity of its own."""
    records = []
    for number, event in enumerate(events):
        own = ENTITIES[event["type"].split(".")[0]]
        at = {"event_id": f"e{number}", "occurred_at": format_ms(NOON), own: f"i{number}"}
        records.append(orjson.dumps(event | at))
    return records


def changes(rule: Rule, events: Events) -> list[str]:
    """The changes that a rule makes of events at noon."""
    records = records_of(events)
    replay = Replay(Settings(rules=(rule,)), alerts=True)
    replay.feed(Batch([""] * len(records), range(1, len(records) + 1), records))
    return [change.to for change in replay.finish_alerts()]


@pytest.mark.parametrize(
    ("kpi", "threshold", "events"),
    [
        ("nps", 29, answers("nps", [10] * 29 + [8] * 71)),
        ("nps", 7, answers("nps", [10] * 7 + [8] * 93)),
        ("nps", 29, answers("nps", [10] * 58 + [8] * 142)),
        ("nps", -58, answers("nps", [0] * 58 + [8] * 42)),
        ("csat", 0.7, answers("csat", [5] * 7 + [1] * 3)),
        ("ces_mean", 16 / 3, answers("ces", [5, 5, 6])),
        ("sentiment", 0.2, feelings([0.1, 0.2, 0.3])),
        ("nev", 0.2, emotions(("happy", 0.3), ("frustrated", 0.1))),
        ("nev", 4.7, emotions(("happy", 7.1), ("frustrated", 2.4))),
        ("art", 323.4, tickets([323.4] * 3)),
        ("upsell", 0.1, payments([(1, 0.1)] * 3)),
        ("upsell", 0.2, payments([(8_390_465.55, 1_678_093.11)])),
        ("upsell", 0.2, payments([(89_999_999_999.95, 17_999_999_999.99)])),
        ("health", 50.1, signals([50.1] * 3)),
    ],
)
@pytest.mark.parametrize("side", ["above", "below"])
def test_a_value_that_is_the_threshold_is_not_beyond_it(
    kpi: str, threshold: float, events: Events, side: str
) -> None:
    rule = Rule("R", kpi, "1h", min_samples=1)

    def beyond(limit: float) -> list[str]:
        limited = replace(rule, above=limit) if side == "above" else replace(rule, below=limit)
        return changes(limited, events)

    assert beyond(threshold) == []
    assert beyond(math.nextafter(threshold, -inf if side == "above" else inf)) == ["firing"]


@pytest.mark.parametrize("limit_ms", [1, 2_007, 4_030, 8_050, 16_100, 300_000, 1_999_999])
def test_a_first_response_of_exactly_the_limit_is_rapid(limit_ms: int) -> None:
    settings, limit = Settings(rapid_response_ms=limit_ms), float(Fraction(limit_ms, 1000))
    around = [limit, math.nextafter(limit, inf), math.nextafter(limit, 0)]
    closes = [tickets([600])[0] | {"first_response_seconds": seconds} for seconds in around]
    records = records_of(closes)
    together = new_shard(settings)
    assert together.ingest("cx.ticket", records, NOON) == []
    together.fold(NOON)
    wanted = {"1h": Wanted(frozenset({"rapid_response"}), frozenset({()}))}
    found = Evaluator(settings).evaluate([together.share()], NOON, wanted).samples
    assert [(s.numerator, s.denominator) for s in found] == [(2, 3)]
    alone = Decoder("cx.ticket").decode(records).events
    rapid = [close_of(cast("Any", e), NOON, settings, False).said for e in alone]
    assert [bool(said & RESPONDED_RAPIDLY) for said in rapid] == [True, False, True]


@pytest.mark.parametrize(
    ("kpi", "counts", "value"),
    [
        ("art", {"resolved": 10**8, "resolution_time": 3_234 * 10**16}, 323.4),
        ("art", {"resolved": 3, "resolution_time": 10**27}, 10**18 / 3),
        ("upsell", {"upsell": 10**26, "amount": 10**27}, 0.1),
        ("sentiment", {"sentiments": 10**8, "sentiment_sum": 2 * 10**16}, 0.2),
        ("sentiment", {"sentiments": 10**10, "sentiment_sum": -(10**19)}, -1.0),
        ("ces_mean", {"ces_answers": 10**9, "ces_sum": 5 * 10**18}, 5.0),
        (
            "nev",
            {
                "emotions_positive": 10**9,
                "emotions_positive_sum": 10**19,
                "emotions_negative": 10**9,
                "emotions_negative_sum": 6 * 10**18,
            },
            4.0,
        ),
        ("nps", {"nps_answers": 10**17, "nps_promoters": 29 * 10**15}, 29.0),
        ("nps", {"nps_answers": 2**61, "nps_promoters": 2**60, "nps_detractors": 2**61}, -50.0),
        ("cart_abandonment", {"carts_abandoned": 2**61, "carts_purchased": 2**61}, 0.5),
    ],
)
def test_sums_that_no_float_holds_give_the_value_too(
    kpi: str, counts: dict[str, int], value: float
) -> None:
    core = Settings()
    shard = new_shard(core)
    row = shard.segments.row(NO_LABELS, "EUR", NOON)
    shard.tally.add(NOON, row, LAYOUT.contribution(list(counts.items())))
    shard.fold(NOON)
    wanted = {"1h": Wanted(frozenset({kpi}), frozenset({()}))}
    found = Evaluator(core).evaluate([shard.share()], NOON, wanted).samples
    assert value in [s.value for s in found if s.kpi == kpi]


@st.composite
def amounts(draw: st.DrawFn) -> tuple[float, Fraction]:
    """A number of up to 15 digits, which a float keeps, nine of them decimals at most."""
    places = draw(st.integers(0, 9))
    digits = draw(st.integers(-(10**15) + 1, 10**15 - 1))
    exact = Fraction(digits, 10**places)
    return float(exact), exact


@given(st.lists(amounts(), max_size=5))
def test_numbers_count_as_the_decimals_that_were_sent(sent: list[tuple[float, Fraction]]) -> None:
    sent = [(value, exact) for value, exact in sent if abs(value) <= 10**12]
    assert [fixed(value) for value, _ in sent] == [exact * FIXED for _, exact in sent]
    in_range = [(value, exact) for value, exact in sent if abs(value) < 2**32]
    found = fixed_columns(np.array([value for value, _ in in_range], dtype=np.float64))
    assert found.tolist() == [exact * FIXED for _, exact in in_range]


@given(st.lists(st.floats(-(2**32) + 1, 2**32 - 1) | st.floats(-(2**22), 2**22), max_size=5))
def test_what_numbers_count_as_is_the_same_in_columns(values: list[float]) -> None:
    column = fixed_columns(np.array(values, dtype=np.float64))
    assert column.tolist() == [fixed(value) for value in values]


whole_numbers = st.integers(-(2**62), 2**62) | st.integers(-100, 100)


@given(st.lists(st.tuples(whole_numbers, whole_numbers), max_size=5), whole_numbers)
def test_a_quotient_of_products_is_rounded_once(pairs: list[tuple[int, int]], by: int) -> None:
    top, bottom = (roomy(np.array([p[i] for p in pairs], dtype=np.int64)) for i in (0, 1))
    found = divided(times(top, by), bottom).tolist()
    for (a, b), value in zip(pairs, found, strict=True):
        assert value == float(Fraction(a * by, b)) if b > 0 else np.isnan(value)
    sides = divided(times(top, bottom), times(bottom, bottom)).tolist()
    for (a, b), value in zip(pairs, sides, strict=True):
        assert np.isnan(value) if b == 0 else value == float(Fraction(a, b))


class Asked(dict[str, Any]):
    """Columns of ones that note which of them are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __missing__(self, name: str) -> Any:
        self.names.add(name)
        return np.ones(1, dtype=np.int64)


def test_every_unit_is_that_of_the_counters_of_the_formula() -> None:
    """All counters of a sum have one unit, so that they can be added as they are stored."""
    for kpi in KPIS.values():
        for formula, unit in (
            (kpi.numerator, kpi.numerator_unit),
            (kpi.denominator, kpi.denominator_unit),
        ):
            if formula is not None:
                asked = Asked()
                formula(asked)
                assert {UNITS[name] for name in asked.names} == {unit}, kpi.id
