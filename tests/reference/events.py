"""From a record's bytes to an event, or to the statement that it breaks a rule."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NoReturn

LIMIT = 10**12
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SCALES = {"nps": (0, 10), "emotion": (0, 10), "csat": (1, 5), "css": (1, 5), "ces": (1, 7)}
TOPICS = {
    "survey": "response_id",
    "ticket": "ticket_id",
    "cart": "cart_id",
    "subscription": "subscription_id",
    "visit": "visit_id",
    "customer": "customer_id",
}
TYPES = {
    "survey.responded",
    "survey.updated",
    "ticket.closed",
    "ticket.reopened",
    "cart.opened",
    "cart.updated",
    "cart.purchased",
    "subscription.base",
    "subscription.started",
    "subscription.renewed",
    "subscription.upgraded",
    "subscription.downgraded",
    "subscription.cancelled",
    "visit.ended",
    "customer.signal",
}
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([01][0-9]|2[0-3])(:[0-9]{2}:)([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


class BrokenError(Exception):
    """The record breaks a rule."""


@dataclass(frozen=True)
class Event:
    """A valid event; ``fields`` has what its type defines, defaults filled in, times in ms."""

    type: str
    event_id: str
    at: int
    labels: Mapping[str, str]
    fields: Mapping[str, Any]

    @property
    def topic(self) -> str:
        return self.type.split(".")[0]

    @property
    def entity(self) -> str:
        return str(self.fields[TOPICS[self.topic]])


def _no(constant: str) -> NoReturn:
    raise BrokenError(constant)


@lru_cache(maxsize=4096)
def parse(record: bytes) -> Event:
    """The event of a record. Raises BrokenError where it is invalid."""
    try:
        raw = json.loads(record.decode(), parse_float=Decimal, parse_constant=_no)
    except (ValueError, RecursionError) as error:
        raise BrokenError from error
    if not isinstance(raw, dict):
        raise BrokenError(raw)
    reader = _Reader(raw)
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise BrokenError(kind)
    event_id, at = reader.text("event_id", 128), reader.time("occurred_at")
    customer = reader.optional(reader.text, "customer_id", 128)
    fields = reader.fields(kind, at)
    return Event(kind, event_id, at, reader.labels(), {"customer_id": customer, **fields})


class _Reader:
    """Takes fields out of a JSON object by the rules that the types share."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    def has(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def optional(self, read: Any, name: str, *limits: Any, default: Any = None) -> Any:
        return read(name, *limits) if self.has(name) else default

    def text(self, name: str, longest: int) -> str:
        value = self.any_text(name)
        if not 1 <= len(value) <= longest:
            raise BrokenError(name)
        return value

    def any_text(self, name: str) -> str:
        value = self.raw.get(name)
        if not isinstance(value, str):
            raise BrokenError(name)
        sound(value)
        return value

    def flag(self, name: str) -> bool:
        value = self.raw.get(name)
        if not isinstance(value, bool):
            raise BrokenError(name)
        return value

    def number(self, name: str, least: Any = -LIMIT, most: Any = LIMIT) -> Fraction:
        return number(self.raw.get(name), least, most)

    def whole(self, name: str, least: int) -> int:
        value = self.number(name, least)
        if value.denominator != 1:
            raise BrokenError(name)
        return int(value)

    def time(self, name: str) -> int:
        return milliseconds(self.raw.get(name))

    def currency(self, name: str) -> str:
        value = self.raw.get(name)
        if not isinstance(value, str) or not re.fullmatch("[A-Z]{3}", value):
            raise BrokenError(name)
        return value

    def labels(self) -> dict[str, str]:
        labels = self.raw.get("labels")
        if labels is None:
            return {}
        if not isinstance(labels, dict) or len(labels) > 16:
            raise BrokenError("labels")
        sound(labels)
        present = {k: v for k, v in labels.items() if v is not None}
        for value in present.values():
            if not isinstance(value, str) or not 1 <= len(value) <= 64:
                raise BrokenError("labels")
        return present

    def fields(self, kind: str, at: int) -> dict[str, Any]:
        topic, what = kind.split(".")
        fields: dict[str, Any] = {}
        if kind != "subscription.base":
            fields[TOPICS[topic]] = self.text(TOPICS[topic], 128)
        if topic == "survey":
            fields |= self.answer()
        elif kind == "ticket.closed":
            fields |= self.close(at)
        elif topic == "cart":
            self.optional(self.number, "value", 0)
            self.optional(self.currency, "currency")
        elif kind == "subscription.base":
            fields["active"] = self.whole("active", 0)
        elif kind == "subscription.cancelled":
            fields["started_at"] = self.optional(self.time, "started_at")
            self.optional(self.any_text, "reason")
            if (fields["started_at"] or at) > at:
                raise BrokenError("started_at")
        elif topic == "subscription":
            fields |= self.payment()
        elif kind == "visit.ended":
            fields["pages"] = self.optional(self.whole, "pages", 1, default=1)
            fields["converted"] = self.optional(self.flag, "converted", default=False)
            fields["new_customer"] = self.optional(self.flag, "new_customer", default=False)
        elif what == "signal":
            fields["signal"] = self.text("signal", 64)
            fields["value"] = self.number("value", 0, 100)
        return fields

    def answer(self) -> dict[str, Any]:
        survey = self.any_text("survey")
        if survey not in SCALES:
            raise BrokenError("survey")
        low, high = (Fraction(x) for x in SCALES[survey])
        if self.has("scale"):
            scale = self.raw["scale"]
            if not isinstance(scale, dict):
                raise BrokenError("scale")
            low, high = number(scale.get("min")), number(scale.get("max"))
            if low >= high or (survey == "nps" and low < 0):
                raise BrokenError("scale")
        answer: dict[str, Any] = {"survey": survey, "min": low, "max": high}
        sound(self.raw.get("emotions"))
        if survey == "emotion":
            # It means nothing here, but what has the name of a score is a number.
            self.optional(self.number, "score")
            emotions = self.raw.get("emotions")
            if not isinstance(emotions, dict) or not emotions:
                raise BrokenError("emotions")
            answer["emotions"] = {k: number(v, low, high) for k, v in emotions.items()}
        else:
            answer["score"] = self.number("score", low, high)
        answer["sentiment"] = self.optional(self.number, "sentiment", -1, 1)
        return answer

    def close(self, at: int) -> dict[str, Any]:
        close = {
            "opened_at": self.time("opened_at"),
            "contacts": self.optional(self.whole, "contacts", 1, default=1),
            "reopens": self.optional(self.whole, "reopens", 0, default=0),
            "excluded": self.optional(self.number, "excluded_seconds", 0, default=Fraction(0)),
            "resolved": self.optional(self.flag, "resolved", default=True),
            "automated": self.optional(self.flag, "automated", default=False),
            "first_response": self.optional(self.number, "first_response_seconds", 0),
            "sentiment": self.optional(self.number, "sentiment", -1, 1),
        }
        if close["opened_at"] > at:
            raise BrokenError("opened_at")
        return close

    def payment(self) -> dict[str, Any]:
        amount = self.optional(self.number, "amount", 0)
        currency = self.optional(self.currency, "currency")
        upsell = self.optional(self.number, "upsell_amount", 0)
        self.optional(self.any_text, "plan")
        if amount is None:
            if upsell is not None:
                raise BrokenError("upsell_amount")
        elif currency is None:
            raise BrokenError("currency")
        elif upsell is not None and upsell > amount:
            raise BrokenError("upsell_amount")
        return {"amount": amount, "currency": currency, "upsell": upsell or Fraction(0)}


