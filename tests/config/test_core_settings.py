"""What the core gets from the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import load
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule, Settings, Window


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_a_file_the_core_gets_its_own_defaults() -> None:
    assert load(None, {}).core() == Settings()


def test_an_empty_file_is_as_good_as_none() -> None:
    Path("empty.toml").touch()
    assert load(Path("empty.toml"), {}).core() == Settings()


def test_sinks_without_a_name_are_named_after_their_type() -> None:
    Path("cxkpi.toml").write_text(
        '[[sink]]\ntype = "log"\n' * 3 + '[[sink]]\ntype = "log"\nname = "log-2"\n'
    )
    assert [s.name for s in load(None, {}).sinks] == ["log", "log-3", "log-4", "log-2"]


def test_a_summary_may_name_the_currency_of_a_kpi_that_has_one() -> None:
    Path("cxkpi.toml").write_text(
        '[[alert]]\nname = "A"\nkpi = "upsell"\nwindow = "1h"\nbelow = 0.1\n'
        'summary = "{value} in {currency}"\n'
    )
    (rule,) = load(None, {}).core().rules
    assert rule.summary == "{value} in {currency}"


def test_every_key_of_the_core_comes_through() -> None:
    Path("cxkpi.toml").write_text("""
dimensions = ["plan", "team"]
rollups = [[], ["plan", "team"]]
dedupe = "1h"
evaluate = "30s"
max_values_per_dimension = 7
max_segments = 8
cart.timeout = "45m"
ticket = { rapid_response = "1m", rapid_resolution = "2h" }
emotion = { positive = ["Glad"], negative = ["SAD"] }
health.weights = { usage = 2, "a b" = 0 }
dashboard.url = "https://grafana.example/"
[[window]]
size = "60m"
pane = "60s"
[[window]]
size = "14d"
pane = "6h"
[[alert]]
name = "Churn is high"
kpi = "churn"
window = "3600s"
by = ["team", "plan"]
above = 1
clear = 0.5
for = "2m"
keep_firing_for = 0
min_samples = 5
significant = true
on_no_data = "resolve"
severity = "page at night"
summary = "Many leave."
runbook_url = "https://runbooks.example/churn"
max_series = 7
[[alert]]
name = "Silence"
topic = "cx.visit"
absent_for = "90s"
for = "1m"
keep_firing_for = "2m"
severity = "info"
summary = "No visits for {value}."
runbook_url = "https://runbooks.example/visits"
[[alert]]
name = "Spike"
kpi = "csat"
window = "1h"
baseline = "14d"
factor = 0.5
min_covered = 0.75
""")
    assert load(None, {}).core() == Settings(
        dimensions=("plan", "team"),
        rollups=((), ("plan", "team")),
        windows=(Window("1h", HOUR, MINUTE), Window("14d", 14 * DAY, 6 * HOUR)),
        dedupe_ms=HOUR,
        evaluate_ms=30 * SECOND,
        max_values_per_dimension=7,
        max_segments=8,
        cart_timeout_ms=45 * MINUTE,
        rapid_response_ms=MINUTE,
        rapid_resolution_ms=2 * HOUR,
        positive_emotions=frozenset({"glad"}),
        negative_emotions=frozenset({"sad"}),
        health_weights={"usage": 2.0, "a b": 0.0},
        rules=(
            Rule(
                name="Churn is high",
                kpi="churn",
                window="1h",
                by=("plan", "team"),
                above=1.0,
                clear=0.5,
                for_ms=2 * MINUTE,
                min_samples=5,
                significant=True,
                on_no_data="resolve",
                severity="page at night",
                summary="Many leave.",
                runbook_url="https://runbooks.example/churn",
                max_series=7,
            ),
            Rule(
                name="Silence",
                kpi="input",
                window="",
                by=("topic",),
                above=90.0,
                for_ms=MINUTE,
                keep_firing_for_ms=2 * MINUTE,
                severity="info",
                summary="No visits for {value}.",
                runbook_url="https://runbooks.example/visits",
                topic="cx.visit",
            ),
            Rule(
                name="Spike", kpi="csat", window="1h", baseline="14d", factor=0.5, min_covered=0.75
            ),
        ),
        dashboard_url="https://grafana.example/",
    )
