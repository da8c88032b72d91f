"""A stream of every type of event as producers send it, stamped up to now, for all windows at once.

Its order of arrival is one for all readers where that can matter: the records of an entity have a
key of their own, and a repeat follows its original at once, or when event time has moved on in all
partitions. What else may come in any order does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import orjson

from stream.core.catalogue import TOPICS
from stream.core.settings import DAY, MINUTE, SECOND
from stream.core.timestamps import format_ms
from stream.replay.recorded import address
from tests.faults.compare import Message

Event = dict[str, Any]
Body = Callable[[Random, int], Event]

#: The oldest event; within the longest window, whenever it is read.
OLDEST: Final = 29 * DAY
CART_TIMEOUT: Final = 2 * MINUTE
#: No cart times out while workers are looked at, when one knows of it before another.
_NO_CARTS: Final = range(MINUTE, CART_TIMEOUT + 10 * SECOND)

#: What comes first keeps its place; so many places there are.
KEPT: Final = {
    "channel": ("web", 'a "quoted"\nline', "w\u0435b", "\\{back}\\n"),
    "region": ("eu", "us", "\U0001d522\U0001d532", " # HELP x"),
}
_MORE: Final = ("shop", "fax", "other", "\u200b", "{}")

_SCALES: Final = {"nps": (0, 10), "emotion": (0, 10), "csat": (1, 5), "css": (1, 5), "ces": (1, 7)}
_EMOTIONS: Final = ("happy", "Pleased", "IRRITATED", "disappointed", "bored")


def first_values(now: int) -> list[Message]:
    """Records whose values of dimensions take all places."""
    pairs = zip(*KEPT.values(), strict=True)
    bodies = [{"visit_id": f"first-{i}", "labels": _labels(p)} for i, p in enumerate(pairs)]
    return [
        _message(_event("visit.ended", now - OLDEST, f"first-{i}", body))
        for i, body in enumerate(bodies)
    ]


def records(now: int, count: int, seed: int, name: str) -> list[Message]:
    """About so many records up to ``now``, in order of arrival; ``name`` is part of their ids.

    All types, half of the times within minutes; edits, reopens, bases, repeats, records that are
    late, refer to nothing, or are none.
    """
    rng, made = Random(seed), list[Message]()
    for number in range(count):
        age = _age(1 - number / count)
        if rng.random() < 0.15:
            age = min(OLDEST, round(age * rng.uniform(1, 4)))
        made += _arrivals(rng, now, age, f"{name}-{number}")
    old = [m for m in made[: count // 3] if m[0] == "cx.visit"]
    return [*made, *rng.sample(old, 5)]


def _age(left: float) -> int:
    """As many events in each tenfold span of time, from a second to the oldest."""
    return round(math.exp(left * math.log(OLDEST / SECOND)) * SECOND)


def _arrivals(rng: Random, now: int, age: int, event_id: str) -> Iterator[Message]:
    dice = rng.random()
    if dice < 0.03:
        yield rng.choice(list(TOPICS)), event_id.encode(), rng.choice(_GARBAGE)
        return
    kind = rng.choice(list(_BODIES))
    if kind.startswith("cart.") and age in _NO_CARTS:
        age = _NO_CARTS.stop
    at = now - age if dice < 0.98 else now - 400 * DAY
    body = {**_BODIES[kind](rng, at), **_said_by(rng)}
    message = _message(_event(kind, at, event_id, body))
    yield message
    if 0.03 < dice < 0.08:
        yield message
    elif dice < 0.1:
        yield message[0], message[1], rng.choice(_BREAKS)(orjson.loads(message[2]))


def _event(kind: str, at: int, event_id: str, body: Event) -> Event:
    return {"event_id": event_id, "type": kind, "occurred_at": format_ms(at), **body}


def _message(event: Event) -> Message:
    return address(orjson.dumps(event))


def _labels(values: tuple[str | None, ...]) -> Event:
    return {k: v for k, v in zip(KEPT, values, strict=True) if v != ""}


def _said_by(rng: Random) -> Event:
    if rng.random() < 0.1:
        return {}
    channel = rng.choice([*KEPT["channel"], *KEPT["channel"], *_MORE, "", None])
    region = rng.choice([*KEPT["region"], *KEPT["region"], *_MORE, "", None])
    labels = _labels((channel, region))
    return {"labels": {**labels, "plan": "pro"} if rng.random() < 0.2 else labels}


def _some(rng: Random, **fields: Any) -> Event:
    return {name: value for name, value in fields.items() if rng.random() < 0.6}


def _answer(rng: Random, at: int) -> Event:
    survey = rng.choice(list(_SCALES))
    low, high = _SCALES[survey]
    event: Event = {"response_id": f"r{rng.randrange(150)}", "survey": survey}
    event |= _some(rng, sentiment=rng.choice([None, round(rng.uniform(-1, 1), 3)]))
    if rng.random() < 0.2:
        low, high = 0, 100
        event["scale"] = {"min": low, "max": high}
    if survey == "emotion":
        names = rng.sample(_EMOTIONS, 2)
        return event | {"emotions": {n: round(rng.uniform(low, high), 2) for n in names}}
    return event | {"score": rng.choice([low, high, round(rng.uniform(low, high), 2)])}


def _ticket(rng: Random, at: int) -> Event:
    return {"ticket_id": f"t{rng.randrange(120)}"}


def _close(rng: Random, at: int) -> Event:
    flag = rng.choice([True, False])
    return _ticket(rng, at) | {
        "opened_at": format_ms(at - rng.choice([0, 1, 90_500, 3 * DAY, rng.randrange(DAY)])),
        **_some(
            rng,
            contacts=rng.choice([1, 1, 2, 3.0]),
            reopens=rng.choice([0, 0, 1]),
            excluded_seconds=rng.choice([0, 0.5, 60]),
            resolved=rng.random() < 0.9,
            automated=flag,
            first_response_seconds=rng.choice([0, 299.999, 300, 301, 5]),
            sentiment=rng.choice([-1, 0.25, 1]),
        ),
    }


def _cart(rng: Random, at: int) -> Event:
    return {"cart_id": f"c{rng.randrange(400)}", **_some(rng, value=9.5, currency="EUR")}


def _base(rng: Random, at: int) -> Event:
    return {"active": rng.randrange(40)}


def _subscription(rng: Random, at: int) -> Event:
    event: Event = {"subscription_id": f"s{rng.randrange(200)}", "plan": "pro"}
    if rng.random() < 0.6:
        amount = rng.choice([10, 99.5, 1234.56, 0])
        event |= {"amount": amount, "currency": rng.choice(["EUR", "USD", "JPY"])}
        event |= _some(rng, upsell_amount=min(amount, rng.choice([0.25, 5])))
    return event


def _cancellation(rng: Random, at: int) -> Event:
    event: Event = {"subscription_id": f"s{rng.randrange(200)}", "reason": "price"}
    return event | _some(rng, started_at=format_ms(at - rng.choice([0, DAY, 100 * DAY])))


def _visit(rng: Random, at: int) -> Event:
    return {
        "visit_id": f"v{rng.randrange(10**9)}",
        **_some(rng, pages=rng.choice([1, 3.0, 12]), converted=rng.random() < 0.3),
        **_some(rng, new_customer=rng.choice([True, False, None])),
    }


def _signal(rng: Random, at: int) -> Event:
    return {
        "customer_id": f"k{rng.randrange(90)}",
        "signal": rng.choice(["usage", "logins", "noise"]),
        "value": rng.choice([0, 39.99, 40, 100, round(rng.uniform(0, 100), 2)]),
    }


#: Every type, and what it says of its own.
_BODIES: Final[dict[str, Body]] = {
    "survey.responded": _answer,
    "survey.updated": _answer,
    "ticket.closed": _close,
    "ticket.reopened": _ticket,
    "cart.opened": _cart,
    "cart.updated": _cart,
    "cart.purchased": _cart,
    "subscription.base": _base,
    "subscription.started": _subscription,
    "subscription.renewed": _subscription,
    "subscription.upgraded": _subscription,
    "subscription.downgraded": _subscription,
    "subscription.cancelled": _cancellation,
    "visit.ended": _visit,
    "customer.signal": _signal,
}

_GARBAGE: Final = (b"", b"{", b"\xff\xfe", b"null", b"{} {}", b"[" * 5_000)
#: An event that breaks a rule and keeps its event id.
_BREAKS: Final[tuple[Callable[[Event], bytes], ...]] = (
    lambda e: orjson.dumps({**e, "occurred_at": e["occurred_at"][:-1]}),
    lambda e: orjson.dumps({**e, "labels": {"channel": ""}}),
    lambda e: orjson.dumps({**e, "customer_id": "x" * 129}),
    lambda e: orjson.dumps({**e, "type": e["type"] + "s"}),
)
