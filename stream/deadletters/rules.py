"""Which rule a record broke, in words made from the schema that its event type is checked by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from stream.core.catalogue import EVENT_TYPES, TOPICS
from stream.core.decode import MOST_BYTES
from stream.core.event import CAPITALS, LIMIT
from stream.core.head import type_of
from stream.core.intake import FUTURE_MS
from stream.core.schema import event_schema, rules_across_fields
from stream.core.settings import SECOND
from stream.deadletters.letter import Letter

_WHOLE_RECORD: Final = (
    f"a record is one JSON object in UTF-8 of at most {MOST_BYTES} bytes, with a type that belongs"
    " to its topic"
)
_BY_OUTCOME: Final = {
    "future": f"occurred_at is at most {FUTURE_MS // SECOND} s ahead of the clock",
    "orphan": "an update needs the answer, and a reopening the close, that it refers to",
}
_TYPES: Final = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "an object",
    "array": "an array",
}


def rule(letter: Letter) -> str:
    """The rule in one line; empty where none is known, as of letters that are not our worker's."""
    if letter.outcome in _BY_OUTCOME:
        return _BY_OUTCOME[letter.outcome]
    if letter.field == "$":
        return _WHOLE_RECORD
    topic = TOPICS.get(letter.topic)
    if letter.field == "type" and topic is not None:
        return f"type is one of {', '.join(t.name for t in topic.types)}"
    kind = _kind(letter.value)
    return _rule_of_field(kind, letter.field) if kind else ""


def _kind(value: bytes | None) -> str | None:
    """The record's event type, where it can be read and is one."""
    kind = type_of(value or b"")
    return kind if isinstance(kind, str) and kind in EVENT_TYPES else None


def _rule_of_field(kind: str, path: str) -> str:
    schema = _schema(kind)
    name, _, below = path.partition(".")
    field = schema["properties"].get(name)
    if field is None:
        return ""
    member, need = (_below(schema, field, below)) if below else (field, _need(schema, name))
    said = [_words(member)]
    said += [
        f"{r.path} {r.text}"
        for r in rules_across_fields()
        if kind in r.types and r.path.partition(".")[0] == name
    ]
    description = str(field.get("description", "")).rstrip(".")
    rules = "; ".join(text for text in said if text)
    return f"{path}{need}: {rules}. {description}." if rules else f"{path}{need}: {description}."


def _need(schema: Mapping[str, Any], name: str) -> str:
    return " (required)" if name in schema.get("required", ()) else " (optional)"


@cache
def _schema(kind: str) -> dict[str, Any]:
    return event_schema(EVENT_TYPES[kind])


def _below(
    schema: Mapping[str, Any], field: dict[str, Any], name: str
) -> tuple[dict[str, Any], str]:
    """The schema of a member of a field, and whether it must be there, where there is a rule."""
    for one in _alternatives(schema, field):
        if name in one.get("properties", {}):
            return one["properties"][name], _need(one, name)
        if isinstance(one.get("additionalProperties"), dict):
            return one["additionalProperties"], ""
    return {}, ""


def _alternatives(schema: Mapping[str, Any], field: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be, save null."""
    options = []
    for option in field.get("anyOf", [field]):
        target = option.get("$ref", "").rpartition("/")[2]
        options.append(schema["$defs"][target] if target else option)
    return [o for o in options if o.get("type") != "null"]


def _words(field: dict[str, Any]) -> str:
    """What a value may be: ``a text of 1 to 128 characters``."""
    for option in field.get("anyOf", [field]):
        if option.get("type") != "null":
            return _constraints(option)
    return ""


def _constraints(option: dict[str, Any]) -> str:
    if "enum" in option:
        return f"one of {', '.join(map(str, option['enum']))}"
    if option.get("format") == "date-time":
        return "an RFC 3339 date-time with seconds and offset"
    if option.get("pattern") == CAPITALS:
        return "three capitals"
    kind = _TYPES.get(str(option.get("type")), "")
    if option.get("multipleOf") == 1:
        kind = "a whole number"
    low, high = option.get("minimum"), option.get("maximum")
    if high is not None and high >= LIMIT:
        high = None
    if low is not None and low <= -LIMIT:
        low = None
    if low is not None and high is not None:
        kind += f" from {_number(low)} to {_number(high)}"
    elif low is not None:
        kind += f", at least {_number(low)}"
    if "maxLength" in option:
        kind += f" of {option.get('minLength', 0)} to {option['maxLength']} characters"
    if "maxProperties" in option:
        kind += f" of at most {option['maxProperties']} entries"
    return kind


def _number(value: float) -> str:
    return json.dumps(int(value) if value == int(value) else value)
