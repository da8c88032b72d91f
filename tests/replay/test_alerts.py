"""When rules are evaluated over recorded events, and the rows that come out."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.backtest.report import alerts_of
from stream.core.evaluate import Wanted
from stream.core.series import Evaluation, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings, Window
from stream.replay.alerts import AlertReplay
from stream.replay.files import read
from stream.replay.run import Replay
from tests.core import incident
from tests.core.alerting import seen_in

EVERY = 5 * SECOND
LOW = Rule("CsatLow", "csat", "5m", below=0.5, severity="critical")
SETTINGS = Settings(windows=(Window("5m", 5 * MINUTE, 5 * SECOND),), rules=(LOW,))


def times(settings: Settings, events: list[int]) -> list[int]:
    """All times of evaluation for events at these times, in order of event time."""
    replay = AlertReplay(settings)
    due = [replay.evaluations_due(a, b) for a, b in pairwise([None, *events]) if b is not None]
    last = replay.evaluations_at_end(events[-1] if events else None)
    return list(chain(*due, last))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([7_000], []),
        ([10_000], [10_000]),
        ([7_000, 9_999], []),
        ([7_000, 10_000], [10_000]),
        ([10_000, 10_000, 10_001], [10_000]),
        ([10_000, 15_000], [10_000, 15_000]),
        ([4_999, 5_001, 21_000], [5_000, 10_000, 15_000, 20_000]),
    ],
)
def test_rules_are_evaluated_at_every_multiple_from_the_first_event_to_the_last(
    events: list[int], expected: list[int]
) -> None:
    assert times(SETTINGS, events) == expected


@given(st.lists(st.integers(0, 5 * MINUTE), min_size=1).map(sorted))
def test_each_multiple_comes_once_before_the_first_event_that_is_later(events: list[int]) -> None:
    first = -(-events[0] // EVERY) * EVERY
    assert times(SETTINGS, events) == list(range(first, events[-1] + 1, EVERY))
    replay = AlertReplay(SETTINGS)
    for before, after in pairwise(events):
        assert all(before <= t < after for t in replay.evaluations_due(before, after))


def test_without_rules_nothing_is_evaluated() -> None:
    assert times(replace(SETTINGS, rules=()), [0, HOUR]) == []


def sample(now: int, last: int, afterwards: float | None) -> Sample:
    """A rate that is low while the latest event is in the window, and another afterwards."""
    value = 0.1 if last >= SETTINGS.windows[0].start(now) else afterwards
    return Sample("csat", "5m", (), value, None, None, 10, 0 if value is None else 100)


@pytest.mark.parametrize("afterwards", [None, 0.9])
@pytest.mark.parametrize("on_no_data", ["keep", "resolve"])
def test_what_a_long_gap_leaves_out_would_have_changed_nothing(
    on_no_data: Literal["keep", "resolve"], afterwards: float | None
) -> None:
    rule = replace(LOW, for_ms=MINUTE, keep_firing_for_ms=HOUR, on_no_data=on_no_data)
    settings = replace(SETTINGS, rules=(rule,))
    short, whole = AlertReplay(settings), AlertReplay(settings)
    start, end = 1_000_000 * EVERY, 1_010_000 * EVERY
    due = short.evaluations_due(start, end)
    assert len(due) < 2_000
    for replay, moments in ((short, due), (whole, range(start, end, EVERY))):
        for now in [*moments, end]:
            seen = Evaluation(now, (sample(now, start, afterwards),))
            replay.take(seen, seen_in(seen))
    assert short.rows() == whole.rows()
    ends = afterwards is not None or on_no_data == "resolve"
    assert [row["to"] for row in whole.rows()] == ["pending", "firing", *["resolved"] * ends]


@pytest.mark.parametrize(
    ("every", "for_ms", "keep_firing_for_ms", "start"),
    [
        (EVERY, MINUTE, 2 * HOUR, 0),
        # Each time passes just after an evaluation: it takes nearly one more to see that.
        (7 * SECOND, 0, 1, 30 * SECOND),
    ],
)
def test_a_long_gap_lets_the_alert_on_the_number_of_series_end_too(
    every: int, for_ms: int, keep_firing_for_ms: int, start: int
) -> None:
    rule = replace(
        LOW,
        by=("region",),
        for_ms=for_ms,
        keep_firing_for_ms=keep_firing_for_ms,
        max_series=1,
    )
    settings = replace(SETTINGS, rules=(rule,), evaluate_ms=every, cart_timeout_ms=1)
    short, whole = (AlertReplay(settings) for _ in range(2))
    start, end = 1_000_000 * EVERY * 7 + start, 1_010_000 * EVERY * 7
    due = short.evaluations_due(start, end)
    for replay, moments in ((short, due), (whole, range(due.start, start + 14 * HOUR, every))):
        for now in [*moments, end]:
            one = sample(now, start, 0.9)
            both = (msgspec.structs.replace(one, labels=(("region", x),)) for x in ("eu", "us"))
            seen = Evaluation(now, tuple(both))
            replay.take(seen, seen_in(seen))
    assert short.rows() == whole.rows()
    assert [row["kpi"] for row in whole.rows() if row["to"] == "resolved"] == ["csat", "series"]


def test_every_change_of_the_incident_sums_up_to_its_difference_and_says_a_line() -> None:
    settings = replace(incident.settings(), dashboard_url="https://grafana.example")
    replay = Replay(settings, alerts=True)
    for batch in read([str(incident.FOLDER / "events.jsonl")]):
        replay.feed(batch)
    changes = replay.finish_alerts()
    assert len(changes) == len(incident.changes())
    taken_apart = 0
    for change in changes:
        assert change.explanation.isprintable()
        assert change.dashboard_url.startswith("https://grafana.example/d/")
        if change.rest is not None and change.value is not None and change.reference is not None:
            contributions = math.fsum(part.contribution for part in change.contributors)
            difference = change.value - change.reference
            assert contributions + change.rest.contribution == pytest.approx(difference, abs=1e-9)
            taken_apart += 1
    of_totals = {rule.name for rule in settings.rules if not rule.by}
    assert taken_apart == sum(change.rule in of_totals for change in changes)


def test_silence_is_found_in_a_long_gap_and_told_once() -> None:
    rule = Rule.missing_input("Silent", "cx.survey", 3 * HOUR, for_ms=MINUTE)
    replay = AlertReplay(replace(SETTINGS, rules=(rule,)))
    start = 1_000_000 * EVERY
    for now in replay.evaluations_due(start, start + 100 * HOUR):
        seen = Evaluation(now, ())
        replay.take(seen, seen_in(seen), {"cx.survey": start}, start)
    assert [(row["to"], row["value"]) for row in replay.rows()] == [
        ("pending", 3 * 3_600 + 5),
        ("firing", 3 * 3_600 + 65),
    ]


@pytest.mark.parametrize(
    ("day", "offset", "began"),
    [
        ("0001-01-01T00", "+01:00", "0000-12-31T23"),
        ("9999-12-31T23", "-23:00", "10000-01-01T22"),
    ],
)
def test_alerts_are_told_at_the_ends_of_the_calendar_too(
    tmp_path: Path, day: str, offset: str, began: str
) -> None:
    rules = (
        Rule("Low", "conversion", "5m", below=0.5, min_samples=1),
        Rule.missing_input("Silent", "cx.survey", 10 * MINUTE),
    )
    records = tmp_path / "records.jsonl"
    records.write_text(
        "".join(
            f'{{"event_id":"{n}","type":"visit.ended","occurred_at":"{day}:{minute}:00{offset}",'
            f'"visit_id":"v","converted":{"false" if n == 0 else "true"}}}\n'
            for n, minute in enumerate(("00", "01", "20"))
        )
    )
    core = replace(SETTINGS, rules=rules, dashboard_url="https://grafana.example")
    replay = Replay(core, alerts=True)
    for batch in read([str(records)]):
        replay.feed(batch)
    changes = replay.finish_alerts()
    assert [(c.changed_at, c.rule, c.to) for c in changes] == [
        (f"{began}:00:00Z", "Low", "firing"),
        (f"{began}:01:00Z", "Low", "resolved"),
        (f"{began}:10:05Z", "Silent", "firing"),
    ]
    assert f"1 min after the alert began at {began.replace('T', ' ')}:00 UTC." in (
        changes[1].explanation
    )
    assert f"since {began.replace('T', ' ')}:00 UTC." in changes[2].explanation
    found, _ = alerts_of(changes)
    assert [(a.rule, a.resolved_at and a.resolved_at - a.fired_at) for a in found] == [
        ("Low", MINUTE),
        ("Silent", None),
    ]


def test_only_what_rules_read_is_wanted() -> None:
    spike = Rule("S", "churn", "5m", ("region", "channel"), baseline="1h", factor=2.0)
    settings = Settings(rules=(LOW, replace(LOW, name="Low2", window="24h"), spike))
    by = ("channel", "region")
    assert AlertReplay(settings).wanted == {
        "5m": Wanted(frozenset({"csat", "churn"}), frozenset({(), by})),
        "1h": Wanted(frozenset({"churn"}), frozenset({by})),
        "24h": Wanted(frozenset({"csat"}), frozenset({()})),
    }


def test_rows_say_what_changed_in_order_of_time_rule_and_labels() -> None:
    settings = incident.settings()
    replay = AlertReplay(settings)
    for evaluation in incident.evaluations(settings):
        replay.take(evaluation, seen_in(evaluation))
    rows = replay.rows()
    keys = ("at", "rule", "labels", "from", "to")
    assert [{key: row[key] for key in keys} for row in rows] == incident.changes()
    assert rows == sorted(rows, key=lambda r: (r["at"], r["rule"], sorted(r["labels"].items())))
    assert list(rows[0]) == [
        *("at", "rule", "severity", "kpi", "window", "labels", "from", "to"),
        *("value", "lower", "upper", "numerator", "denominator", "threshold"),
    ]
    # One of 72 has left, with Wilson's interval at 95 %; twice a twelfth of that is too much.
    numbers = {
        "value": 1 / 72,
        "lower": 0.00245595,
        "upper": 0.07456602,
        "numerator": 1,
        "denominator": 72,
        "threshold": 2 * (1 / 72) / 12,
    }
    assert {key: rows[0][key] for key in numbers} == pytest.approx(numbers)
    others = ("severity", "kpi", "window")
    assert [rows[0][key] for key in others] == ["critical", "churn", "10m"]
