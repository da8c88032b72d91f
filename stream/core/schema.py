"""JSON Schemas (2020-12) of the event types, made from the structs that decode them."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple, get_args

import msgspec
from msgspec import NODEFAULT, Meta

from stream.core.catalogue import EVENT_TYPES
from stream.core.event import Event, EventType
from stream.core.labels import MAX_ENTRIES, Value
from stream.core.timestamps import PATTERN

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_LabelsObject = Annotated[dict[str, Value | None], Meta(max_length=MAX_ENTRIES)] | None
#: The meaning of the field that msgspec adds.
_TYPE: Final = "The event type."


class RuleAcrossFields(NamedTuple):
    """A line of the table of rules that compare fields: ``path`` in ``types`` ``text``."""

    types: tuple[str, ...]
    path: str
    text: str


def rules_across_fields() -> list[RuleAcrossFields]:
    """All rules that no schema of a single field holds, in the order of the topics."""
    types: dict[tuple[str, str], list[str]] = {}
    for event_type in EVENT_TYPES.values():
        for rule in event_type.rules:
            types.setdefault((rule.path, rule.text), []).append(event_type.name)
    return [RuleAcrossFields(tuple(names), *rule) for rule, names in types.items()]


def event_schemas() -> dict[str, dict[str, Any]]:
    """The schema of every event type, by its name."""
    return {event_type.name: event_schema(event_type) for event_type in EVENT_TYPES.values()}


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
        "properties": _properties(body["properties"]),
    }
    conditions = [dict(found) for rule in event_type.rules for found in rule.schemas]
    if conditions:
        schema["allOf"] = conditions
    if definitions:
        schema["$defs"] = definitions
    return schema


def _readable(struct: type[Event]) -> type[msgspec.Struct]:
    """The struct with the fields that are kept raw as what they hold."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        if field.default is NODEFAULT:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, _held(field), _left_out(field)))
    config = struct.__struct_config__
    return msgspec.defstruct(
        struct.__name__, fields, kw_only=True, tag_field=config.tag_field, tag=config.tag
    )


def _held(field: msgspec.structs.FieldInfo) -> Any:
    """What a field holds; of one that is kept raw and not read as labels, the rules say more."""
    raw, *notes = get_args(field.type) or (field.type,)
    if raw is not msgspec.Raw:
        return field.type
    held = _LabelsObject if field.name == "labels" else Any
    return Annotated[(held, *notes)]


def _left_out(field: msgspec.structs.FieldInfo) -> Any:
    """What a field stands for where it is left out; None: for nothing."""
    notes = (note for note in get_args(field.type) if isinstance(note, Meta))
    defaults = ((note.extra_json_schema or {}).get("default") for note in notes)
    return next((default for default in defaults if default is not None), None)


def _properties(properties: dict[str, Any]) -> dict[str, Any]:
    """The properties, what they mean first, and the fields of every event before the others."""
    first = ("event_id", "type", "occurred_at", "customer_id", "labels")
    names = [*first, *(name for name in properties if name not in first)]
    described: dict[str, Any] = {}
    for name in names:
        schema = dict(properties[name])
        meaning, default = schema.pop("description", _TYPE), schema.pop("default", None)
        described[name] = {"description": meaning, **_with_pattern(schema)}
        if default is not None:
            described[name]["default"] = default
    return described


def _with_pattern(schema: dict[str, Any]) -> dict[str, Any]:
    """Date-times with their pattern, as ``format`` is an annotation to many validators."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_with_pattern(s) for s in schema["anyOf"]]}
    if schema.get("format") == "date-time":
        return {**schema, "pattern": PATTERN}
    return schema
