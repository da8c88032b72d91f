"""Small streams in which whatever may go together does: repeats, reopens, limits, late records.

Ids come from tiny pools, and times from earlier times in the stream by a step that is a pane, a
time-out, a window or seven days, less or more a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE, SECOND, Config
from tests.reference.events import EPOCH, TOPICS

NOON = 1_772_452_800_000

Event = dict[str, Any]

WINDOWS: list[dict[str, tuple[int, int]]] = [
    {"1h": (HOUR, MINUTE)},
    {"1h": (HOUR, MINUTE), "7d": (7 * DAY, HOUR)},
    {"5m": (5 * MINUTE, 5 * SECOND), "30d": (30 * DAY, 6 * HOUR)},
    {"1m": (MINUTE, MINUTE), "10d": (10 * DAY, DAY)},
]
ROLLUPS = [
    [[], ["channel"]],
    [[]],
    [[], ["channel"], ["region"], ["channel", "region"]],
    [["region", "channel"]],
]
STEPS = [
    0,
    1,
    SECOND,
    5 * SECOND,
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR - MINUTE,
    HOUR,
    DAY,
    7 * DAY - HOUR,
    7 * DAY,
    7 * DAY + HOUR,
    10 * DAY,
    23 * DAY,
    30 * DAY,
]

configs: st.SearchStrategy[Config] = st.builds(
    lambda windows, rollups, limit, timeout, dedupe, weights: {
        **DEFAULTS,
        "windows": windows,
        "rollups": rollups,
        "max_values_per_dimension": limit,
        "cart_timeout": timeout,
        "dedupe": dedupe,
        "weights": weights,
    },
    st.sampled_from(WINDOWS),
    st.sampled_from(ROLLUPS),
    st.sampled_from([100, 2, 1]),
    st.sampled_from([30 * MINUTE, MINUTE, DAY]),
    st.sampled_from([10 * MINUTE, SECOND, DAY]),
    st.sampled_from([{}, {"usage": 2.0, "noise": 0.0}]),
)

#: Fewer draws make more streams: what an event may say is rolled out beforehand, plain first.
_ROLLED = 40


def _optional(rolls: Random, **choices: Sequence[Any]) -> Event:
    """Some of the fields, each with one of its values."""
    return {k: rolls.choice(v) for k, v in choices.items() if rolls.random() < 0.5}


def _number(rolls: Random, low: float, high: float) -> float:
    """A number of a scale with at most two digits after the point, often an end or a threshold."""
    part = rolls.choice([0, 1, 0.75, 2 / 3, 0.7, 0.9, rolls.random(), rolls.random()])
    return round(low + (high - low) * part, 2)


_ENDS: dict[str, tuple[float, float]] = {
    "nps": (0, 10),
    "emotion": (0, 10),
    "csat": (1, 5),
    "css": (1, 5),
    "ces": (1, 7),
}
_SENTIMENTS = (None, 0.5, -1, 1, 0, -0.125)
_SECONDS = (0, 1, 0.5, 299.999, 300, 300.001, 3600, 86_400)
_FLAGS = (None, True, False)


def _answer(rolls: Random) -> Event:
    survey = rolls.choice(sorted(_ENDS))
    low, high = _ENDS[survey]
    event: Event = {"survey": survey, **_optional(rolls, sentiment=_SENTIMENTS)}
    if rolls.random() < 0.5:
        low, high = rolls.choice([(0, 100), (1, 5), (0.5, 3.5)])
        event["scale"] = {"min": low, "max": high}
    if survey == "emotion":
        names = rolls.sample(["happy", "Pleased", "IRRITATED", "disappointed", "bored"], 2)
        event["emotions"] = {name: _number(rolls, low, high) for name in names}
    else:
        event["score"] = _number(rolls, low, high)
    return event


def _close(rolls: Random) -> Event:
    return {
        "opened_ago": rolls.choice([0, 1, 1000, 60_500, HOUR, DAY, DAY + 1, 3 * DAY]),
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
_BODIES = {
    name: sorted((roll(Random(i)) for i in range(_ROLLED)), key=len) for name, roll in _OWN.items()
}
_LABELS: list[Any] = [
    None,
    {},
    *(
        {k: v for k, v in (("channel", c), ("region", r), ("plan", p)) if v != ""}
        for c in ("web", "app", "shop", "other", None, "")
        for r in ("eu", "us", None, "")
        for p in ("", "pro")
    ),
]
#: (which earlier time, how far from it): mostly onwards from the last.
_MOVES = [
    (back, sign * (step + more))
    for back, sign in ((0, 1), (0, 1), (0, 1), (0, -1), (1, 1), (2, 1), (1, -1), (4, 1))
    for step in STEPS
    for more in (0, 0, 1, -1)
]

#: Ways to make an event invalid.
_BREAKS: list[Callable[[Event], Any]] = [
    lambda e: {**e, "occurred_at": e["occurred_at"][:-1]},
    lambda e: {**e, "event_id": ""},
    lambda e: {**e, "type": e["type"] + "s"},
    lambda e: {**e, "labels": {"channel": ""}},
    lambda e: {**e, "labels": {"channel": 5}},
    lambda e: [e],
    lambda e: {k: v for k, v in e.items() if k != "event_id"},
    lambda e: {**e, "customer_id": "x" * 129},
]
_GARBAGE = [b"", b"{", b"\xff", b"null", b"{} {}"]


def text(at: int) -> str:
    """The RFC 3339 date-time of a time in ms."""
    return (EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")


@st.composite
def streams(
    draw: st.DrawFn,
    topics: tuple[str, ...] = tuple(TOPICS),
    *,
    unique: bool = False,
    most: int = 25,
    ids: str = "ab",
) -> list[bytes]:
    """Records of some topics; with ``unique`` no two have one event id and all are valid.

    Entities have one of the ``ids``.
    """
    names = st.sampled_from([name for name in _OWN if name.split(".")[0] in topics])
    records: list[bytes] = []
    events: list[Event] = []
    times = [NOON]
    for i in range(draw(st.integers(1, most))):
        kind = draw(names)
        back, step = draw(st.sampled_from(_MOVES))
        times.append(times[-1 - min(back, len(times) - 1)] + step)
        event = _event(f"e{i}", kind, times[-1], draw(st.sampled_from(_BODIES[kind])))
        if kind != "subscription.base":
            event[TOPICS[kind.split(".")[0]]] = draw(st.sampled_from(ids))
        labels = draw(st.sampled_from(_LABELS))
        if labels is not None:
            event["labels"] = labels
        broken: Any = event
        noise = 0 if unique else draw(st.integers(0, 15))
        if noise == 15 and events:
            event["event_id"] = draw(st.sampled_from(events))["event_id"]
        elif noise == 14:
            broken = draw(st.sampled_from(_BREAKS))(event)
        elif noise == 13:
            records.append(draw(st.sampled_from(_GARBAGE)))
        events.append(event)
        records.append(json.dumps(broken).encode())
    return records


def _event(event_id: str, kind: str, at: int, body: Event) -> Event:
    event: Event = {"event_id": event_id, "type": kind, "occurred_at": text(at)}
    for field, value in body.items():
        if field.endswith("_ago"):
            event[field.replace("_ago", "_at")] = text(at - value)
        else:
            event[field] = value
    return event
