"""What is wrong with a dashboard, found without a Grafana."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from stream.dashboards.overview import all_panels
from stream.dashboards.panels import UNITS
from tests.dashboards.queries import BUILT_IN, variables

_COLUMNS = 24
#: Units of Grafana that the dashboards may use.
KNOWN_UNITS = {*UNITS.values(), "short", "eps", "bytes", "bool_yes_no"}
_VARIABLE = re.compile(r"\$\{?(\w+)")


def lint(document: dict[str, Any]) -> list[str]:
    """All findings, one sentence each; none for a dashboard that is in order."""
    return [
        *_dashboard(document),
        *_grid(document["panels"]),
        *_ids(document),
        *_panels(document),
        *_variables(document),
    ]


def _dashboard(document: dict[str, Any]) -> Iterator[str]:
    for key in ("uid", "title", "schemaVersion"):
        if not document.get(key):
            yield f"the dashboard has no {key}"
    if document.get("id") is not None:
        yield "the dashboard has an id, which only a database may give"


def _grid(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        box = panel["gridPos"]
        if box["w"] <= 0 or box["h"] <= 0 or box["x"] < 0 or box["x"] + box["w"] > _COLUMNS:
            yield f"{panel['title']} is outside the grid"
        if panel["type"] == "row":
            yield from _row(panel)
    for one, other in combinations(panels, 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"{one['title']} and {other['title']} overlap"


def _row(row: dict[str, Any]) -> Iterator[str]:
    inside = row.get("panels") or []
    if inside and not row.get("collapsed"):
        yield f"the open row {row['title']} holds panels, which Grafana does not show"
    yield from _grid(inside)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


def _ids(document: dict[str, Any]) -> Iterator[str]:
    ids = Counter(panel.get("id") for panel in all_panels(document))
    for number, times in ids.items():
        if number is None or times > 1:
            yield f"panel id {number} is used {times} times"


def _panels(document: dict[str, Any]) -> Iterator[str]:
    for panel in all_panels(document):
        if panel["type"] == "row":
            continue
        name = panel.get("title") or f"panel {panel.get('id')}"
        if not panel.get("title") or not panel.get("description"):
            yield f"{name} has no title or description"
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        if unit not in KNOWN_UNITS:
            yield f"{name} has the unit {unit}"
        yield from _sources(name, panel)


def _sources(name: str, panel: dict[str, Any]) -> Iterator[str]:
    targets = panel.get("targets") or []
    if not targets:
        yield f"{name} has no target"
    refs = Counter(target.get("refId") for target in targets)
    if any(times > 1 or not ref for ref, times in refs.items()):
        yield f"{name} has targets without a refId of their own"
    for source in (panel, *targets):
        if source.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{name} has a data source that is not the variable's"
    for target in targets:
        if not target.get("expr"):
            yield f"{name} has an empty query"
    for override in panel["fieldConfig"].get("overrides") or []:
        if (
            override["matcher"]["id"] == "byFrameRefID"
            and override["matcher"]["options"] not in refs
        ):
            yield f"{name} overrides the query {override['matcher']['options']}, which it has not"


def _variables(document: dict[str, Any]) -> Iterator[str]:
    known = variables(document).keys() | BUILT_IN.keys()
    used: set[str] = set()
    for panel in all_panels(document):
        for target in panel.get("targets") or []:
            used |= set(_VARIABLE.findall(target.get("expr", "")))
        used |= set(_VARIABLE.findall(str(panel.get("datasource", {}).get("uid", ""))))
    for variable in document["templating"]["list"]:
        used |= set(_VARIABLE.findall(str(variable.get("query", ""))))
    for name in sorted(used - known):
        yield f"${name} is not defined"
    for name in sorted(variables(document).keys() - used):
        yield f"${name} is not used"
