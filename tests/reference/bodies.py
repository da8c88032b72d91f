"""What events of each type may say, plain first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from tests.reference.config import DAY, HOUR
from tests.reference.events import EPOCH

Event = dict[str, Any]

#: Fewer draws make more streams: what an event may say is rolled out beforehand, plain first.
_ROLLED = 150


def _optional(rolls: Random, **choices: Sequence[Any]) -> Event:
    """Some of the fields, each with one of its values."""
    return {k: rolls.choice(v) for k, v in choices.items() if rolls.random() < 0.5}


#: How far up the scale it matters on which side a score is.
_THRESHOLDS = {"nps": (0.7, 0.9), "csat": (0.75,), "css": (0.75,), "ces": (2 / 3,)}


def _number(rolls: Random, low: float, high: float, survey: str = "emotion") -> float:
    """A number of a scale with at most two digits after the point, often an end or a threshold."""
    often = [0, 1, *_THRESHOLDS.get(survey, ())]
    part = rolls.choice([*often, rolls.random(), rolls.random()])
    return round(low + (high - low) * part, 2)


_ENDS: dict[str, tuple[float, float]] = {
    "nps": (0, 10),
    "emotion": (0, 10),
    "csat": (1, 5),
    "css": (1, 5),
    "ces": (1, 7),
}
_SENTIMENTS = (None, 0.5, -1, 1, 0, -0.125)
_SECONDS = (0, 1, 0.5, 1.001, 299.999, 300, 300.001, 3600, 86_400)
_FLAGS = (None, True, False)


def _answer(rolls: Random) -> Event:
    survey = rolls.choice([*_ENDS, "emotion"])
    low, high = _ENDS[survey]
    event: Event = {"survey": survey, **_optional(rolls, sentiment=_SENTIMENTS)}
    if rolls.random() < 0.5:
        low, high = rolls.choice([(0, 100), (1, 5), (0.5, 3.5), (1, 11), (0, 0.2), (0, 0.9)])
        event["scale"] = {"min": low, "max": high}
    if survey == "emotion":
        names = rolls.sample(
            ["happy", "IRRITATED", "Pleased", "disappointed", "bored"], rolls.randint(1, 4)
        )
        event["emotions"] = {name: _number(rolls, low, high) for name in names}
    else:
        event["score"] = _number(rolls, low, high, survey)
        if survey == "nps" and rolls.random() < 0.4:
            # What counts is the share of the greatest score, wherever the scale begins.
            event["score"] = round(high * rolls.choice([0.7, 0.9]), 2)
    return event


def _close(rolls: Random) -> Event:
    return {
        "opened_ago": rolls.choice([0, 1, 1000, 60_500, HOUR, HOUR + 1, DAY, DAY + 1, 3 * DAY]),
        **_optional(
            rolls,
            contacts=(1, 2, 3.0),
            reopens=(0, 1),
            excluded_seconds=_SECONDS,
            resolved=_FLAGS,
            automated=_FLAGS,
            first_response_seconds=_SECONDS,
            sentiment=_SENTIMENTS,
        ),
    }


def _payment(rolls: Random) -> Event:
    if rolls.random() < 0.5:
        return {}
    amount = rolls.choice([10, 0, 99.5, 1000])
    currency = rolls.choice(["EUR", "USD"])
    upsell = rolls.choice([None, 0, 0.25, 5])
    return {
        "amount": amount,
        "upsell_amount": None if upsell is None else min(upsell, amount),
        "currency": currency,
    }


def _visit(rolls: Random) -> Event:
    return _optional(rolls, pages=(1, 2, 3.0), converted=_FLAGS, new_customer=_FLAGS)


def _cancellation(rolls: Random) -> Event:
    return _optional(rolls, started_ago=(0, 1, HOUR, 8 * DAY))


def _signal(rolls: Random) -> Event:
    return {
        "signal": rolls.choice(["usage", "noise", "logins"]),
        "value": rolls.choice([0, 39, 40, 41, 100, 50.25]),
    }


def _nothing(rolls: Random) -> Event:
    return {}


_OWN: dict[str, Callable[[Random], Event]] = {
    "visit.ended": _visit,
    "cart.opened": _nothing,
    "cart.updated": _nothing,
    "cart.purchased": _nothing,
    "ticket.closed": _close,
    "ticket.reopened": _nothing,
    "survey.responded": _answer,
    "survey.updated": _answer,
    "subscription.base": lambda rolls: {"active": rolls.randint(0, 12)},
    "subscription.started": _payment,
    "subscription.renewed": _payment,
    "subscription.upgraded": _payment,
    "subscription.downgraded": _payment,
    "subscription.cancelled": _cancellation,
    "customer.signal": _signal,
}
BODIES = {
    name: sorted((roll(Random(f"{name} {i}")) for i in range(_ROLLED)), key=len)
    for name, roll in _OWN.items()
}


def text(at: int) -> str:
    """The RFC 3339 date-time of a time in ms."""
    return (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")
