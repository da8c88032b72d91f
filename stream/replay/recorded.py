"""Where a recorded line belongs: topic and key; and how its times are moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar, get_args

import msgspec
import orjson

from stream.config.errors import suggestion
from stream.core.catalogue import EVENT_TYPES, TOPIC_OF_TYPE
from stream.core.errors import DeadLetterError
from stream.core.event import Refused, Timestamp
from stream.core.halves import without_halves
from stream.core.labels import LabelCache
from stream.core.timestamps import format_ms, parse


def _holds_time(kind: Any) -> bool:
    """Whether a field's type is that of a time, however it is wrapped up with descriptions."""
    parts = get_args(kind)
    return get_args(Timestamp)[1] in parts or any(map(_holds_time, parts))


#: The fields that hold a time.
TIMES: Final = tuple(
    dict.fromkeys(
        field.name
        for kind in EVENT_TYPES.values()
        for field in msgspec.structs.fields(kind.struct)
        if _holds_time(field.type)
    )
)

#: The key of types whose entity is a set of labels.
_LABELS_KEY: Final = "labels"
_LABELS: Final = LabelCache()
_LONGEST_SHOWN: Final = 64

_Made = TypeVar("_Made")


class Unsendable(DeadLetterError):
    """A line belongs to no topic; the message says why."""


class Addressed(NamedTuple):
    """A line with its address; ``key`` is None where the entity can't be read."""

    topic: str
    key: bytes | None
    value: bytes


def address(line: bytes, shift: int = 0) -> Addressed:
    """The topic by the type, the key by the entity, and all times ``shift`` ms later.

    Whether the event is valid is not looked at: that is the worker's decision. Without a shift the
    line stays as it is, byte by byte.

    Raises:
        Unsendable: the line is blank, not JSON, of no known type, or too deep to be shifted.
    """
    if not line or line.isspace():
        raise Unsendable("a blank line")
    try:
        event = orjson.loads(without_halves(line))
    except orjson.JSONDecodeError as error:
        if not _is_utf8(line):
            raise Unsendable("is not UTF-8") from None
        raise Unsendable(f"not JSON: {error.msg} (column {error.colno})") from None
    kind = event.get("type") if isinstance(event, dict) else None
    topic = TOPIC_OF_TYPE.get(kind) if isinstance(kind, str) else None
    if topic is None:
        raise Unsendable("no event type" if kind is None else _no_type(str(kind)[:_LONGEST_SHOWN]))
    if shift:
        line = _shifted(line, event, shift)
    return Addressed(topic, _key(event, EVENT_TYPES[str(kind)].key), line)


@lru_cache(64)
def _no_type(kind: str) -> str:
    """What is said of a type that there is none of; often it is the same one in many lines."""
    return f"no event type: {kind!r}; {suggestion(kind, EVENT_TYPES)}"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _key(event: dict[str, Any], field: str) -> bytes | None:
    if field == _LABELS_KEY:
        try:
            return _LABELS.read(orjson.dumps(event.get("labels"))).key
        except Refused:
            return None
    entity = event.get(field)
    return entity.encode() if isinstance(entity, str) and entity else None


def _shifted(line: bytes, event: dict[str, Any], shift: int) -> bytes:
    whole = without_halves(line) is line
    if not whole:
        # Only this reader keeps halves, by which the worker refuses what it reads of them.
        event = _deep(lambda: json.loads(line))
    for field in TIMES:
        text = event.get(field)
        if isinstance(text, str):
            try:
                event[field] = format_ms(parse(text) + shift)
            except Refused:
                continue  # What can't be read stays, so that the worker says so.
    return orjson.dumps(event) if whole else _deep(lambda: json.dumps(event).encode())


def _deep(made: Callable[[], _Made]) -> _Made:
    """What is made of an event, which may have more levels than the library goes down."""
    try:
        return made()
    except RecursionError:
        raise Unsendable("is nested too deeply") from None
