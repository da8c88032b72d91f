"""Bytes of records to events, bad ones apart with their reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, NamedTuple, cast

import msgspec
from msgspec import Meta

from stream.core.catalogue import TOPICS
from stream.core.event import Event, EventType, FieldRule, Invalid, Refused
from stream.core.labels import NO_LABELS, LabelCache, Labels
from stream.core.timestamps import parse

#: The event types of each topic, by its name without prefix.
TYPES_BY_TOPIC: Final = {topic.name: topic.types for topic in TOPICS.values()}
#: The topic of each event type, by the type's name.
TOPIC_OF_TYPE: Final = {
    event_type.name: topic for topic, types in TYPES_BY_TOPIC.items() for event_type in types
}


def _check_currency(event: Any, at: int) -> str | None:
    currency = event.currency
    if currency is None or currency in _CURRENCIES:
        return None
    if not (currency.isascii() and currency.isalpha() and currency.isupper()):
        return "must be three capitals"
    _CURRENCIES.add(currency)
    return None


#: Texts that were found to be three capitals: 26³ at most.
_CURRENCIES: Final[set[str]] = set()
_CURRENCY_RULE: Final = FieldRule("currency", "is three capitals", _check_currency)


def _rules(event_type: EventType) -> tuple[FieldRule, ...]:
    """The rules that msgspec doesn't check, cheaply or at all."""
    has_currency = "currency" in event_type.struct.__struct_fields__
    return (_CURRENCY_RULE, *event_type.rules) if has_currency else event_type.rules


_RULES: Final[dict[type[Any], tuple[FieldRule, ...]]] = {
    event_type.struct: _rules(event_type)
    for types in TYPES_BY_TOPIC.values()
    for event_type in types
}
_CHECKS: Final = {struct: tuple(r.check for r in rules) for struct, rules in _RULES.items()}

_LONGEST_REASON: Final = 200
_LONGEST_SHOWN: Final = 64


class Decoded(NamedTuple):
    """What a chunk of records says, in its order; parallel lists.

    ``at`` is ``occurred_at`` in ms. Where the record is invalid, ``at`` is 0 and ``labels`` are
    ``NO_LABELS``.
    """

    events: list[Event | Invalid]
    at: list[int]
    labels: list[Labels]


class _NoType(msgspec.Struct, tag_field="type", tag=""):
    """Makes every topic a union, as msgspec demands ``type`` only where there is a choice.

    No record can be one: no number meets the demand.
    """

    never: Annotated[float, Meta(ge=1, le=0)]


class _Head(msgspec.Struct):
    """The fields that are looked at when a record is invalid."""

    type: Any = None
    occurred_at: Any = None


#: What msgspec raises on bad input.
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_read_head: Final = msgspec.json.Decoder(_Head).decode


