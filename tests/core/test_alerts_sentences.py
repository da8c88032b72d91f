"""What a change says in words, for each kind of rule and unit, and where its link leads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.alerts import (
    AlertStates,
    Change,
    Closer,
    RuleSet,
    described,
    evaluate,
    measure,
)
from stream.core.alerts.details import Details, indexed
from stream.core.alerts.links import DASHBOARD_UID, escaped
from stream.core.alerts.sentences import LONGEST_SENTENCE
from stream.core.alerts.template import BadTemplate, fields_of, filled
from stream.core.catalogue import KPIS
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings, Window
from tests.core.alerting import seen_in

START = 1_777_855_200_000  # 2026-05-04 00:40 UTC
BEGAN = "2026-05-04 00:40 UTC"
DASHBOARDS = Path(__file__).parents[2] / "grafana" / "dashboards"
patiently = settings(deadline=None)
WINDOWS = (Window("5m", 5 * MINUTE, 5 * SECOND), Window("1h", HOUR, MINUTE))
EU: LabelPairs = (("region", "eu"),)
LOW = Rule("CsatLow", "csat", "5m", ("region",), below=0.5)
SETTINGS = Settings(windows=WINDOWS)


def csat(labels: LabelPairs, k: float, n: float = 100, window: str = "5m", **bounds: Any) -> Sample:
    return Sample(
        "csat", window, labels, k / n if n else None, numerator=k, denominator=n, **bounds
    )


def play(
    rule: Rule,
    *rows: Sequence[Sample],
    newest: Sequence[Sample] = (),
    settings: Settings = SETTINGS,
) -> list[Change]:
    """The changes of evaluations 5 s apart; ``newest`` is the newest part of the windows."""
    rules, states = RuleSet.of(replace(settings, rules=(rule,))), AlertStates()
    made: list[Change] = []
    parts = {"5m": Window("5m", 75 * SECOND, 5 * SECOND)}
    for number, samples in enumerate(rows):
        now = START + number * 5 * SECOND
        details = Details(indexed(samples), indexed(newest), parts)
        states, changes = evaluate(
            rules, states, Evaluation(now, tuple(samples)), now, lambda *_, d=details: d
        )
        made += changes
    return made


class Case(NamedTuple):
    name: str
    rule: Rule
    rows: Sequence[Sequence[Sample]]
    said: Sequence[str]
    newest: Sequence[Sample] = ()


CSAT = "Customer satisfaction for region eu over 5m"
NONE = "No event of cx.survey for"
SILENT, LATER = "2026-05-04 00:29:55 UTC", "2026-05-04 00:30:13 UTC"
AGAIN = "Events of cx.survey come again, the latest"

CASES = [
    Case(
        "a threshold with all that can be said",
        replace(LOW, significant=True),
        [
            [
                csat(EU, 40, lower=0.309, upper=0.498),
                csat(EU, 800, 1000, "1h"),
                csat((("channel", "web"), *EU), 5, 50),
                csat((("channel", "app"), *EU), 35, 50),
                csat((("channel", "web"), *EU), 450, 500, "1h"),
                csat((("channel", "app"), *EU), 350, 500, "1h"),
            ]
        ],
        [
            (
                f"{CSAT} is 40% (95% sure: 30.9% to 49.8%, "
                f"n = 100), surely below 50% since {BEGAN}; usually 80% (over 1h); falling (20% in "
                "the last 1 min 15 s); moved most by channel web (10%, usually 90%)."
            )
        ],
        [csat(EU, 5, 25, lower=0.09, upper=0.39)],
    ),
    Case(
        "a value that reads like the threshold",
        LOW,
        [[csat(EU, 49_999, 100_000)]],
        [f"{CSAT} is 50% (n = 100,000), just below 50% since {BEGAN}."],
    ),
    Case(
        "a value that is bad but better than usual",
        LOW,
        [
            [
                csat(EU, 40),
                csat(EU, 300, 1000, "1h"),
                csat((("channel", "web"), *EU), 40),
                csat((("channel", "web"), *EU), 300, 1000, "1h"),
            ]
        ],
        [f"{CSAT} is 40% (n = 100), below 50% since {BEGAN}; usually 30% (over 1h)."],
    ),
    Case(
        "a threshold from pending to resolved",
        replace(LOW, for_ms=5 * SECOND, clear=0.6, keep_firing_for_ms=5 * SECOND),
        [[csat(EU, k)] for k in (40, 30, 70, 80)],
        [
            (f"{CSAT} is 40% (n = 100), below 50%; fires if it is still so in 5 s."),
            f"{CSAT} is 30% (n = 100), below 50% since {BEGAN}.",
            (
                f"{CSAT} is 80% (n = 100), at or above 60% for 5 s "
                f"again, 15 s after the alert began at {BEGAN}."
            ),
        ],
    ),
    Case(
        "a threshold that is not beyond for long enough",
        replace(LOW, for_ms=10 * SECOND),
        [[csat(EU, 40)], [csat(EU, 60)]],
        [
            (f"{CSAT} is 40% (n = 100), below 50%; fires if it is still so in 10 s."),
            f"{CSAT} is 60% (n = 100), no longer below 50%.",
        ],
    ),
    Case(
        "no data",
        replace(LOW, on_no_data="resolve"),
        [[csat(EU, 40)], [csat(EU, 1, 3)], [csat(EU, 40)], []],
        [
            f"{CSAT} is 40% (n = 100), below 50% since {BEGAN}.",
            (f"{CSAT} has 3 of 30 samples needed, so the alert is resolved."),
            (f"{CSAT} is 40% (n = 100), below 50% since 2026-05-04 00:40:10 UTC."),
            f"{CSAT} has no value, so the alert is resolved.",
        ],
    ),
    Case(
        "a spike, at the pace of the newest part",
        Rule("ChurnSpike", "churn", "5m", baseline="1h", factor=2.0),
        [
            [
                Sample("churn", "5m", (), 0.05, 0.04, 0.06, 50, 1000),
                Sample("churn", "1h", (), 0.12, 0.1, 0.14, 120, 1000),
            ]
        ],
        [
            (
                "Churn over 5m is 5% (95% sure: 4% to 6%, n = 1,000), surely above 2% (2 × the "
                f"usual 1% of 1h) since {BEGAN}; rising (8% at the pace of the last 1 min 15 s)."
            )
        ],
        [Sample("churn", "5m", (), 0.02, 0.015, 0.026, 20, 1000)],
    ),
    Case(
        "an interval that is no longer beyond, around a value that still is",
        replace(LOW, significant=True, for_ms=5 * SECOND),
        [[csat(EU, 40, lower=0.309, upper=0.498)], [csat(EU, 45, lower=0.356, upper=0.548)]],
        [
            (
                f"{CSAT} is 40% (95% sure: 30.9% to 49.8%, n = 100), surely below 50%; "
                "fires if it is still so in 5 s."
            ),
            f"{CSAT} is 45% (95% sure: 35.6% to 54.8%, n = 100), no longer surely below 50%.",
        ],
    ),
    Case(
        "a spike of what has no bounds, so that nothing is sure",
        Rule("ArtSpike", "art", "5m", baseline="1h", factor=2.0),
        [
            [
                Sample("art", "5m", (), 930.0, None, None, 37_200, 40),
                Sample("art", "1h", (), 300.0, None, None, 120_000, 400),
            ]
        ],
        [
            (
                "Average resolution time over 5m is 15 min 30 s (n = 40), above 10 min "
                f"(2 × the usual 5 min of 1h) since {BEGAN}."
            )
        ],
    ),
    Case(
        "a share of an amount, of which the denominator is no number of samples",
        Rule("UpsellLow", "upsell", "5m", below=0.1),
        [[Sample("upsell", "5m", (("currency", "EUR"),), 0.05, None, None, 60, 1_200)]],
        [(f"Upsell share for currency EUR over 5m is 5% (of 1,200 EUR), below 10% since {BEGAN}.")],
    ),
    Case(
        "seconds, steady",
        Rule("ArtHigh", "art", "5m", above=600),
        [[Sample("art", "5m", (), 930.0, None, None, 37_200, 40)]],
        [
            (
                "Average resolution time over 5m is 15 min 30 s (n = 40), above 10 min since "
                f"{BEGAN}; no clear change in the last 1 min 15 s."
            )
        ],
        [Sample("art", "5m", (), 931.0, None, None, 9_310, 10)],
    ),
    Case(
        "points",
        Rule("NpsLow", "nps", "5m", below=0),
        [[Sample("nps", "5m", (), -12.5, -30.0, 6.0, -10, 80)]],
        [
            (
                "Net promoter score over 5m is -12.5 (95% sure: -30 to 6, n = 80), below 0 since "
                f"{BEGAN}."
            )
        ],
    ),
    Case(
        "a count",
        Rule("Recovered", "cart_recovered", "5m", above=5),
        [[Sample("cart_recovered", "5m", (), 9.0), Sample("cart_recovered", "1h", (), 36.0)]],
        [f"Recovered carts over 5m is 9, above 5 since {BEGAN}; usually 3 (over 1h)."],
    ),
    Case(
        "amounts by currency",
        Rule("ClvLow", "clv", "5m", below=1000),
        [[Sample("clv", "5m", (("currency", "EUR"),), 812.5)]],
        [f"Customer lifetime value for currency EUR over 5m is 812.5, below 1,000 since {BEGAN}."],
    ),
    Case(
        "a part that became a larger share",
        LOW,
        [
            [
                csat(EU, 26),
                csat(EU, 1000, 2000, "1h"),
                csat((("channel", "web"), *EU), 18, 20),
                csat((("channel", "mail"), *EU), 8, 80),
                csat((("channel", "web"), *EU), 900, 1000, "1h"),
                csat((("channel", "mail"), *EU), 100, 1000, "1h"),
            ]
        ],
        [
            (
                f"{CSAT} is 26% (n = 100), below 50% since {BEGAN}; "
                "usually 50% (over 1h); moved most by channel web (90%), now 20% of all, "
                "usually 50%."
            )
        ],
    ),
    Case(
        "missing input",
        Rule.missing_input("NoSurveys", "cx.survey", 10 * MINUTE, for_ms=5 * SECOND),
        [
            [Sample("input", "", (("topic", "cx.survey"),), seconds)]
            for seconds in (605.0, 610.0, 3.0, 601.25, 4.0)
        ],
        [
            (f"{NONE} 10 min 5 s (allowed: 10 min), since {SILENT}; fires if none comes in 5 s."),
            (f"{NONE} 10 min 10 s (allowed: 10 min), since {SILENT}."),
            f"{AGAIN} 3 s ago, 10 s after the alert began at {BEGAN}.",
            (f"{NONE} 10 min 1 s (allowed: 10 min), since {LATER}; fires if none comes in 5 s."),
            f"{AGAIN} 4 s ago.",
        ],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_sentences_of_a_row_of_samples(case: Case) -> None:
    said = [change.explanation for change in play(case.rule, *case.rows, newest=case.newest)]
    assert said == list(case.said)


_HOSTILE = st.text(min_size=1, max_size=64)


@patiently
@given(st.dictionaries(st.sampled_from(["channel", "region", "plan"]), _HOSTILE))
def test_whatever_labels_hold_a_change_says_one_printable_line_of_bounded_length(
    labels: dict[str, str],
) -> None:
    by = tuple(sorted(labels))
    rule = replace(LOW, by=by, summary="In {labels} it is {value}.", name="R\x1b[31m\nx")
    settings = replace(SETTINGS, dimensions=by, dashboard_url="https://g.example/")
    (change,) = play(rule, [csat(tuple(sorted(labels.items())), 10)], settings=settings)
    for text in (change.explanation, change.summary, change.dashboard_url):
        assert text.isprintable()
    assert len(change.explanation) <= LONGEST_SENTENCE
    asked = parse_qs(urlsplit(change.dashboard_url).query, keep_blank_values=True)
    assert {name: asked[f"var-{name}"] for name in labels} == {
        name: [value] for name, value in labels.items()
    }


def test_a_sentence_is_cut_rather_than_endless() -> None:
    labels = tuple((f"label_{number:02}", "x" * 64) for number in range(16))
    rule = replace(LOW, by=tuple(name for name, _ in labels))
    (change,) = play(rule, [csat(labels, 10)])
    assert len(change.explanation) == LONGEST_SENTENCE
    assert change.explanation.endswith("…")


# The trend


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        (csat(EU, 5, 25, lower=0.09, upper=0.39), ("falling", -0.2)),
        (csat(EU, 15, 25, lower=0.41, upper=0.77), ("rising", 0.2)),
        (csat(EU, 8, 25, lower=0.17, upper=0.52), ("steady", -0.08)),
        (csat(EU, 1009, 2500), ("steady", 0.0036)),
        (csat(EU, 98, 250), ("falling", -0.008)),
        (csat(EU, 0, 0), None),
        (csat((), 5, 25), None),
    ],
)
def test_the_trend_is_the_newest_part_against_the_window(
    newest: Sample, expected: tuple[str, float] | None
) -> None:
    (change,) = play(LOW, [csat(EU, 40)], newest=[newest])
    trend = change.trend
    if trend is None or expected is None:
        assert (trend, expected) == (None, None)
    else:
        direction, moved = expected
        assert trend.direction == direction
        assert trend.change == pytest.approx(moved)
        assert trend.part == "1 min 15 s"


def test_the_newest_part_is_a_quarter_of_the_panes_and_at_least_one() -> None:
    windows = (
        Window("1m", MINUTE, MINUTE),
        Window("2m", 2 * MINUTE, MINUTE),
        Window("1h", HOUR, 7 * MINUTE + 30 * SECOND),
    )
    parts = Closer(replace(SETTINGS, windows=windows)).at([], START)({}, {}).parts
    assert {label: part.size_ms for label, part in parts.items()} == {
        "2m": MINUTE,
        "1h": 15 * MINUTE,
    }


# Links


def test_the_link_leads_to_the_series_window_and_time() -> None:
    settings = replace(SETTINGS, dashboard_url="https://grafana.example/sub/")
    firing, resolved = play(LOW, [csat(EU, 40)], [csat(EU, 60)], settings=settings)
    assert firing.dashboard_url == (
        f"https://grafana.example/sub/d/{DASHBOARD_UID}?var-window=5m&var-region=eu"
        f"&from={START - 15 * MINUTE}&to={START}"
    )
    assert resolved.dashboard_url.endswith(f"&from={START - 15 * MINUTE}&to={START + 5 * SECOND}")


def test_the_link_shows_a_window_before_the_alert() -> None:
    settings = replace(SETTINGS, dashboard_url="https://grafana.example")
    (change,) = play(replace(LOW, window="1h"), [csat(EU, 40, window="1h")], settings=settings)
    assert f"&from={START - HOUR}&" in change.dashboard_url


def test_without_an_address_there_is_no_link() -> None:
    assert [change.dashboard_url for change in play(LOW, [csat(EU, 40)])] == [""]


def test_labels_that_are_no_dimensions_are_not_in_the_link() -> None:
    settings = replace(SETTINGS, dashboard_url="https://g.example")
    rule = Rule("ClvLow", "clv", "5m", below=1000)
    (change,) = play(rule, [Sample("clv", "5m", (("currency", "EUR"),), 812.5)], settings=settings)
    assert "currency" not in change.dashboard_url


def test_the_link_leads_to_the_dashboard_that_is_shipped() -> None:
    dashboard = json.loads((DASHBOARDS / "overview.json").read_text("utf-8"))
    assert dashboard["uid"] == DASHBOARD_UID


@patiently
@given(st.text())
def test_what_is_escaped_is_read_back(text: str) -> None:
    assert parse_qs(f"a={escaped(text)}", keep_blank_values=True) == {"a": [text]}


# Summaries


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("Customers leave.", "Customers leave."),
        ("{value} in {region} over {window}", "40% in eu over 5m"),
        ("{ value }", "40%"),
        ("{{value}} is {value}", "{value} is 40%"),
        ("{{{value}}}", "{40%}"),
        ("{rule} {state}, {severity}: {labels}", "CsatLow firing, warning: region eu"),
        ("{value} ({lower} to {upper}) of {n}", "40% (30.9% to 49.8%) of 100"),
        ("{threshold}, {baseline}, {trend}", "50%, unknown, unknown"),
        ("since {since}: {kpi}", f"since {BEGAN}: csat"),
    ],
)
def test_a_summary_is_filled_in_for_each_change(template: str, expected: str) -> None:
    (change,) = play(replace(LOW, summary=template), [csat(EU, 40, lower=0.309, upper=0.498)])
    assert change.summary == expected


@pytest.mark.parametrize("template", ["{", "a } b", "{a{b}", "{value", "}}}"])
def test_a_brace_that_stands_alone_is_no_template(template: str) -> None:
    with pytest.raises(BadTemplate, match="stands alone"):
        fields_of(template)


@patiently
@given(st.text())
def test_any_text_with_its_braces_doubled_stays_itself(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert fields_of(doubled) == []
    assert filled(doubled, {}) == text


def test_every_kpi_of_a_change_is_known_by_its_unit() -> None:
    units = {kpi: found.unit for kpi in (*KPIS, "input", "series") if (found := measure(kpi))}
    assert units["input"] == "seconds"
    assert units["series"] == "series"
    assert set(units) == {*KPIS, "input", "series"}
    assert measure("gone") is None


def test_an_alert_that_ends_for_want_of_time_says_so() -> None:
    """As it does where the key was added while it fired."""
    spike = Rule("S", "churn", "5m", baseline="1h", factor=2.0, on_no_data="resolve")
    samples = tuple(
        Sample("churn", window, (), 0.1, 0.09, 0.11, 100, 1000) for window in ("5m", "1h")
    )
    states, changes = AlertStates(), list[Change]()
    for now, rule in ((START, spike), (START + MINUTE, replace(spike, min_covered=0.75))):
        rules = RuleSet.of(replace(SETTINGS, rules=(rule,)))
        seen = Evaluation(now, samples, START - 5 * MINUTE)
        states, made = evaluate(rules, states, seen, now, seen_in(seen))
        changes += made
    assert changes[-1].explanation == (
        "Churn over 5m has data for 10% of 1h and needs 75%, so the alert is resolved."
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            Rule("R", "csat", "1h", ("a", "b"), below=0.7, significant=True, for_ms=2 * MINUTE),
            "csat 1h by a, b below 0.7 significantly for 2m",
        ),
        (
            Rule("R", "art", "1h", above=900, clear=600),
            "art 1h above 900 s (15 min) cleared at 600 s (10 min)",
        ),
        (Rule("R", "churn", "1h", baseline="7d", factor=0.5), "churn 1h below 0.5 × that of 7d"),
        (
            Rule("R", "churn", "1h", baseline="7d", factor=2, min_covered=0.29, for_ms=MINUTE),
            "churn 1h above 2 × that of 7d once 29% is covered for 1m",
        ),
        (
            Rule("R", "nps", "1h", below=0, min_samples=2_500),
            "nps 1h below 0 from a denominator of 2500 on",
        ),
        (
            Rule("R", "nps", "1h", below=0, min_samples=1),
            "nps 1h below 0 from a denominator of 1 on",
        ),
        (
            Rule("R", "nps", "1h", below=0, min_samples=0),
            "nps 1h below 0 from a denominator of 0 on",
        ),
        (Rule.missing_input("R", "cx.survey", 30 * MINUTE), "no event of cx.survey for 30m"),
        (
            Rule.missing_input("R", "cx.survey", SECOND, for_ms=MINUTE, keep_firing_for_ms=HOUR),
            "no event of cx.survey for 1s for 1m kept for 1h",
        ),
    ],
)
def test_a_rule_is_described_as_its_configuration_says_it(rule: Rule, words: str) -> None:
    assert described(rule) == words
