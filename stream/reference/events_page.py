"""The page of the events: what a producer has to send, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stream.core.catalogue import EVENT_TYPES, TOPICS
from stream.core.decode import MOST_BYTES
from stream.core.event import CAPITALS, LIMIT, OUTCOMES, Event, EventType
from stream.core.intake import FUTURE_MS
from stream.core.nesting import MOST_LEVELS
from stream.core.schema import event_schema, rules_across_fields
from stream.core.settings import DAY, SECOND, SHORTEST_MEMORY
from stream.reference.kpi_pages import NOTE

_OUTCOMES: Final = {
    "invalid": "Not JSON, empty, or against a rule below. Goes to the dead letters.",
    "duplicate": (
        "The record's partition accepted an event of this `event_id` within `dedupe` of event time."
        " So send an event again with the same record key."
    ),
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
#: Shown as a whole record; t-4711 is its key.
EXAMPLE: Final[Mapping[str, Any]] = {
    "event_id": "3f0c5a52-8d1e",
    "type": "ticket.closed",
    "occurred_at": "2026-01-05T10:42:00Z",
    "customer_id": "c-1042",
    "labels": {"channel": "chat", "region": "eu"},
    "ticket_id": "t-4711",
    "opened_at": "2026-01-05T09:30:00Z",
    "contacts": 2,
}
_EXAMPLE_TOPIC: Final = next(
    name for name, topic in TOPICS.items() if EVENT_TYPES[EXAMPLE["type"]] in topic.types
)
_COMMON: Final = {"type", *Event.__struct_fields__}
_ANY_TYPE: Final = {"type": "a name of those below", "description": "What has happened."}
#: What is said of a record key that is no field with an id.
_KEYS: Final = {"labels": "its `labels` as JSON, or whatever else is the same for the same labels"}
_FIELDS: Final = ("| field | required | values | meaning |", "| --- | --- | --- | --- |")


def events_page() -> str:
    """Topics, event types, fields and rules."""
    return "\n".join(_events()) + "\n"


def _events() -> Iterator[str]:
    yield from ("# Events", "", NOTE, "")
    yield (
        "One JSON object (UTF-8) per Kafka record. The topic is that of its `type`, the record key"
        " the id of what it tells of, so that all events of a ticket, say, share a partition. A"
        f" whole record of the topic `{_EXAMPLE_TOPIC}`, with the key `t-4711`:"
    )
    yield from ("", "```json", json.dumps(EXAMPLE, indent=2), "```", "")
    yield (
        "`null` in an optional field means absent, unknown fields are ignored, and a whole number"
        " may be written `1.0`. No number is beyond ±10¹², and sums take in 9 decimals of each."
        " Resolution times are compared at 9 decimals too."
        f" A record has at most {MOST_BYTES >> 20} MiB, and at most {MOST_LEVELS} objects and lists"
        " within one another, ignored ones too."
        " Half of a surrogate pair, such as `\\ud83d` where a text was cut in an emoji, does no"
        " harm in an unknown field, but gets the record refused in a field that its type has."
        " Write each name in an object once: of two values the last one counts, but the first may"
        " get the record refused. The JSON Schemas of `schemas/` say the same to machines."
        " `cxkpi replay --rejects - FILE` tries a file of such objects, one a line, without Kafka"
        " and says what is refused and why."
    )
    yield from ("", "## Every event", "", *_FIELDS, *_common())
    yield from ("", "## Outcomes", "")
    yield "Every record has exactly one, looked at in this order and counted in `cx_events_total`."
    yield from ("", "| outcome | meaning |", "| --- | --- |")
    for outcome in OUTCOMES:
        yield f"| `{outcome}` | {_OUTCOMES[outcome]} |"
    for topic in TOPICS.values():
        yield from ("", f"## `{topic.name}`")
        told: dict[str, str] = {}
        for kind in topic.types:
            yield from _event(kind, told)
    yield from ("", "## Rules across fields", "", "No JSON Schema of a field holds these.", "")
    yield from ("| types | field | rule |", "| --- | --- | --- |")
    for rule in rules_across_fields():
        types = ", ".join(f"`{t}`" for t in rule.types)
        yield f"| {types} | `{rule.path}` | {rule.text} |"


def _common() -> Iterator[str]:
    """The fields of every event, one of which some types need and others do not."""
    schemas = {kind.name: event_schema(kind) for kind in EVENT_TYPES.values()}
    for field, rule in _whole(next(iter(schemas.values()))):
        if field in _COMMON:
            needing = [name for name, schema in schemas.items() if field in schema["required"]]
            everywhere = len(needing) == len(schemas)
            required = "yes" if everywhere else ", ".join(f"for `{name}`" for name in needing)
            yield _row(field, _ANY_TYPE if field == "type" else rule, required)


def _event(kind: EventType, told: dict[str, str]) -> Iterator[str]:
    """A type and its own fields; ``told`` has the types of the topic by the rows of theirs."""
    schema = event_schema(kind)
    key = _KEYS.get(kind.key, f"`{kind.key}`")
    yield from ("", f"### `{kind.name}`", "", f"{schema['description']} Record key: {key}.", "")
    rows = [
        _row(field, rule, "yes" if field in schema["required"] else "")
        for field, rule in _whole(schema)
        if field not in _COMMON
    ]
    same = told.setdefault("\n".join(rows), kind.name)
    yield from (*_FIELDS, *rows) if same == kind.name else (f"Its fields are those of `{same}`.",)


def _row(field: str, rule: Mapping[str, Any], required: str) -> str:
    return f"| `{field}` | {required} | {_values(rule)} | {rule.get('description', '')} |"


def _whole(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The fields of a type, with what another place of the schema says of them put in."""
    for field, rule in schema["properties"].items():
        for condition in schema.get("allOf", []):
            if not rule.keys() - {"description"}:
                rule = {**rule, **condition["then"]["properties"].get(field, {})}
        choices = [_followed(choice, schema) for choice in rule.get("anyOf", [])]
        yield field, {**rule, "anyOf": choices} if choices else rule


def _followed(rule: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in rule:
        return rule
    found: Mapping[str, Any] = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    return found


def _values(rule: Mapping[str, Any]) -> str:
    """What a field may hold, in few words."""
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
        return whole + _limits(rule["minimum"], rule["maximum"])
    if kind == "object":
        return _object(rule)
    return {"boolean": "true or false"}.get(str(kind), str(kind))


def _limits(low: float, high: float) -> str:
    if high < LIMIT:
        return f" {low:g} to {high:g}"
    return "" if low == -LIMIT else f" from {low:g}"


def _object(rule: Mapping[str, Any]) -> str:
    if "properties" in rule:
        needed = rule["required"]
        named = (
            f"`{name}` ({_values(inner)}{', required' if name in needed else ''})"
            for name, inner in rule["properties"].items()
        )
        return "object: " + ", ".join(named)
    most = rule.get("maxProperties")
    names = "names" if most is None else f"up to {most} names"
    return f"object: {names}, each with a {_values(rule['additionalProperties'])}"
