"""Bytes of records to events, bad ones apart with their reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, reduce
from itertools import chain
from operator import attrgetter, or_
from typing import Annotated, Any, Final, Literal, NamedTuple, cast, get_args, get_origin

import msgspec
import numpy as np
from msgspec import Meta

from stream.core.catalogue import EVENT_TYPES, TOPIC_OF_TYPE, TOPICS
from stream.core.errors import UNREADABLE
from stream.core.event import Event, EventType, FieldRule, Invalid, Refused
from stream.core.halves import both_without_halves, without_halves
from stream.core.head import kind_of
from stream.core.integers import Ints
from stream.core.labels import LabelCache, LabelColumn
from stream.core.nesting import MOST_LEVELS, is_too_deep
from stream.core.timestamps import parse, parse_all

#: Texts that were found to be three capitals (26³ at most), and no currency at all.
_CURRENCIES: Final[set[str | None]] = {None}


def _check_currency(event: Any, at: int) -> str | None:
    currency = event.currency
    if currency in _CURRENCIES:
        return None
    if not (currency.isascii() and currency.isalpha() and currency.isupper()):
        return "must be three capitals"
    _CURRENCIES.add(currency)
    return None


_CURRENCY_RULE: Final = FieldRule("currency", "is three capitals", _check_currency)
_currency_of: Final = attrgetter("currency")


class _Kind(NamedTuple):
    """How events of a type are checked: at once where that is quick, or rule by rule."""

    number: int
    struct: type[Event]
    has_currency: bool
    #: The rules that msgspec doesn't check, cheaply or at all.
    rules: tuple[FieldRule, ...]
    hold: Callable[[Sequence[Any], Ints], Ints | bool] | None

    def judge(self, events: Sequence[Any], at: Ints) -> Ints | bool:
        """False where it is not certain that all events keep to the rules; see ``hold``."""
        if self.has_currency and not _CURRENCIES.issuperset(map(_currency_of, events)):
            return False
        if self.hold is not None:
            return self.hold(events, at)
        return self.rules in ((), (_CURRENCY_RULE,))


def _kind(number: int, event_type: EventType) -> _Kind:
    has_currency = "currency" in event_type.struct.__struct_fields__
    rules = (_CURRENCY_RULE, *event_type.rules) if has_currency else event_type.rules
    return _Kind(number, event_type.struct, has_currency, rules, event_type.hold)


#: The event types in the order of the catalogue.
_KINDS: Final = tuple(
    _kind(number, event_type) for number, event_type in enumerate(EVENT_TYPES.values())
)
_NUMBERS: Final[dict[type, int]] = {kind.struct: kind.number for kind in _KINDS} | {Invalid: -1}

#: A record has at most so many bytes: what it takes to read one follows from them, and a batch of
#: a few kilobytes may unpack to records of tens of millions.
MOST_BYTES: Final = 4 << 20

_HALF: Final = "has half of a surrogate pair, which is no character"
_TOO_LARGE: Final = Invalid("$", f"has more than {MOST_BYTES} bytes")
_TOO_DEEP: Final = Invalid("$", f"has more than {MOST_LEVELS} objects and lists within one another")

_LONGEST_REASON: Final = 200
_LONGEST_SHOWN: Final = 64


class Group(NamedTuple):
    """The events of one type in a chunk, in its order, and their places in it.

    ``judged``: what was found out of each when they were checked, for types where that is kept.
    """

    struct: type[Event]
    places: Ints
    events: Sequence[Any]
    judged: Ints | None = None


class Decoded(NamedTuple):
    """What a chunk of records says, in its order.

    ``at`` is ``occurred_at`` in ms. Where the record is invalid, ``at`` is 0 and ``labels`` are
    ``NO_LABELS``. ``groups`` hold the valid events.
    """

    events: list[Event | Invalid]
    at: Ints
    labels: LabelColumn
    groups: list[Group]


class _NoType(msgspec.Struct, tag_field="type", tag=""):
    """Makes every topic a union, as msgspec demands ``type`` only where there is a choice.

    No record can be one: no number meets the demand.
    """

    never: Annotated[float, Meta(ge=1, le=0)]


class Decoder:
    """Decodes and checks the records of one topic, or (``topic`` None) of all.

    ``labels``: a cache that it shares with the decoders of other topics.
    """

    def __init__(self, topic: str | None, labels: LabelCache | None = None) -> None:
        types = EVENT_TYPES.values() if topic is None else TOPICS[topic].types
        structs = [event_type.struct for event_type in types]
        union: Any = reduce(or_, structs, _NoType)
        self._topic = topic
        self._decode: Callable[[Any], Event] = msgspec.json.Decoder(union).decode
        self._labels = LabelCache() if labels is None else labels

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a chunk. Whatever a record holds, it raises nothing: the event is ``Invalid``.

        Raises:
            MemoryError: memory is short, which says nothing of the record.
        """
        longest = max(map(len, filter(None, values)), default=0)
        if longest > MOST_BYTES:
            return self._decode_small(values)
        events: list[Event | Invalid] = []
        decoded = map(self._decode, iter(values))
        while len(events) < len(values):
            try:
                # What came before an exception stays, and the iterator goes on behind it.
                events.extend(decoded)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - a record must never stop the others.
                events.append(self._read_again(values[len(events)], error))
        _refuse_other_encodings(values, events)
        if longest > MOST_LEVELS:
            _refuse_deep(values, events)
        groups = _by_type(events)
        at = np.zeros(len(events), dtype=np.int64)
        labels = np.zeros(len(events), dtype=np.int64)
        self._labels.make_room()
        if sum(len(group.events) for group in groups) == len(events):
            refused = self._read_common(events, range(len(events)), at, labels)
        else:
            valid = [i for i, event in enumerate(events) if event.__class__ is not Invalid]
            refused = self._read_common([events[i] for i in valid], valid, at, labels)
        for number, group in enumerate(groups):
            kind = _KINDS[_NUMBERS[group.struct]]
            judged = kind.judge(group.events, at[group.places])
            if judged is False:
                _apply_each(kind.rules, group, at, refused)
            elif judged is not True:
                groups[number] = group._replace(judged=judged)
        if refused:
            for place, invalid in refused.items():
                events[place], at[place], labels[place] = invalid, 0, 0
            groups = _by_type(events)
        return Decoded(events, at, LabelColumn(labels, self._labels.sets), groups)

    def _decode_small(self, values: Sequence[bytes | None]) -> Decoded:
        """The same where some are too large, which are not looked into."""
        is_large = [value is not None and len(value) > MOST_BYTES for value in values]
        decoded = self.decode(
            [None if large else value for value, large in zip(values, is_large, strict=True)]
        )
        for place, large in enumerate(is_large):
            if large:
                decoded.events[place] = _TOO_LARGE
        return decoded

    def valid(self, value: bytes | None) -> Event:
        """The event of a record that ``decode`` has found valid."""
        try:
            return self._decode(value)
        except UNREADABLE:
            return self._decode(without_halves(value or b""))

    def _read_again(self, value: bytes | None, error: Exception) -> Event | Invalid:
        """The event of a record that can't be read only for halves that are ignored, or why not.

        Raises:
            MemoryError: memory is short, which says nothing of the record.
        """
        first, second = both_without_halves(value or b"")
        if first == second:
            return _explain(value, error, self._topic)
        try:
            event, other = self._decode(first), self._decode(second)
        except MemoryError:
            raise
        except Exception as reason:  # noqa: BLE001 - a record must never stop the others.
            return _explain(first, reason, self._topic)
        for field in event.__struct_fields__:
            if getattr(event, field) != getattr(other, field):
                return Invalid(field, _HALF)
        return event

    def _read_common(
        self, events: list[Any], places: Sequence[int], at: Ints, labels: Ints
    ) -> dict[int, Invalid]:
        """Fill in times and numbers of labels at the events' places; those refused, by place."""
        try:
            times = parse_all([event.occurred_at for event in events])
            numbers = self._labels.numbers([event.labels for event in events])
        except Refused:
            return self._read_each(events, places, at, labels)
        if len(events) == at.size:
            at[:], labels[:] = times, numbers
        else:
            at[places], labels[places] = times, numbers
        return {}

    def _read_each(
        self, events: list[Any], places: Sequence[int], at: Ints, labels: Ints
    ) -> dict[int, Invalid]:
        """The same where some can't be read."""
        refused: dict[int, Invalid] = {}
        for place, event in zip(places, events, strict=True):
            try:
                at[place] = parse(event.occurred_at)
                labels[place] = self._labels.number(event.labels)
            except Refused as error:
                refused[place] = _invalid(error.path or "occurred_at", str(error))
        return refused


