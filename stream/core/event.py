"""What all events have in common: the fields, the outcomes and the description of a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from stream.core.errors import DeadLetterError
from stream.core.integers import Ints

#: The outcomes of a record, in the order of the checks.
Outcome = Literal["invalid", "duplicate", "future", "late", "orphan", "accepted"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: Outcomes whose records go to the dead letters.
DEAD_LETTER_OUTCOMES: frozenset[Outcome] = frozenset({"invalid", "future", "orphan"})

#: No number of an event is beyond this.
LIMIT = 1e12

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Number = Annotated[float, Meta(ge=-LIMIT, le=LIMIT)]
Amount = Annotated[float, Meta(ge=0, le=LIMIT)]
#: Whole numbers are read as floats, since JSON may write 3 as 3.0; all are below 2**53.
Count = Annotated[float, Meta(ge=0, le=LIMIT, multiple_of=1)]
Positive = Annotated[float, Meta(ge=1, le=LIMIT, multiple_of=1)]
Sentiment = Annotated[float, Meta(ge=-1, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
#: Three of them.
CAPITALS = "^[A-Z]{3}$"
#: Three capitals. ``decode`` checks that they are, as msgspec's patterns cost as much as an event.
Currency = Annotated[str, Meta(min_length=3, max_length=3, extra_json_schema={"pattern": CAPITALS})]
#: RFC 3339 date-time with seconds and offset; checked by ``timestamps``.
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
#: JSON object of label names and values; checked by ``labels`` and cached by its bytes.
RawLabels = msgspec.Raw


def says(meaning: str, default: object = None) -> Meta:
    """What a field means, and what it stands for where it is left out, if for anything."""
    return Meta(
        description=meaning,
        extra_json_schema=None if default is None else {"default": default},
    )


def having(field: str, kind: str) -> dict[str, Any]:
    """A JSON Schema of objects that have a field of a JSON type."""
    return {"required": [field], "properties": {field: {"type": kind}}}


class Event(msgspec.Struct, gc=False, kw_only=True, tag_field="type"):
    """The fields of every event."""

    event_id: Annotated[
        Id, says("Unique per event; an event sent again with its key is a duplicate.")
    ]
    occurred_at: Annotated[
        Timestamp,
        says("When it happened: RFC 3339 with seconds and offset, kept to milliseconds."),
    ]
    customer_id: Annotated[Id | None, says("The customer.")] = None
    labels: Annotated[
        RawLabels,
        says(
            "Names and values to group by, at most 16 with nulls; a label that is null is absent."
        ),
    ] = msgspec.Raw(b"null")


class Invalid(msgspec.Struct, gc=False, frozen=True):
    """Why a record was refused: the path of the field (``$`` for the whole) and one sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A rule across fields.

    ``check(event, at)`` gets the event and its ``occurred_at`` in ms and says what is wrong, or
    None. ``schemas`` say the same as JSON Schemas, as far as these can.
    """

    path: str
    text: str
    check: Callable[[Event, int], str | None]
    schemas: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type: its struct, the field that is its record key, and its rules across fields."""

    struct: type[Event]
    key: str
    rules: tuple[FieldRule, ...] = ()
    #: Such events are never late: they still say what is active.
    never_late: bool = False
    #: Their amounts are counted apart by currency.
    by_currency: bool = False
    #: Whether it is certain that many events, at their times, keep to the rules: a quick answer in
    #: the usual case. Where it is not certain, or there is no such answer, each is looked at. A
    #: column of what was found out of each event means that they do.
    hold: Callable[[Sequence[Any], Ints], Ints | bool] | None = None

    @property
    def name(self) -> str:
        """The value of ``type``, such as ``visit.ended``."""
        return str(self.struct.__struct_config__.tag)


class Refused(DeadLetterError):
    """A value can't be read; the message is the reason, ``path`` its field where that is known."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason)
        self.path = path
