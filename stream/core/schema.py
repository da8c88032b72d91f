"""JSON Schemas (2020-12) of the event types, made from the structs that decode them."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import NODEFAULT, Meta

from stream.core.decode import TYPES_BY_TOPIC
from stream.core.event import LIMIT, Event, EventType
from stream.core.labels import MAX_ENTRIES, Value
from stream.core.timestamps import PATTERN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

#: What a field means, by its name; a longer name with the event type is looked up first.
DESCRIPTIONS: Final[dict[str, str]] = {
    "type": "The event type.",
    "event_id": "Unique per event of a topic; a repeated one is a duplicate.",
    "occurred_at": "When it happened: RFC 3339 with seconds and offset, kept to milliseconds.",
    "customer_id": "The customer.",
    "labels": "Names and values to group by; a label that is null is absent.",
    "response_id": "The answer to a survey; an update replaces the earlier answer of this id.",
    "survey": "The kind of survey.",
    "score": "The score that was given, on the scale.",
    "scale": "The least and the greatest score; by default 0 to 10 for nps and emotion, 1 to 5 for "
    "csat and css, 1 to 7 for ces.",
    "emotions": "Emotions by name and how strong they were, on the scale.",
    "sentiment": "The sentiment of the text, from -1 (bad) to 1 (good).",
    "ticket_id": "The ticket.",
    "opened_at": "When the ticket was opened: RFC 3339 with seconds and offset.",
    "contacts": "How often the customer had to get in touch.",
    "reopens": "How often the ticket was opened again before.",
    "excluded_seconds": "Seconds that do not count: bot, waiting, off-hours.",
    "resolved": "Whether the ticket was resolved.",
    "automated": "Whether it was answered without a person.",
    "first_response_seconds": "Seconds until the first response.",
    "cart_id": "The cart.",
    "value": "What the cart is worth.",
    "customer.signal.value": "The measure, from 0 (bad) to 100 (good).",
    "currency": "ISO 4217 code, three capitals.",
    "active": "All subscriptions active at occurred_at with exactly these labels.",
    "subscription_id": "The subscription.",
    "amount": "What is paid.",
    "upsell_amount": "The part of the amount that is upsell.",
    "plan": "The plan.",
    "started_at": "When the subscription began, used where its start was never seen: RFC 3339 with "
    "seconds and offset.",
    "reason": "Why it was cancelled.",
    "visit_id": "The visit.",
    "pages": "How many pages were seen.",
    "converted": "Whether the visit led to a purchase.",
    "new_customer": "Whether the visit won a new customer.",
    "signal": "What was measured.",
}

#: What an absent optional field stands for.
DEFAULTS: Final[dict[str, Any]] = {
    "contacts": 1,
    "reopens": 0,
    "excluded_seconds": 0,
    "resolved": True,
    "automated": False,
    "pages": 1,
    "converted": False,
    "new_customer": False,
}

_LabelsObject = Annotated[dict[str, Value | None], Meta(max_length=MAX_ENTRIES)] | None
#: What the decoder reads itself, by name of the field.
_READ_APART: Final[dict[str, Any]] = {"labels": _LabelsObject, "emotions": Any}

_NUMBER: Final = {"type": "number", "minimum": -LIMIT, "maximum": LIMIT}
_INTENSITIES: Final = {"type": "object", "minProperties": 1, "additionalProperties": _NUMBER}


def _having(field: str, kind: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"type": kind}}}


_ANSWER_CONDITIONS: Final = [
    {
        "if": {"properties": {"survey": {"const": "emotion"}}},
        "then": {"required": ["emotions"], "properties": {"emotions": _INTENSITIES}},
        "else": _having("score", "number"),
    }
]
_PAYMENT_CONDITIONS: Final = [
    {"if": _having("amount", "number"), "then": _having("currency", "string")},
    {"if": _having("upsell_amount", "number"), "then": _having("amount", "number")},
]
#: The rules across fields that JSON Schema can express, by the field of the rule; of the others
#: the description speaks.
_CONDITIONS: Final[dict[str, list[dict[str, Any]]]] = {
    "emotions": _ANSWER_CONDITIONS,
    "upsell_amount": _PAYMENT_CONDITIONS,
}


class RuleAcrossFields(NamedTuple):
    """A line of the table of rules that compare fields: ``path`` in ``types`` ``text``."""

    types: tuple[str, ...]
    path: str
    text: str


def rules_across_fields() -> list[RuleAcrossFields]:
    """All rules that no schema of a single field holds, in the order of the topics."""
    types: dict[tuple[str, str], list[str]] = {}
    for event_type in _event_types():
        for rule in event_type.rules:
            types.setdefault((rule.path, rule.text), []).append(event_type.name)
    return [RuleAcrossFields(tuple(names), *rule) for rule, names in types.items()]


def event_schemas() -> dict[str, dict[str, Any]]:
    """The schema of every event type, by its name."""
    return {event_type.name: event_schema(event_type) for event_type in _event_types()}


def event_schema(event_type: EventType) -> dict[str, Any]:
    """The schema of one event type: all rules of a single field, and the rest in words."""
    built = msgspec.json.schema(_readable(event_type.struct))
    definitions = built["$defs"]
    body = definitions.pop(event_type.struct.__name__)
    rules = [f"{rule.path} {rule.text}" for rule in event_type.rules]
    doc = (event_type.struct.__doc__ or "").strip()
    schema = {
        "$schema": DIALECT,
        "$id": f"urn:cxkpi:schema:{event_type.name}",
        "title": event_type.name,
        "description": " ".join([doc, *(f"{rule}." for rule in rules)]),
        "type": "object",
        "required": sorted(body["required"]),
        "properties": _properties(event_type.name, body["properties"]),
    }
    conditions = [c for rule in event_type.rules for c in _CONDITIONS.get(rule.path, [])]
    if conditions:
        schema["allOf"] = conditions
    if definitions:
        schema["$defs"] = definitions
    return schema


def _event_types() -> list[EventType]:
    return [event_type for types in TYPES_BY_TOPIC.values() for event_type in types]


def _readable(struct: type[Event]) -> type[msgspec.Struct]:
    """The struct with the fields that are kept raw as what they hold."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        if field.default is NODEFAULT:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, _READ_APART.get(field.name, field.type), None))
    config = struct.__struct_config__
    return msgspec.defstruct(
        struct.__name__, fields, kw_only=True, tag_field=config.tag_field, tag=config.tag
    )


def _properties(type_name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties with descriptions and defaults, the fields of every event first."""
    first = ("event_id", "type", "occurred_at", "customer_id", "labels")
    names = [*first, *(name for name in properties if name not in first)]
    described: dict[str, Any] = {}
    for name in names:
        schema = dict(properties[name])
        schema.pop("default", None)
        if name in DEFAULTS:
            schema["default"] = DEFAULTS[name]
        text = DESCRIPTIONS.get(f"{type_name}.{name}", DESCRIPTIONS[name])
        described[name] = {"description": text, **_with_pattern(schema)}
    return described


def _with_pattern(schema: dict[str, Any]) -> dict[str, Any]:
    """Date-times with their pattern, as ``format`` is an annotation to many validators."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_with_pattern(s) for s in schema["anyOf"]]}
    if schema.get("format") == "date-time":
        return {**schema, "pattern": PATTERN}
    return schema
