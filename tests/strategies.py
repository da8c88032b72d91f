"""Hypothesis strategies for events: good ones of every type, and ones that break a field's rule.

The tables are written from the contract, not from the structs, so that they can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

Json = Any
Strategy = st.SearchStrategy[Json]

#: 2026-03-02T10:00:00Z, in ms.
NOW = 1_772_445_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TYPES_BY_TOPIC: dict[str, tuple[str, ...]] = {
    "cx.survey": ("survey.responded", "survey.updated"),
    "cx.ticket": ("ticket.closed", "ticket.reopened"),
    "cx.cart": ("cart.opened", "cart.updated", "cart.purchased"),
    "cx.subscription": (
        "subscription.base",
        "subscription.started",
        "subscription.renewed",
        "subscription.upgraded",
        "subscription.downgraded",
        "subscription.cancelled",
    ),
    "cx.visit": ("visit.ended",),
    "cx.signal": ("customer.signal",),
}
TYPES = tuple(name for names in TYPES_BY_TOPIC.values() for name in names)
TOPIC_OF = {name: topic for topic, names in TYPES_BY_TOPIC.items() for name in names}


def texts(longest: int) -> st.SearchStrategy[str]:
    """Texts from 1 to ``longest`` characters, limits and other scripts among them."""
    short = st.text(st.characters(codec="utf-8"), min_size=1, max_size=min(longest, 8))
    return short | st.sampled_from(["x" * longest, "é" * longest, "😀" * longest])


@st.composite
def timestamps(draw: st.DrawFn, first: int = NOW - 86_400_000, last: int = NOW + 86_400_000) -> str:
    """RFC 3339 date-times from ``first`` to ``last`` (ms), in all the forms that there are."""
    moment = _EPOCH + timedelta(milliseconds=draw(st.integers(first, last)))
    offset = draw(st.just(0) | st.integers(-23 * 60 - 59, 23 * 60 + 59))
    local = moment + timedelta(minutes=offset)
    fraction = f"{local.microsecond // 1000:03}" + draw(st.text("0123456789", max_size=7))
    if local.microsecond == 0 and draw(st.booleans()):
        fraction = ""
    sign, minutes = "-" if offset < 0 else draw(st.sampled_from("+-")), abs(offset)
    zone = f"{'+' if offset > 0 else sign}{minutes // 60:02}:{minutes % 60:02}"
    if offset == 0 and draw(st.booleans()):
        zone = draw(st.sampled_from("Zz"))
    separator = draw(st.sampled_from("Tt"))
    dot = "." if fraction else ""
    return f"{local.date()}{separator}{local:%H:%M:%S}{dot}{fraction}{zone}"


def numbers(least: float = -1e12, most: float = 1e12) -> Strategy:
    """Numbers in the range, whole and not, its limits among them."""
    floats = st.floats(least, most, allow_nan=False)
    whole = st.integers(int(least), int(most))
    return st.sampled_from([least, most]) | whole | floats


def counts(least: int) -> Strategy:
    """Whole numbers from ``least``, some written as 1.0."""
    return st.integers(least, 1000).flatmap(lambda n: st.sampled_from([n, float(n)]))


_labels = st.dictionaries(texts(20), st.none() | texts(64), max_size=16)
_not_texts: Strategy = st.sampled_from([0, 1.5, True, [], {}, ["x"]])
_not_numbers: Strategy = st.sampled_from(["1", "", True, False, [], {}, [1]])
_bad_times: Strategy = st.sampled_from(
    [
        "",
        "now",
        "2026-03-02",
        "2026-03-02T10:00Z",
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00Z",
        "2026-03-02T10:00:00+0100",
        "2026-03-02T10:00:00+24:00",
        "2026-03-02T10:00:00.Z",
        "2026-03-02T10:00:00,5Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T10:60:00Z",
        "2026-03-02T10:00:61Z",
        "2026-02-29T10:00:00Z",
        "2026-13-02T10:00:00Z",
        "2026-03-02T10:00:00Z ",
        "２026-03-02T10:00:00Z",
        "2026-03-02T10:00:00.٣Z",
        1772445600,
        True,
        [],
    ]
)
_bad_labels: Strategy = st.one_of(
    st.sampled_from(["x", 1, True, [], ["a"], [["a", "b"]]]),
    st.builds(
        lambda labels, name, value: {**labels, name: value},
        st.dictionaries(texts(20), texts(64), max_size=3),
        texts(20),
        st.sampled_from(["", "x" * 65, "é" * 65, 1, 1.5, True, [], {}]),
    ),
    st.just({f"name{i}": "x" for i in range(17)}),
)


def _outside(least: float, most: float = 1e12) -> Strategy:
    return _not_numbers | st.sampled_from([least - 1, least - 0.01, most * 1.01, most + 1, 1e300])


@dataclass(frozen=True)
class Field:
    """What a field may hold, and what it may not, whatever the other fields say."""

    good: Strategy
    bad: Strategy
    required: bool = False


def _id(required: bool = True, longest: int = 128) -> Field:
    bad = _not_texts | st.sampled_from(["", "x" * (longest + 1), "é" * (longest + 1)])
    return Field(texts(longest), bad, required)


def _number(least: float, most: float = 1e12, required: bool = False) -> Field:
    return Field(numbers(least, most), _outside(least, most), required)


def _count(least: int, required: bool = False) -> Field:
    bad = _outside(least) | st.sampled_from([least + 0.5, 1e-9])
    return Field(counts(least), bad, required)


_FLAG = Field(st.booleans(), st.sampled_from([0, 1, 1.0, "true", "", [], {}]))
_TEXT = Field(st.text(st.characters(codec="utf-8"), max_size=8), _not_texts)
_TIME = Field(timestamps(NOW - 30 * 86_400_000, NOW - 86_400_000), _bad_times, required=True)
_CURRENCY = Field(
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3),
    _not_texts | st.sampled_from(["", "eur", "EU", "EURO", "E1R", "ÄÖÜ", "EU ", "EUR\n", "Eur"]),
)
_SENTIMENT = _number(-1, 1)

_EVERY: dict[str, Field] = {
    "event_id": _id(),
    "occurred_at": Field(timestamps(), _bad_times, required=True),
    "customer_id": _id(required=False),
    "labels": Field(_labels, _bad_labels),
}
_SCALE = Field(
    st.tuples(numbers(0, 1e12), numbers(0, 1e12))
    .filter(lambda ends: bool(ends[0] != ends[1]))
    .map(lambda ends: {"min": min(ends), "max": max(ends)}),
    st.one_of(
        st.sampled_from([0, "0-10", [], [0, 10], {}, {"min": 0}, {"max": 10}]),
        st.sampled_from([None, "0", True, 1e13, -1e13]).map(lambda x: {"min": 0, "max": x}),
        st.sampled_from([None, "0", True, 1e13, -1e13]).map(lambda x: {"min": x, "max": 10}),
    ),
)
_ANSWER = {
    "response_id": _id(),
    "survey": Field(
        st.sampled_from(["nps", "csat", "ces", "css", "emotion"]),
        _not_texts | st.sampled_from(["", "NPS", "fun", "nps "]),
        required=True,
    ),
    "score": Field(st.nothing(), _not_numbers | st.sampled_from([1e13, -1e13])),
    "scale": _SCALE,
    "sentiment": _SENTIMENT,
}
_PAYMENT = {
    "subscription_id": _id(),
    "amount": _number(0),
    "upsell_amount": Field(st.nothing(), _outside(0)),
    "currency": _CURRENCY,
    "plan": _TEXT,
}
_CART = {"cart_id": _id(), "value": _number(0), "currency": _CURRENCY}

_OWN: dict[str, dict[str, Field]] = {
    "survey.responded": _ANSWER,
    "survey.updated": _ANSWER,
    "ticket.closed": {
        "ticket_id": _id(),
        "opened_at": _TIME,
        "contacts": _count(1),
        "reopens": _count(0),
        "excluded_seconds": _number(0),
        "resolved": _FLAG,
        "automated": _FLAG,
        "first_response_seconds": _number(0),
        "sentiment": _SENTIMENT,
    },
    "ticket.reopened": {"ticket_id": _id()},
    "cart.opened": _CART,
    "cart.updated": _CART,
    "cart.purchased": _CART,
    "subscription.base": {"active": _count(0, required=True)},
    "subscription.started": _PAYMENT,
    "subscription.renewed": _PAYMENT,
    "subscription.upgraded": _PAYMENT,
    "subscription.downgraded": _PAYMENT,
    "subscription.cancelled": {
        "subscription_id": _id(),
        "started_at": Field(_TIME.good, _bad_times),
        "reason": _TEXT,
    },
    "visit.ended": {
        "visit_id": _id(),
        "pages": _count(1),
        "converted": _FLAG,
        "new_customer": _FLAG,
    },
    "customer.signal": {
        "customer_id": _id(),
        "signal": _id(longest=64),
        "value": _number(0, 100, required=True),
    },
}

#: The fields of each type, with what is good and bad in them.
FIELDS = {name: {**_EVERY, **own} for name, own in _OWN.items()}

_SCALES = {"nps": (0, 10), "csat": (1, 5), "css": (1, 5), "ces": (1, 7), "emotion": (0, 10)}

#: Any JSON that fits a screen.
json_values: Strategy = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**13), 10**13)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def events(draw: st.DrawFn, type_name: str) -> dict[str, Json]:
    """Good events of a type; optional fields come, are null or are left out."""
    event: dict[str, Json] = {"type": type_name}
    for name, field in FIELDS[type_name].items():
        if field.required:
            event[name] = draw(field.good)
        elif not field.good.is_empty:
            use = draw(st.sampled_from(["value", "value", "null", "absent"]))
            if use != "absent":
                event[name] = draw(field.good) if use == "value" else None
    if type_name.startswith("survey."):
        _answer(draw, event)
    if FIELDS[type_name].keys() >= {"amount"}:
        _pay(draw, event)
    if draw(st.booleans()):
        event["further_field"] = draw(json_values)
    return dict(draw(st.permutations(sorted(event.items()))))


def _answer(draw: st.DrawFn, event: dict[str, Json]) -> None:
    kind = event["survey"]
    low, high = _SCALES[kind]
    if event.get("scale"):
        low, high = event["scale"]["min"], event["scale"]["max"]
    on_scale = st.floats(low, high) | st.sampled_from([low, high])
    if kind == "emotion":
        names = st.sampled_from(["happy", "Irritated", "bored"]) | texts(20)
        event["emotions"] = draw(st.dictionaries(names, on_scale, min_size=1, max_size=4))
        if draw(st.booleans()):
            event["score"] = draw(st.none() | numbers())
    else:
        event["score"] = draw(on_scale)
        if draw(st.booleans()):
            event["emotions"] = draw(json_values)


def _pay(draw: st.DrawFn, event: dict[str, Json]) -> None:
    if event.get("amount") is not None:
        event["currency"] = draw(_CURRENCY.good)
        if draw(st.booleans()):
            event["upsell_amount"] = draw(st.floats(0, event["amount"]))


@st.composite
def broken_events(draw: st.DrawFn, type_name: str) -> tuple[dict[str, Json], str]:
    """Events that break a rule of one field, and that field's name."""
    event = draw(events(type_name))
    fields = FIELDS[type_name]
    name = draw(st.sampled_from(sorted(fields)))
    how = draw(st.sampled_from(["bad", "bad", "null", "absent"]))
    if how == "bad" or not fields[name].required:
        event[name] = draw(fields[name].bad)
    elif how == "null":
        event[name] = None
    else:
        del event[name]
    return event, name


def any_event() -> st.SearchStrategy[dict[str, Json]]:
    """Good events of all types."""
    return st.sampled_from(TYPES).flatmap(events)
