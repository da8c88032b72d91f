"""The committed dashboard: current, in order, and about every KPI."""

import copy
import dataclasses
import json
from collections.abc import Callable
from itertools import cycle, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from stream.core.alerts import RuleSet
from stream.core.alerts.links import dashboard_link
from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.core.settings import Rule, Settings
from stream.dashboards.overview import all_panels, overview
from stream.metrics.families import families, kpi_families
from stream.sinks.trial import trial
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


#: What Prometheus or the dashboard itself has something called so, and what looks as if.
TAKEN = (
    "job", "instance", "pod", "industry", "datasource", "dimension_industry",
    "dimension_dimension_industry", "dimension_region",
)  # fmt: skip


def test_each_dimension_has_a_variable_of_its_own_whatever_it_is_called() -> None:
    document = json.loads(overview(KPIS, TAKEN))
    names = [one["name"] for one in document["templating"]["list"]]
    assert len(set(names)) == len(names) == 3 + len(TAKEN)
    assert names[:6] == ["datasource", "window", "industry", "job", "instance", "pod"]
    assert names[6:8] == ["dimension_industry", "dimension_datasource"]
    assert lint(document) == []


def test_links_name_the_variables_of_the_dashboard() -> None:
    document = json.loads(overview(KPIS, TAKEN))
    firing, _ = trial(Rule("Low", "nps", "1h", below=0), 0, 1)
    rules = RuleSet((), "https://g.example", TAKEN)
    link = dashboard_link(rules, replace(firing, labels=dict.fromkeys(TAKEN, "x")), 0, 0)
    linked = {name.removeprefix("var-") for name in parse_qs(urlsplit(link).query)}
    names = {one["name"] for one in document["templating"]["list"]}
    assert linked - {"from", "to"} == names - {"datasource", "industry"}


def test_without_dimensions_there_is_the_total_alone() -> None:
    document = json.loads(overview(KPIS, ()))
    names = {one["name"] for one in document["templating"]["list"]}
    assert names == {"datasource", "window", "industry"}
    assert lint(document) == []


def _catalogue(narrow: int, wide: int) -> dict[str, Kpi]:
    """So many KPIs with one value, and with one per currency: those that there are, over again."""
    chosen = (
        *islice(cycle(kpi for kpi in KPIS.values() if not kpi.labels), narrow),
        *islice(cycle(kpi for kpi in KPIS.values() if kpi.labels), wide),
    )
    return {
        f"{kpi.id}_{n}": dataclasses.replace(kpi, id=f"{kpi.id}_{n}", title=f"{kpi.title} {n}")
        for n, kpi in enumerate(chosen)
    }


@pytest.mark.parametrize("wide", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("narrow", [0, 1, 5, *range(20, 26)])
def test_a_catalogue_of_any_size_has_its_panels_within_the_grid_and_without_holes(
    narrow: int, wide: int
) -> None:
    kpis = _catalogue(narrow, wide)
    document = json.loads(overview(kpis, ()))
    assert not [finding for finding in lint(document) if "grid" in finding or "overlap" in finding]
    boxes = [panel["gridPos"] for panel in document["panels"] if panel["type"] == "stat"]
    glanced = boxes[len(boxes) - len(kpis) :]
    rows = [sum(box["w"] for box in row) for _, row in groupby(glanced, itemgetter("y"))]
    assert all(width == 24 for width in rows[:-1])
    assert all(box["w"] >= (4 if n < narrow else 6) for n, box in enumerate(glanced))


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
