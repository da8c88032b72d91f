"""An explanation holds: its parts make up the whole, and what it foretells comes true."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS, LAYOUT
from stream.core.explain import numbers_of, reached
from stream.core.kpi import DERIVED, OVERLAPPING
from stream.core.series import Sample
from stream.core.settings import DAY, HOUR, MINUTE, Rule, Settings, Window
from stream.replay.explain import Explanation, NoSuchSeries, explain
from stream.replay.files import Batch
from stream.replay.run import Replay
from tests.core.running import settings_of
from tests.reference.config import Config
from tests.reference.streams import NOON, configs, streams, text

SETTINGS = Settings(windows=(Window("1h", HOUR, MINUTE), Window("24h", DAY, 10 * MINUTE)))
Labels = Mapping[str, str]


def run_over(core: Settings, records: Iterable[bytes], at: int | None = None) -> Replay:
    run = Replay(core, at)
    values = list(records)
    run.feed(Batch(["f"] * len(values), range(1, len(values) + 1), values))
    return run


def explained(
    core: Settings,
    records: Iterable[bytes],
    kpi: str,
    labels: Labels | None = None,
    window: Window | None = None,
    at: int | None = None,
) -> Explanation:
    run = run_over(core, records, at)
    assert run.end is not None
    return explain(run, core, KPIS[kpi], window or core.windows[-1], labels or {}, run.end)


def sample_of(core: Settings, records: Iterable[bytes], found: Explanation, at: int) -> Sample:
    """What a replay says of the series; a series without contributions may be left out."""
    labels = tuple(sorted(found.labels.items()))
    for sample in run_over(core, records, at).samples():
        if (sample.kpi, sample.window, sample.labels) == (found.kpi.id, found.window, labels):
            return sample
    return Sample(found.kpi.id, found.window, labels, None)


def event(kind: str, number: int, at: int, **fields: Any) -> bytes:
    name = {"survey.responded": "response_id", "visit.ended": "visit_id"}[kind]
    return json.dumps(
        {
            "event_id": f"e{number}",
            "type": kind,
            "occurred_at": text(at),
            name: f"x{number}",
            **fields,
        }
    ).encode()


def answer(number: int, score: int, channel: str | None = None, at: int = NOON) -> bytes:
    labels = {} if channel is None else {"channel": channel}
    return event("survey.responded", number, at, survey="nps", score=score, labels=labels)


def answers(promoters: int, passives: int, detractors: int) -> list[bytes]:
    scores = [10] * promoters + [8] * passives + [0] * detractors
    return [answer(i, score, "web" if i % 2 else "app") for i, score in enumerate(scores)]


@settings(max_examples=40, deadline=None)
@given(configs, streams(most=15), st.data())
def test_segments_that_make_up_the_whole_sum_to_it(
    config: Config, records: list[bytes], data: st.DataObject
) -> None:
    core = settings_of(config)
    run = run_over(core, records)
    assume(run.end is not None)
    assert run.end is not None
    for kpi in data.draw(st.lists(st.sampled_from(sorted(KPIS)), min_size=3, max_size=6)):
        try:
            found = explain(run, core, KPIS[kpi], core.windows[0], {}, run.end)
        except NoSuchSeries:
            continue
        for parts in found.segments.values():
            if found.numbers.value is None or any(p.overlaps or p.adds is None for p in parts):
                continue
            assert sum(p.share or 0 for p in parts) == pytest.approx(1)
            assert sum(p.adds or 0 for p in parts) == pytest.approx(found.numbers.value)
            for part in parts:
                if part.effect is not None and part.without is not None:
                    assert part.effect == pytest.approx(found.numbers.value - part.without)


channels = st.sampled_from([None, "web", "app", "shop"])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(channels, st.integers(0, 10)), min_size=1, max_size=12),
    st.lists(st.tuples(channels, st.integers(1, 9), st.booleans()), max_size=12),
)
def test_a_segment_moves_the_value_from_what_it_is_without_its_records(
    answered: list[tuple[str | None, int]], visited: list[tuple[str | None, int, bool]]
) -> None:
    records = [answer(i, score, channel) for i, (channel, score) in enumerate(answered)]
    for i, (channel, pages, converted) in enumerate(visited):
        labels = {} if channel is None else {"channel": channel}
        fields = {"pages": pages, "converted": converted, "labels": labels}
        records.append(event("visit.ended", i + 100, NOON, **fields))
    run = run_over(SETTINGS, records)
    for kpi in ("nps", "conversion", "pages_per_visit"):
        found = explain(run, SETTINGS, KPIS[kpi], SETTINGS.windows[0], {}, NOON)
        assert sum(p.share or 0 for p in found.segments.get("channel", [])) == pytest.approx(
            float(found.numbers.value is not None and bool(found.segments))
        )
        for part in found.segments.get("channel", []):
            others = [r for r in records if channel_of(r) != part.name]
            assert sample_of(SETTINGS, others, found, NOON).value == pytest.approx(part.without)


def channel_of(record: bytes) -> str | None:
    found: str | None = (json.loads(record).get("labels") or {}).get("channel")
    return found


@settings(max_examples=30, deadline=None)
@given(configs, streams(most=15), st.sampled_from(sorted(KPIS)))
def test_an_explanation_has_the_numbers_of_replay_and_its_next_change_comes(
    config: Config, records: list[bytes], kpi: str
) -> None:
    core = settings_of({**config, "rollups": [[], *([name] for name in config["dimensions"])]})
    run = run_over(core, records)
    assume(run.end is not None)
    assert run.end is not None
    try:
        found = explain(run, core, KPIS[kpi], core.windows[-1], {}, run.end)
    except NoSuchSeries:
        assert KPIS[kpi].labels == ("currency",)
        return
    there = sample_of(core, records, found, found.at)
    for name in ("value", "lower", "upper", "numerator", "denominator"):
        assert (getattr(there, name) or 0) == (getattr(found.numbers, name) or 0)
    if found.next is not None:
        window = core.windows[-1]
        later = sample_of(core, records, found, found.next.at)
        assert (later.value or 0) == pytest.approx(found.next.numbers.value or 0)
        before = sample_of(core, records, found, max(found.at, found.next.at - window.pane_ms))
        assert (before.value or 0) == pytest.approx(found.numbers.value or 0)


numbers = st.integers(0, 300)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([k for k in KPIS if KPIS[k].moves]), st.data())
def test_no_fewer_than_the_count_reach_a_target(kpi: str, data: st.DataObject) -> None:
    names = [*LAYOUT.counters, *DERIVED]
    columns = {name: float(data.draw(numbers, label=name)) for name in names}
    limit = data.draw(st.floats(0, 1)) * (KPIS[kpi].highest or 300)
    rules = [
        Rule("A", kpi, "1h", above=limit, significant=data.draw(st.booleans())),
        Rule("B", kpi, "1h", below=limit, significant=data.draw(st.booleans())),
    ]
    assume(_is_possible(kpi, columns))
    now = numbers_of(KPIS[kpi], columns)
    for found in reached(KPIS[kpi], columns, rules):
        assert found.move is not None
        adds = found.move.adds

        def after(count: float, adds: tuple[str, ...] = adds) -> Any:
            return numbers_of(KPIS[kpi], {n: x + count * (n in adds) for n, x in columns.items()})

        assert found.target.is_reached(after(found.count))
        assert found.count == 1 or not found.target.is_reached(after(found.count - 1))
        if found.target.rule is None:
            assert now.value is not None
            assert (found.target.value - now.value) * found.target.side > 0


def _is_possible(kpi: str, columns: dict[str, float]) -> bool:
    """Whether the numbers can occur: no share is above the whole."""
    found = numbers_of(KPIS[kpi], columns)
    if kpi == "nps":
        return columns["nps_promoters"] + columns["nps_detractors"] <= columns["nps_answers"]
    return found.denominator is None or 0 <= (found.numerator or 0) <= found.denominator


def test_one_more_is_what_one_more_record_makes() -> None:
    records = answers(50, 20, 30)
    found = explained(SETTINGS, records, "nps")
    assert found.numbers.value == 20
    more = {m.move.one: m.value for m in found.one_more}
    for kind, score in (("promoter", 9), ("detractor", 6)):
        then = sample_of(SETTINGS, [*records, answer(1000, score)], found, found.at)
        assert more[kind] == pytest.approx(then.value)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # 100 · 20/(100 + n) and less, 100 · (20 − n)/(100 + n).
        (Rule("Low", "nps", "24h", below=10), (10, "detractors", 10, False)),
        (Rule("Low", "nps", "24h", below=25), (7, "promoters", 25, True)),
        (Rule("High", "nps", "24h", above=50), (61, "promoters", 50, False)),
        (Rule("High", "nps", "24h", above=10), (10, "detractors", 10, True)),
        (Rule("Edge", "nps", "24h", below=20), (1, "detractors", 20, False)),
    ],
)
def test_thresholds_of_rules_are_told_with_the_way_there(
    rule: Rule, expected: tuple[int, str, float, bool]
) -> None:
    core = replace(SETTINGS, rules=(rule, replace(rule, window="1h"), replace(rule, kpi="csat")))
    found = explained(core, answers(50, 20, 30), "nps")
    (way,) = [r for r in found.reached if r.target.rule is not None]
    assert way.move is not None
    assert (way.count, way.move.many, way.target.value, way.target.back) == expected


def test_next_steps_are_told_with_the_fewest_records() -> None:
    found = explained(SETTINGS, answers(50, 20, 30), "nps")
    steps = [(r.count, r.move.many if r.move else "", r.target.value) for r in found.reached]
    assert steps == [(2, "promoters", 21), (1, "detractors", 19)]


def test_a_mean_tells_what_its_sum_must_change_by() -> None:
    rule = Rule("Deep", "pages_per_visit", "24h", above=5)
    records = [event("visit.ended", i, NOON, pages=3) for i in range(10)]
    found = explained(replace(SETTINGS, rules=(rule,)), records, "pages_per_visit")
    (way,) = found.reached
    assert way.move is None
    assert (way.count, found.per_unit) == pytest.approx((20, 0.1))


def test_records_without_the_label_stand_apart() -> None:
    found = explained(SETTINGS, [answer(1, 10, "web"), answer(2, 0), answer(3, 0)], "nps")
    (web, rest) = sorted(found.segments["channel"], key=lambda p: p.name or "~")
    assert (web.name, rest.name) == ("web", None)
    assert (web.share, web.adds) == pytest.approx((1 / 3, 100 / 3))
    assert (rest.share, rest.without) == pytest.approx((2 / 3, 100))
    assert found.segments.keys() == {"channel"}, "nobody carries a region"


def test_rounding_of_large_amounts_is_no_segment() -> None:
    records = [
        json.dumps(
            {
                "event_id": f"p{i}", "type": "subscription.renewed", "occurred_at": text(NOON),
                "subscription_id": f"s{i}", "amount": 123_456_789.37 + i / 3, "currency": "EUR",
                "labels": {"channel": "abc"[i % 3]},
            }
        ).encode()
        for i in range(100)
    ]  # fmt: skip
    found = explained(SETTINGS, records, "upsell")
    amounts = [part.numbers.denominator or 0 for part in found.segments["channel"]]
    left = math.fsum([found.numbers.denominator or 0, *(-amount for amount in amounts)])
    assert left != 0, "else there is nothing to round"
    assert {part.name for part in found.segments["channel"]} == set("abc")


def test_a_segment_that_lost_more_than_it_had_still_adds() -> None:
    base = {"event_id": "b", "type": "subscription.base", "occurred_at": text(NOON - 2 * DAY)}
    lost = {"event_id": "c", "type": "subscription.cancelled", "occurred_at": text(NOON)}
    records = [
        json.dumps({**base, "active": 10}).encode(),
        json.dumps({**lost, "subscription_id": "s", "labels": {"channel": "web"}}).encode(),
    ]
    found = explained(SETTINGS, records, "churn")
    parts = {p.name: (p.numbers.value, p.adds, p.share) for p in found.segments["channel"]}
    assert found.numbers.value == pytest.approx(0.1)
    assert parts["web"][0] is None
    assert sum(adds or 0 for _, adds, _ in parts.values()) == pytest.approx(0.1)


def test_customers_that_are_in_several_segments_are_not_summed() -> None:
    records = [
        json.dumps(
            {
                "event_id": f"s{i}", "type": "customer.signal", "occurred_at": text(NOON + i),
                "customer_id": "c", "signal": f"s{i}", "value": 30, "labels": {"channel": channel},
            }
        ).encode()
        for i, channel in enumerate(["web", "app"])
    ]  # fmt: skip
    for kpi in ("health", "at_risk"):
        found = explained(SETTINGS, records, kpi)
        assert [(p.share, p.adds, p.without) for p in found.segments["channel"]] == [
            (1, None, None)
        ] * 2
        assert all(p.overlaps for p in found.segments["channel"])
    assert {t.column for t in KPIS["health"].terms} <= OVERLAPPING


@pytest.mark.parametrize(
    ("kpi", "labels", "said"),
    [
        ("nps", {"chanel": "web"}, "no label 'chanel': nps has channel, region"),
        ("nps", {"channel": "shop"}, "no series with channel='shop'; there is 'app', 'web'"),
        ("nps", {"region": "eu"}, "no series with region='eu'; there is none"),
        ("nps", {"currency": "EUR"}, "no label 'currency': nps has channel, region"),
        ("upsell", {}, "no series of upsell: nothing with a currency"),
    ],
)
def test_a_series_that_there_is_not_is_told_from_those_that_there_are(
    kpi: str, labels: Labels, said: str
) -> None:
    with pytest.raises(NoSuchSeries) as caught:
        explained(SETTINGS, answers(2, 0, 2), kpi, labels)
    assert str(caught.value) == said


@pytest.mark.parametrize("kpi", KPIS)
def test_every_kpi_is_explained_in_json(kpi: str) -> None:
    data = explained(SETTINGS, company(), kpi).data()
    assert json.loads(json.dumps(data))["kpi"] == kpi
    assert data["value"] is not None
    assert data["outcomes"]["accepted"] >= 2
    assert [t["help"] for t in data["terms"]] == [t["help"].strip() for t in data["terms"]]
    worked = data["worked"].replace("−", "-").replace("·", "*")
    assert eval(worked) == pytest.approx(data["value"])
    assert (set(data["quantiles"]) == {"0.5", "0.9", "0.99"}) == (kpi == "art")


@pytest.mark.parametrize(
    "dimension",
    ["value", "lower", "upper", "numerator", "denominator", "share", "adds", "without", "effect",
     "labels", "name"],
)  # fmt: skip
def test_in_json_a_dimension_may_have_any_name(dimension: str) -> None:
    core = Settings(dimensions=(dimension,), rollups=((), (dimension,)), windows=SETTINGS.windows)
    records = [line.replace(b'"channel"', f'"{dimension}"'.encode()) for line in answers(2, 0, 2)]
    found = explained(core, [*records, answer(9, 10)], "nps").data()["segments"][dimension]
    assert {part["labels"][dimension] for part in found} == {"app", "web", None}
    usual = explained(SETTINGS, answers(2, 0, 2), "nps").data()["segments"]["channel"]
    assert {frozenset(part) for part in found} == {frozenset(part) for part in usual}


def company() -> list[bytes]:
    """A few events of every topic, so that every KPI has a value."""
    early, late = text(NOON - 2 * DAY), text(NOON)
    bodies: list[dict[str, Any]] = [
        *({"type": "survey.responded", "response_id": s, "survey": s, "score": 5}
          for s in ("nps", "csat", "css", "ces")),
        {"type": "survey.responded", "response_id": "emotion", "survey": "emotion",
         "emotions": {"happy": 7, "irritated": 2.5}, "sentiment": -0.5},
        {"type": "ticket.closed", "ticket_id": "t", "opened_at": early, "automated": True,
         "first_response_seconds": 7},
        {"type": "ticket.closed", "ticket_id": "u", "opened_at": early},
        {"type": "cart.updated", "cart_id": "c", "occurred_at": text(NOON - HOUR)},
        {"type": "cart.purchased", "cart_id": "c"},
        {"type": "cart.purchased", "cart_id": "d"},
        {"type": "subscription.base", "active": 10, "occurred_at": early},
        {"type": "subscription.cancelled", "subscription_id": "s", "started_at": early},
        {"type": "subscription.renewed", "subscription_id": "t", "amount": 10,
         "upsell_amount": 2, "currency": "EUR"},
        *({"type": "visit.ended", "visit_id": f"v{i}", "converted": i == 1, "new_customer": i == 1}
          for i in range(2)),
        *({"type": "customer.signal", "customer_id": f"c{i}", "signal": "s", "value": 30 + 20 * i}
          for i in range(2)),
    ]  # fmt: skip
    common = {"occurred_at": late, "labels": {"channel": "web"}}
    in_order = sorted(bodies, key=lambda body: body.get("occurred_at", late))
    events = [{"event_id": f"c{i}", **common, **body} for i, body in enumerate(in_order)]
    return [json.dumps(event).encode() for event in events]