class Decoder:
    """Decodes and checks the records of one topic, or (``topic`` None) of all.

    Labels are interned, and repeated ones cost a look-up in a cache of ``label_cache`` sets.
    """

    def __init__(self, topic: str | None, label_cache: int = 10_000) -> None:
        topics = TYPES_BY_TOPIC if topic is None else (topic,)
        structs = [t.struct for name in topics for t in TYPES_BY_TOPIC[name]]
        union: Any = reduce(or_, structs, _NoType)
        self._topic = topic
        self._decode: Callable[[Any], Event] = msgspec.json.Decoder(union).decode
        self._read_labels = LabelCache(label_cache).read_bytes

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a chunk. Whatever a record holds, it raises nothing: the event is ``Invalid``."""
        events: list[Event | Invalid] = []
        decoded = map(self._decode, iter(values))
        while len(events) < len(values):
            try:
                # What came before an exception stays, and the iterator goes on behind it.
                events.extend(decoded)
            except Exception as error:  # noqa: BLE001 - a record must never stop the others.
                events.append(_explain(values[len(events)], error, self._topic))
        _refuse_other_encodings(values, events)
        return self._check_all(events) or self._check_each(events)

    def _check_all(self, events: list[Any]) -> Decoded | None:
        """Read times and labels and apply the rules; None where any event breaks one."""
        read_labels = self._read_labels
        try:
            at = [parse(event.occurred_at) for event in events]
            labels = [read_labels(bytes(event.labels)) for event in events]
            for event, time in zip(events, at, strict=True):
                for check in _CHECKS[event.__class__]:
                    if check(event, time) is not None:
                        return None
        except (Refused, AttributeError):  # An ``Invalid`` lacks the attributes.
            return None
        return Decoded(events, at, labels)

    def _check_each(self, events: list[Event | Invalid]) -> Decoded:
        """The same where some break rules: these become ``Invalid``."""
        at: list[int] = []
        labels: list[Labels] = []
        for index, event in enumerate(events):
            time, read = 0, NO_LABELS
            if not isinstance(event, Invalid):
                try:
                    time, read = self._check(event)
                except Refused as refused:
                    events[index] = _invalid(refused.path or "occurred_at", str(refused))
            at.append(time)
            labels.append(read)
        return Decoded(events, at, labels)

    def _check(self, event: Event) -> tuple[int, Labels]:
        time = parse(event.occurred_at)
        labels = self._read_labels(bytes(event.labels))
        _apply(_RULES[event.__class__], event, time)
        return time, labels


def _apply(rules: tuple[FieldRule, ...], event: Event, at: int) -> None:
    """Raise ``Refused``, with the path, where the event breaks a rule."""
    for rule in rules:
        try:
            wrong = rule.check(event, at)
        except Refused as refused:
            raise Refused(str(refused), refused.path or rule.path) from None
        if wrong is not None:
            raise Refused(wrong, rule.path)


def _refuse_other_encodings(values: Sequence[bytes | None], events: list[Event | Invalid]) -> None:
    """JSON is UTF-8, also in the fields that the decoder skips without a look."""
    if None not in values and all(map(bytes.isascii, cast("Sequence[bytes]", values))):
        return
    for index, value in enumerate(values):
        if value is not None and not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError:
                events[index] = Invalid("$", "is not UTF-8")


def _invalid(path: str, reason: str) -> Invalid:
    return Invalid(path, reason[:_LONGEST_REASON])


def _explain(value: bytes | None, error: Exception, topic: str | None) -> Invalid:
    """Why msgspec refused a record, in words that don't ask for knowledge of Python."""
    if not value or value.isspace():
        return Invalid("$", "is empty")
    if isinstance(error, RecursionError):
        return Invalid("$", "is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return Invalid("$", "is not UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        return _invalid("$", f"is not JSON: {error}")
    try:
        kind = _read_head(value).type
    except _UNREADABLE:
        return Invalid("$", "is not a JSON object")
    return _explain_type(kind, topic) or _explain_field(str(error))


def _explain_type(kind: Any, topic: str | None) -> Invalid | None:
    if kind is None:
        return Invalid("type", "is required")
    if not isinstance(kind, str):
        return Invalid("type", "must be a text")
    home = TOPIC_OF_TYPE.get(kind)
    if home is None:
        return Invalid("type", f"is no event type: {kind[:_LONGEST_SHOWN]!r}")
    if topic is not None and home != topic:
        return Invalid("type", f"{kind} belongs to topic {home}")
    return None


_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_WHOLE: Final = re.compile(r"(\d)\.0\b")
_PLAIN_WORDS: Final = (
    (" that's a multiple of 1.0", " that is whole"),
    ("`float | null`", "a number or null"),
    ("`str | null`", "a text or null"),
    ("`bool | null`", "true, false or null"),
    ("`object | null`", "an object or null"),
    ("`float`", "a number"),
    ("`int`", "a number"),
    ("`str`", "a text"),
    ("got `bool`", "got a boolean"),
    ("`bool`", "true or false"),
    ("`object`", "an object"),
    ("`array`", "an array"),
    ("`null`", "null"),
)


def _explain_field(message: str) -> Invalid:
    """Turn msgspec's message into path and reason."""
    place = _PLACE.search(message)
    path = place[1] if place else ""
    text = message[: place.start()] if place else message
    if missing := _MISSING.fullmatch(text):
        return Invalid(f"{path}.{missing[1]}".lstrip("."), "is required")
    if text.startswith("Invalid enum value"):
        text = "is none of the allowed values"
    for theirs, ours in _PLAIN_WORDS:
        text = text.replace(theirs, ours)
    text = _WHOLE.sub(r"\1", text)
    return _invalid(path or "$", text[:1].lower() + text[1:])


def occurred_at(value: bytes) -> int | None:
    """``occurred_at`` in ms of a record that may be invalid otherwise; None where unreadable."""
    try:
        return parse(_read_head(value).occurred_at)
    except (*_UNREADABLE, TypeError, Refused):
        return None
