"""The committed dashboard: current, in order, and about every KPI."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream.core.catalogue import KPIS
from stream.core.settings import Settings
from stream.dashboards.overview import all_panels, overview
from stream.metrics.families import families, kpi_families
from tests.dashboards.lint import lint
from tests.dashboards.queries import asked

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "grafana" / "dashboards" / "overview.json"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def text() -> str:
    return overview(KPIS, Settings().dimensions)


@pytest.fixture
def document(text: str) -> Document:
    loaded: Document = json.loads(text)
    return loaded


def test_the_committed_dashboard_is_current(text: str) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text, "run `python -m stream.dashboards`"


def test_the_dashboard_is_in_order(document: Document) -> None:
    assert lint(document) == []


def test_every_kpi_is_shown_with_all_its_gauges_but_its_counts(document: Document) -> None:
    shown = " ".join(query.expr for query in asked(document))
    for family in kpi_families(KPIS):
        if family.part in {"value", "lower", "upper"}:
            assert f"({family.name}{{" in shown, family.name


def test_a_panel_shows_what_other_companies_have_where_that_can_be_compared(
    document: Document,
) -> None:
    asked_for = {query.panel for query in asked(document) if "cx_benchmark{" in query.expr}
    assert asked_for == {kpi.title for kpi in KPIS.values() if kpi.comparable == "always"}


def test_only_declared_metrics_are_asked_for(document: Document) -> None:
    declared = {family.name for family in families(KPIS)} | {
        f"{family.name}_{part}"
        for family in families(KPIS)
        if family.kind == "summary"
        for part in ("sum", "count")
    }
    for query in asked(document):
        words = query.expr.replace("{", " ").replace("(", " ").replace("[", " ").replace(")", " ")
        names = {w for w in words.split() if w.startswith(("cx_", "process_"))}
        assert names, query
        assert names <= declared, query


def test_other_dimensions_make_other_variables_and_rows() -> None:
    document = json.loads(overview(KPIS, ("plan",)))
    names = {one["name"] for one in document["templating"]["list"]}
    assert names == {"datasource", "window", "industry", "plan"}
    assert "By plan" in {panel["title"] for panel in all_panels(document)}
    assert lint(document) == []


def test_without_dimensions_there_is_the_total_alone() -> None:
    document = json.loads(overview(KPIS, ()))
    names = {one["name"] for one in document["templating"]["list"]}
    assert names == {"datasource", "window", "industry"}
    assert lint(document) == []


def _first(document: Document) -> Document:
    panel: Document = document["panels"][0]
    return panel


def _closed(document: Document) -> Document:
    row: Document = next(p for p in document["panels"] if p.get("collapsed"))
    return row


FAULTS: dict[str, Callable[[Document], object]] = {
    "a missing uid": lambda d: d.pop("uid"),
    "overlapping panels": lambda d: d["panels"][1]["gridPos"].update(x=2),
    "a panel beyond the edge": lambda d: _first(d)["gridPos"].update(x=22),
    "an id twice": lambda d: _first(d).update(id=2),
    "an id twice in a closed row": lambda d: _closed(d)["panels"][0].update(id=2),
    "overlap in a closed row": lambda d: _closed(d)["panels"][1]["gridPos"].update(x=1),
    "panels in an open row": lambda d: _closed(d).update(collapsed=False),
    "an unknown unit": lambda d: _first(d)["fieldConfig"]["defaults"].update(unit="percents"),
    "no unit": lambda d: _first(d)["fieldConfig"]["defaults"].pop("unit"),
    "no title": lambda d: _first(d).update(title=""),
    "no target": lambda d: _first(d).update(targets=[]),
    "an empty query": lambda d: _first(d)["targets"][0].update(expr=""),
    "a fixed data source": lambda d: _first(d)["targets"][0]["datasource"].update(uid="abc"),
    "an undefined variable": lambda d: _first(d)["targets"][0].update(expr='cx_nps{a="$nope"}'),
    "a variable that is gone": lambda d: d["templating"]["list"].pop(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_lint_finds(fault: str, document: Document) -> None:
    faulty = copy.deepcopy(document)
    FAULTS[fault](faulty)
    assert lint(faulty)