def _by_type(events: Sequence[Event | Invalid]) -> list[Group]:
    """The valid events of each type."""
    kinds = list(map(type, events))
    if len(set(kinds)) == 1:
        if kinds[0] is Invalid:
            return []
        return [Group(cast("type[Event]", kinds[0]), np.arange(len(events)), events)]
    numbers = np.fromiter(map(_NUMBERS.__getitem__, kinds), dtype=np.int8, count=len(kinds))
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(-1, len(_KINDS)), side="right").tolist()
    groups = []
    for kind, start, end in zip(_KINDS, ends, ends[1:], strict=False):
        if start < end:
            places = order[start:end]
            groups.append(Group(kind.struct, places, [events[i] for i in places.tolist()]))
    return groups


def _apply_each(
    rules: tuple[FieldRule, ...], group: Group, at: Ints, refused: dict[int, Invalid]
) -> None:
    """Note the events that break a rule and were not refused for something else."""
    for place, event in zip(group.places.tolist(), group.events, strict=True):
        if place not in refused:
            try:
                _apply(rules, event, int(at[place]))
            except Refused as error:
                refused[place] = _invalid(error.path or "occurred_at", str(error))


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
    if all(map(bytes.isascii, filter(None, values))):
        return
    for index, value in enumerate(values):
        if value is not None and not value.isascii():
            try:
                value.decode()
            except UnicodeDecodeError:
                events[index] = Invalid("$", "is not UTF-8")


