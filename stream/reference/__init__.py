"""The reference pages of ``docs/`` that follow from catalogues: ``python -m stream.reference``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from stream.core.catalogue import KPIS, TOPICS
from stream.core.event import CAPITALS, OUTCOMES
from stream.core.intake import FUTURE_MS
from stream.core.schema import event_schema, rules_across_fields
from stream.core.settings import DAY, SECOND, SHORTEST_MEMORY
from stream.metrics.families import KpiFamily, families
from stream.reference.kpi_pages import NOTE, kpi_page, kpis_page

_OUTCOMES: Final = {
    "invalid": "Not JSON, empty, or against a rule below. Goes to the dead letters.",
    "duplicate": "The topic accepted an event of this `event_id` within `dedupe` of event time.",
    "future": (
        f"More than {FUTURE_MS // SECOND} s ahead of the worker's clock. Goes to the dead letters."
    ),
    "late": (
        f"Older than every window and than {SHORTEST_MEMORY // DAY} days. Only counted: it still"
        " lies in its topic."
    ),
    "orphan": "Refers to an answer or a close that is not remembered. Goes to the dead letters.",
    "accepted": "Counted in the KPIs.",
}


def events_page() -> str:
    """Topics, event types, fields and rules."""
    return "\n".join(_events()) + "\n"


def _events() -> Iterator[str]:
    yield from ("# Events", "", NOTE, "")
    yield (
        "One JSON object (UTF-8) per Kafka record. The record key is the entity's id, so that all"
        " events of an entity share a partition. `null` in an optional field means absent, unknown"
        " fields are ignored, and a whole number may be written `1.0`. The JSON Schemas of"
        " `schemas/` say the same to machines."
    )
    yield from ("", "## Outcomes", "")
    yield "Every record has exactly one, looked at in this order and counted in `cx_events_total`."
    yield from ("", "| outcome | meaning |", "| --- | --- |")
    for outcome in OUTCOMES:
        yield f"| `{outcome}` | {_OUTCOMES[outcome]} |"
    for topic in TOPICS.values():
        yield from ("", f"## `{topic.name}`")
        for kind in topic.types:
            yield from _event(kind.name, event_schema(kind), kind.key)
    yield from ("", "## Rules across fields", "", "No JSON Schema of a field holds these.", "")
    yield from ("| types | field | rule |", "| --- | --- | --- |")
    for rule in rules_across_fields():
        types = ", ".join(f"`{t}`" for t in rule.types)
        yield f"| {types} | `{rule.path}` | {rule.text} |"


def _event(name: str, schema: Mapping[str, Any], key: str) -> Iterator[str]:
    yield from ("", f"### `{name}`", "", f"{schema['description']} Record key: `{key}`.", "")
    yield from ("| field | required | values | meaning |", "| --- | --- | --- | --- |")
    for field, rule in schema["properties"].items():
        if field == "type":
            continue
        required = "yes" if field in schema["required"] else ""
        yield f"| `{field}` | {required} | {_values(rule)} | {rule.get('description', '')} |"


def _values(rule: Mapping[str, Any]) -> str:
    """What a field may hold, in few words."""
    if "$ref" in rule:
        return "object"
    if "anyOf" in rule:
        said = " or ".join(_values(r) for r in rule["anyOf"] if r.get("type") != "null")
        default = rule.get("default")
        return said if default is None else f"{said}, default `{str(default).lower()}`"
    if "enum" in rule:
        return ", ".join(f"`{v}`" for v in rule["enum"])
    kind = rule.get("type")
    if kind == "string":
        if rule.get("format") == "date-time":
            return "RFC 3339 date-time"
        if rule.get("pattern") == CAPITALS:
            return "three capitals"
        if "maxLength" in rule:
            return f"text of {rule.get('minLength', 0)}–{rule['maxLength']} characters"
        return "text"
    if kind == "number":
        whole = "whole number" if rule.get("multipleOf") == 1 else "number"
        low, high = rule.get("minimum"), rule.get("maximum")
        return f"{whole} {low:g} to {high:g}" if low is not None and high is not None else whole
    return {"boolean": "true or false", "object": "object", None: "anything"}.get(kind, str(kind))


def metrics_page() -> str:
    """Every metric family of a worker."""
    return "\n".join(_metrics()) + "\n"


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", NOTE, "")
    yield (
        "A worker serves these at `/metrics`. A KPI's series carry `window` and the labels of their"
        " rollup, no others: the total has neither `channel` nor `region`. To sum over shares or"
        " make ratios of your own, use `_numerator` and `_denominator`. A series is shown by one"
        " worker at a time, but for `cx_benchmark`, which every worker shows: take"
        " `max by (kpi, industry) (cx_benchmark)`."
    )
    found = families(KPIS)
    for title, wanted in (("KPIs", True), ("The worker", False)):
        yield from ("", f"## {title}", "", "| metric | type | labels | meaning |")
        yield "| --- | --- | --- | --- |"
        for family in found:
            if isinstance(family, KpiFamily) == wanted:
                labels = ", ".join(f"`{label}`" for label in family.labels)
                yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "events.md": events_page,
    "kpis.md": kpis_page,
    "metrics.md": metrics_page,
    **{f"kpis/{kpi.id}.md": partial(kpi_page, kpi) for kpi in KPIS.values()},
}


def main(folder: Path) -> None:
    """Write all pages."""
    (folder / "kpis").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page())
