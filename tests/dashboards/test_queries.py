"""Every query of the dashboard, asked of a real Prometheus that scrapes a worker's metrics."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.core.series import LabelPairs
from stream.core.settings import Settings
from stream.dashboards.overview import overview
from stream.metrics.families import gauge_of
from stream.metrics.view import WorkerView
from stream.reference.kpi_pages import benchmark_query, sum_query
from tests.dashboards.queries import choices, run
from tests.fixtures.prometheus import Moment, Prometheus, PrometheusTools
from tests.metrics.serving import serving
from tests.metrics.views import WINDOWS, view

DOCUMENT: dict[str, Any] = json.loads(overview(KPIS, Settings().dimensions))

#: What values of a unit can be.
RANGES = {
    "percentunit": (0.0, 1.0),
    "bool_yes_no": (0.0, 1.0),
    "s": (0.0, math.inf),
    "eps": (0.0, math.inf),
    "bytes": (1.0, math.inf),
}


def _view() -> WorkerView:
    """A worker whose counters move with the clock."""
    now = time.time()
    return view(KPIS, int(now * 1000) - 100, accepted=int(now * 100))


#: Dimensions that are called as what Prometheus and the dashboard have already.
TAKEN = ("instance", "job", "pod", "industry")
_SERIES: tuple[LabelPairs, ...] = (
    (), *(((name, value),) for name in TAKEN for value in ("one", "two"))
)  # fmt: skip
_TAKEN: dict[str, Any] = json.loads(overview(KPIS, TAKEN))


@pytest.fixture(scope="module")
def taken(
    prometheus_tools: PrometheusTools, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moment]:
    """What a Prometheus knows that scrapes a worker with these dimensions."""
    folder: Path = tmp_path_factory.mktemp("taken")

    def seen() -> WorkerView:
        return view(KPIS, int(time.time() * 1000) - 100, series=_SERIES)

    with (
        serving(seen, KPIS) as server,
        Prometheus.scraping(prometheus_tools, folder, [f"127.0.0.1:{server.port}"]) as running,
    ):
        yield running.moment()


@pytest.mark.parametrize(
    ("dimension", "label", "variable"),
    [
        ("instance", "exported_instance", "instance"),
        ("job", "exported_job", "job"),
        ("pod", "pod", "pod"),
        ("industry", "industry", "dimension_industry"),
    ],
)
def test_a_dimension_may_be_called_as_a_label_or_variable_that_is_there(
    taken: Moment, dimension: str, label: str, variable: str
) -> None:
    assert choices(taken, _TAKEN, variable) == {"one", "two"}
    for chosen, count in (("^$", 1), ("one", 1), ("(one|two)", 2)):
        answers = run(taken, _TAKEN, **{variable: chosen})
        (found, *_) = [a.series for a in answers if "(cx_nps{" in a.expr]
        assert len(found) == count, chosen
    answers = run(taken, _TAKEN)
    by = [a.series for a in answers if a.asked.panel == f"{KPIS['nps'].title} by {dimension}"]
    assert [{series.labels[label] for series in found} for found in by] == [{"one", "two"}]


@pytest.fixture(scope="module")
def prometheus(
    prometheus_tools: PrometheusTools, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moment]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with (
        serving(_view, KPIS) as server,
        Prometheus.scraping(prometheus_tools, folder, [f"127.0.0.1:{server.port}"]) as running,
    ):
        yield running.moment()


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"window": "7d"},
        {"channel": "chat"},
        {"region": "(north|south)"},
        {"channel": "chat", "region": "north"},
    ],
    ids=lambda chosen: " ".join(f"{k}={v}" for k, v in chosen.items()) or "defaults",
)
def test_every_query_finds_values_of_its_unit(prometheus: Moment, chosen: dict[str, str]) -> None:
    for answer in run(prometheus, DOCUMENT, **chosen):
        assert answer.series, f"{answer.asked.panel}: {answer.expr}"
        low, high = RANGES.get(answer.asked.unit, (-math.inf, math.inf))
        for series in answer.series:
            assert not math.isnan(series.value), answer
            assert low <= series.value <= high, answer


def _values(prometheus: Moment, gauge: str, **chosen: str) -> dict[tuple[str, str], float]:
    """The series that the panels over time show of a gauge, by channel and region."""
    for answer in run(prometheus, DOCUMENT, **chosen):
        if f"({gauge}{{" in answer.expr:
            return {
                (s.labels.get("channel", ""), s.labels.get("region", "")): s.value
                for s in answer.series
            }
    raise AssertionError(gauge)


def test_all_is_the_total_and_not_every_series(prometheus: Moment) -> None:
    for kpi in KPIS.values():
        shown = _values(prometheus, gauge_of(kpi))
        assert list(shown) == [("", "")], kpi.id


def test_a_value_of_one_dimension_chooses_its_rollup(prometheus: Moment) -> None:
    assert list(_values(prometheus, "cx_nps", channel="chat")) == [("chat", "")]
    both = _values(prometheus, "cx_nps", channel="chat", region="(north|south)")
    assert set(both) == {("chat", "north"), ("chat", "south")}


def test_variables_offer_what_the_worker_has(prometheus: Moment) -> None:
    assert choices(prometheus, DOCUMENT, "window") == set(WINDOWS)
    assert choices(prometheus, DOCUMENT, "channel") == {"chat", "email", "phone"}
    assert choices(prometheus, DOCUMENT, "region") == {"north", "south"}
    assert choices(prometheus, DOCUMENT, "industry") == {"retail", "insurance"}


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_the_queries_of_a_kpis_page_find_what_they_say(prometheus: Moment, kpi: Kpi) -> None:
    query, _ = sum_query(kpi)
    assert len(prometheus.query(query)) == 1
    if kpi.comparable == "always":
        far = prometheus.query(benchmark_query(kpi))
        assert {series.labels["industry"] for series in far} == {"retail", "insurance"}


def test_benchmarks_are_one_line_for_each_industry_chosen(prometheus: Moment) -> None:
    for industry, shown in ((".+", {"retail", "insurance"}), ("(retail)", {"retail"})):
        answers = run(prometheus, DOCUMENT, industry=industry)
        lines = [a.series for a in answers if 'cx_benchmark{kpi="nps"' in a.expr]
        assert [{s.labels["industry"] for s in series} for series in lines] == [shown]