def _refuse_deep(values: Sequence[bytes | None], events: list[Event | Invalid]) -> None:
    """What is nested too deeply is refused, however much of a stack this process has left."""
    for index, value in enumerate(values):
        if value is not None and len(value) > MOST_LEVELS and is_too_deep(value):
            events[index] = _TOO_DEEP


def _invalid(path: str, reason: str) -> Invalid:
    return Invalid(path, reason[:_LONGEST_REASON])


def _explain(value: bytes | None, error: Exception, topic: str | None) -> Invalid:
    """Why msgspec refused a record, in words that don't ask for knowledge of Python."""
    if not value or value.isspace():
        return Invalid("$", "is empty")
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    if isinstance(error, UnicodeDecodeError):
        return Invalid("$", "is not UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        return _invalid("$", f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}")
    try:
        kind = kind_of(value)
    except msgspec.ValidationError:
        return Invalid("$", "is not a JSON object")
    except UNREADABLE as unreadable:
        return _explain(value, unreadable, topic)
    return _explain_type(kind, topic) or _explain_field(str(error), kind)


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


def _explain_field(message: str, kind: str) -> Invalid:
    """Turn msgspec's message on an event of the type ``kind`` into path and reason."""
    place = _PLACE.search(message)
    path = place[1] if place else ""
    text = message[: place.start()] if place else message
    if missing := _MISSING.fullmatch(text):
        return Invalid(f"{path}.{missing[1]}".lstrip("."), "is required")
    if text.startswith("Invalid enum value"):
        text = f"is none of {', '.join(_values(kind).get(path, ('the allowed values',)))}"
    for theirs, ours in _PLAIN_WORDS:
        text = text.replace(theirs, ours)
    text = _WHOLE.sub(r"\1", text)
    return _invalid(path or "$", text[:1].lower() + text[1:])


@cache
def _values(kind: str) -> dict[str, tuple[str, ...]]:
    """The values that may stand in a field, of those of an event type that have few of them."""
    fields = msgspec.structs.fields(EVENT_TYPES[kind].struct)
    return {field.encode_name: values for field in fields if (values := _choice(field.type))}


def _choice(kind: Any) -> tuple[str, ...]:
    """The values of a ``Literal``, however it is wrapped up with descriptions."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(chain.from_iterable(map(_choice, get_args(kind))))
