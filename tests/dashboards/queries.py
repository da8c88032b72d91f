"""Asks a real Prometheus what a dashboard asks for, the variables filled in."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stream.dashboards.overview import all_panels
from tests.fixtures.prometheus import Moment, Series

#: What Grafana puts in for its own variables at a scrape interval of 1 s.
BUILT_IN = {"__rate_interval": "5s", "__range": "1m", "__interval": "1s"}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((?:(?P<selector>.+), )?(?P<label>\w+)\)", re.DOTALL)


class UndefinedVariable(Exception):
    """A query names a variable that the dashboard does not define."""


class Asked(NamedTuple):
    """A query of a panel, as it stands in the dashboard."""

    panel: str
    unit: str
    ref: str
    expr: str


class Answer(NamedTuple):
    """What Prometheus made of a query."""

    asked: Asked
    expr: str
    series: list[Series]


def asked(document: dict[str, Any]) -> Iterator[Asked]:
    """All queries of a dashboard's panels."""
    for panel in all_panels(document):
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
        for target in panel.get("targets") or []:
            yield Asked(panel["title"], unit, target["refId"], target["expr"])


def variables(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A dashboard's variables by name."""
    return {one["name"]: one for one in document["templating"]["list"]}


def defaults(document: dict[str, Any]) -> dict[str, str]:
    """What each variable holds when the dashboard is opened."""
    filled = {}
    for name, variable in variables(document).items():
        value = variable.get("current", {}).get("value", "")
        filled[name] = variable["allValue"] if value == "$__all" else value
    return filled


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each ``$name`` and ``${name}`` replaced. Raises UndefinedVariable."""
    known = BUILT_IN | dict(values)

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in known:
            raise UndefinedVariable(f"${name} in {text}")
        return known[name]

    return _VARIABLE.sub(value, text)


def run(moment: Moment, document: dict[str, Any], **chosen: str) -> list[Answer]:
    """Ask everything that the dashboard asks, with its defaults but for what is ``chosen``."""
    values = defaults(document) | chosen
    answers = []
    for query in asked(document):
        expr = fill(query.expr, values)
        answers.append(Answer(query, expr, moment.query(expr)))
    return answers


def choices(moment: Moment, document: dict[str, Any], name: str) -> set[str]:
    """The values that a query variable offers, without *All*."""
    query = fill(variables(document)[name]["query"], defaults(document))
    found = _LABEL_VALUES.fullmatch(query)
    assert found is not None, query
    label = found["label"]
    series = moment.query(f"group by ({label}) ({found['selector']})")
    return {one.labels[label] for one in series if one.labels.get(label)}
