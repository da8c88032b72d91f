"""The dashboard's queries on what a real worker made of a company's events."""

from __future__ import annotations

import json
import math
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.broker import Broker
from stream.clock import now_ms
from stream.core.catalogue import EVENT_TYPES, KPIS, TOPICS
from stream.generate.profile import busiest_region
from stream.top.snapshot import read
from stream.top.trends import totals
from tests.dashboards.queries import choices, run
from tests.dashboards.test_queries import RANGES
from tests.e2e import commands
from tests.fixtures.prometheus import Moment, Prometheus, PrometheusTools, until
from tests.kafka.topics import records
from tests.kafka.workers import WorkerProcess

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = json.loads(
    (ROOT / "grafana" / "dashboards" / "overview.json").read_text("utf-8")
)
NAME = "e2e-live"
#: In other regions it may be a Sunday's night, in which too little happens.
BUSIEST = busiest_region("shop", now_ms())
#: Figures of some KPIs; one rule that is sure to fire, and one that is not.
BENCHMARKS = ROOT / "examples" / "benchmarks.toml"
CONFIGURED = f"""\
benchmarks = {json.dumps(str(BENCHMARKS))}

[[alert]]
name = "Watched"
kpi = "csat"
window = "5m"
by = ["region"]
below = 1.1
min_samples = 1

[[alert]]
name = "Quiet"
kpi = "csat"
window = "1h"
above = 1.1

[[sink]]
type = "log"
"""


@dataclass(frozen=True)
class Live:
    """A worker with events that keep coming, and a Prometheus that scrapes it."""

    bootstrap: str
    worker: WorkerProcess
    prometheus: Prometheus
    #: What is asked of it at a time at which there was all to ask for.
    then: Moment


@pytest.fixture(scope="module")
def live(
    broker: Broker, prometheus_tools: PrometheusTools, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    config = commands.configuration(folder / "cxkpi.toml", broker.bootstrap, NAME, CONFIGURED)
    garbage = folder / "garbage"
    garbage.write_bytes(b"garbage\n" * 50)
    with WorkerProcess(config, folder / "worker.log") as worker:
        worker.until_ready()
        generator = subprocess.Popen(
            commands.cxkpi(
                *("generate", "--config", config, "--rate", 20),
                *("--history", "75m", "--for", "10m"),
            ),
            env=commands.ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )
        try:
            commands.run("send", garbage, "--raw", "cx.visit", "--config", config)
            worker.until(lambda: _everything_has_a_value(worker), "made a value of each KPI")
            url = worker.url.removeprefix("http://")
            with Prometheus.scraping(prometheus_tools, folder / "prometheus", [url]) as prometheus:
                yield Live(broker.bootstrap, worker, prometheus, prometheus.moment())
        finally:
            generator.terminate()
            generator.wait(60)


def _everything_has_a_value(worker: WorkerProcess) -> bool:
    snapshot = read(worker.page("/metrics")[1], 0.0, KPIS, "5m")
    known = {sample.kpi for sample in totals(snapshot, KPIS) if sample.value is not None}
    return known == set(KPIS) and any(snapshot.alerts.values())


def _with_benchmarks() -> set[str]:
    """The KPIs that the file has a figure for."""
    return {entry["kpi"] for entry in tomllib.loads(BENCHMARKS.read_text())["benchmark"]}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"window": "5m"},
        {"region": BUSIEST},
        {"channel": "(web|app)", "region": f"({BUSIEST}|us)"},
    ],
    ids=["defaults", "window", "region", "channel and region"],
)
def test_every_panel_finds_values_of_its_unit(live: Live, chosen: Mapping[str, str]) -> None:
    answers = run(live.then, DOCUMENT, **chosen)
    empty = [(a.asked.panel, a.expr) for a in answers if not a.series]
    without = {f'{{kpi="{kpi}", ' for kpi in KPIS if kpi not in _with_benchmarks()}
    assert [
        one for one in empty if not any(f"cx_benchmark{kpi}" in one[1] for kpi in without)
    ] == []
    for answer in answers:
        low, high = RANGES.get(answer.asked.unit, (-math.inf, math.inf))
        for series in answer.series:
            assert not math.isnan(series.value), answer
            assert low <= series.value <= high, answer


def test_variables_offer_what_the_company_has(live: Live) -> None:
    assert choices(live.then, DOCUMENT, "window") == {"5m", "1h", "24h", "7d"}
    assert choices(live.then, DOCUMENT, "region") == {"eu", "us", "apac", "latam"}
    assert choices(live.then, DOCUMENT, "channel") == {
        *("web", "app", "phone", "email", "store"),
    }


def test_the_rule_that_is_sure_fires_and_the_other_does_not(live: Live) -> None:
    firing = live.then.query("cx_alert_firing == 1")
    assert {series.labels["rule"] for series in firing} == {"Watched"}
    said = live.worker.log()
    assert "alert[0].below (Watched): 1.1 is above all values, so the alert is always on" in said
    assert "alert[1].above (Quiet): csat is 0 to 1 (a share, not a percentage)" in said


def test_prometheus_finds_nothing_to_say_against_the_live_page(
    live: Live, prometheus_tools: PrometheusTools
) -> None:
    checked = subprocess.run(
        [prometheus_tools.promtool, "check", "metrics"],
        input=live.worker.page("/metrics")[1],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_type_of_event_was_among_them(live: Live) -> None:
    found = records(live.bootstrap, [f"{NAME}-{topic}" for topic in TOPICS])
    values = [record.value for record in found if record.value and record.value != b"garbage"]
    assert {orjson.loads(value)["type"] for value in values} == set(EVENT_TYPES)
    assert len(found) - len(values) == 50

    def counted() -> dict[str, float]:
        outcomes = live.prometheus.query("sum by (outcome) (cx_events_total)")
        return {series.labels["outcome"]: series.value for series in outcomes}

    most = 0.95 * len(values)
    until(lambda: counted().get("accepted", 0) > most, 120, "most of them are not counted")
    invalid = live.prometheus.wait_for('sum(cx_events_total{outcome="invalid"})')
    assert [series.value for series in invalid] == [50]
