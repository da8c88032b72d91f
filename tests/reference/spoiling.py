"""Other ways to write an event, and ways to make it invalid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.reference.bodies import Event, text
from tests.reference.config import MINUTE
from tests.reference.events import milliseconds

Change = Callable[[Event], Any]
#: The length of a time without its offset, as streams write it.
_LOCAL = len("2026-03-02T10:00:00.000")


def _with(**fields: Any) -> Change:
    return lambda e: {**e, **fields}


def _without(*names: str) -> Change:
    return lambda e: {k: v for k, v in e.items() if k not in names}


def _at(change: Callable[[str], str]) -> Change:
    return lambda e: {**e, "occurred_at": change(e["occurred_at"])}


def _zone(zone: str) -> Change:
    """The same local time with another offset, or with what is none."""
    return _at(lambda t: t[:_LOCAL] + zone)


def _elsewhere(minutes: int) -> Change:
    """The same moment at a place whose clocks are ahead by so many minutes."""
    hours, rest = divmod(abs(minutes), 60)
    zone = f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
    return _at(lambda t: text(milliseconds(t) + minutes * MINUTE)[:_LOCAL] + zone)


def _nulls(event: Event) -> Event:
    """What is optional and absent may be null."""
    return {
        **dict.fromkeys(("customer_id", "labels", "scale", "plan", "reason", "sentiment")),
        **event,
    }


#: The same event, written otherwise.
DRESSES: Sequence[Change] = [
    _with(further=["whatever"]),
    # Half of an emoji, as what cuts texts by UTF-16 writes it, in what is ignored.
    _with(further={"cut \ud83d": ["\ude00"]}),
    _zone("Z"),
    _zone("9999z"),
    _elsewhere(330),
    _elsewhere(-180),
    _at(lambda t: t.replace("T", "t")),
    _zone("-00:00"),
    _nulls,
    lambda e: {k: float(v) if type(v) is int else v for k, v in e.items()},
    lambda e: dict(reversed(e.items())),
    lambda e: {**e, "event_id": "é" * (128 - len(e["event_id"])) + e["event_id"]},
]

#: Ways to make an event invalid.
BREAKS: Sequence[Change] = [
    _at(lambda t: t[:-1]),
    _zone(""),
    _at(lambda t: t.replace("T", " ")),
    _zone("+0000"),
    _zone("+24:00"),
    _at(lambda t: t[:16] + "Z"),
    _at(lambda t: f"{t[:5]}02-30{t[10:]}"),
    _at(lambda t: f"{t[:5]}04-31{t[10:]}"),
    _at(lambda t: f"2027-02-29{t[10:]}"),
    _at(lambda t: f"{t[:5]}13-01{t[10:]}"),
    _at(lambda t: f"{t[:11]}24:00:00{t[19:]}"),
    _at(lambda t: f"{t[:11]}12:34:60{t[19:]}"),
    _with(event_id=""),
    _with(event_id=None),
    _with(event_id="x" * 129),
    lambda e: {**e, "type": e["type"] + "s"},
    _with(type=None),
    _with(labels={"channel": ""}),
    _with(labels={"channel": "x" * 65}),
    _with(labels={"channel": 5}),
    _with(labels=[]),
    _with(labels={f"name{i}": "x" for i in range(17)}),
    lambda e: [e],
    _without("event_id"),
    _without("occurred_at"),
    _with(customer_id="x" * 129),
    _with(customer_id=7),
    _with(customer_id="cut \ud83d"),
    _with(event_id="\ude00\ud83d"),
    _with(labels={"channel": "cut \ud83d"}),
    _with(labels={"cut \ud83d": None}),
    # What breaks a rule of some types, and is unknown to others.
    _with(score="9"),
    _with(score=True),
    _with(score=1e13),
    _with(scale={"min": 5, "max": 5}),
    _with(scale={"min": 1}),
    _with(survey="fun"),
    _with(emotions={}),
    _with(emotions={"cut \ud83d": 5}),
    _with(plan="cut \ud83d"),
    _with(sentiment=1.5),
    _with(contacts=0),
    _with(contacts=1.5),
    _with(reopens=-1),
    _with(excluded_seconds=-0.5),
    _with(resolved=1),
    _with(opened_at="9999-01-01T00:00:00Z"),
    _with(active=-1),
    _with(active=True),
    _with(upsell_amount=10**12, amount=1, currency="EUR"),
    _with(amount=1, currency=None),
    _with(amount=-1, currency="EUR"),
    _with(currency="eur"),
    _with(started_at="9999-01-01T00:00:00Z"),
    _with(pages=0),
    _with(converted="yes"),
    _with(signal=""),
    _with(value=100.5),
    _with(value=-1),
]

GARBAGE: Sequence[bytes] = [
    b"",
    b"{",
    b"\xff",
    b"null",
    b"{} {}",
    b"[" * 100_000,
    b'{"event_id":"e","type":"visit.ended","visit_id":"v","occurred_at":NaN}',
]