def sound(value: Any) -> None:
    """Raise BrokenError where a text or name in it has half of a surrogate pair: no character."""
    if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise BrokenError(value)
    for part in value if isinstance(value, list | dict) else ():
        sound(part)
        if isinstance(value, dict):
            sound(value[part])


def number(value: Any, least: Any = -LIMIT, most: Any = LIMIT) -> Fraction:
    """A number of JSON, exactly as it is written."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise BrokenError(value)
    if not max(least, -LIMIT) <= value <= min(most, LIMIT):
        raise BrokenError(value)
    return Fraction(value)


def milliseconds(value: Any) -> int:
    """The moment of an RFC 3339 date-time in ms since the epoch; further digits are cut.

    RFC 3339 has a second 60 at the end of a day of UTC only, where leap seconds are.
    """
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BrokenError(value)
    day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    leap = timedelta(seconds=second == "60")
    try:
        second = "59" if leap else second
        local = datetime.fromisoformat(f"{day}T{hour}{minute}{second}+00:00")
    except ValueError as error:
        raise BrokenError(value) from error
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        raise BrokenError(value)
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    since = (local - EPOCH) + leap + (ahead if sign == "-" else -ahead)
    if leap and since % timedelta(days=1):
        raise BrokenError(value)
    return since // timedelta(milliseconds=1) + int(f"{fraction or '':0<3}"[:3])
