"""Events that feed a KPI, as its entry in the catalogue says which those are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from stream.core.evaluate import Evaluator, Wanted
from stream.core.kpi import Kpi
from stream.core.settings import MINUTE, SECOND, Settings
from stream.core.shard import Shard

#: 2026-03-02T12:00:00Z, when all windows are looked at.
NOON = 1_772_452_800_000
SETTINGS = Settings(dimensions=("channel",), rollups=((), ("channel",)))
#: (window, labels) and what the KPI's series say there; quantiles carry a label of their own.
Rows = dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float | None, ...]]
Event = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SURVEYS = {"nev": ("emotion",), "ces_mean": ("ces",), "sentiment": ("nps", "csat", "ces", "css")}
_TOPS = {"nps": (0, 10), "csat": (1, 5), "css": (1, 5), "ces": (1, 7)}


def timestamp(at: int) -> str:
    """RFC 3339 of a time in ms."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")


def _answer(kpi: Kpi, rolls: Random) -> Event:
    survey = rolls.choice(_SURVEYS.get(kpi.id, (kpi.id,)))
    event: Event = {"survey": survey, "sentiment": rolls.choice([None, -1, 0.25, 0.3])}
    if survey == "emotion":
        names = rolls.sample(["happy", "Valued", "irritated", "FRUSTRATED", "bored"], 2)
        return {**event, "emotions": {name: rolls.randint(0, 10) for name in names}}
    return {**event, "score": rolls.randint(*_TOPS[survey])}


def _payment(rolls: Random) -> Event:
    if rolls.random() < 0.3:
        return {}
    amount = rolls.choice([10, 99.5, 0.1])
    currency = rolls.choice(["EUR", "USD"])
    return {"amount": amount, "upsell_amount": amount / 2, "currency": currency}


def _body(kpi: Kpi, kind: str, at: int, rolls: Random) -> Event:
    if kind.startswith("survey."):
        return _answer(kpi, rolls)
    if kind == "ticket.closed":
        return {
            "opened_at": timestamp(at - rolls.choice([MINUTE, 100 * MINUTE, 2000 * MINUTE])),
            "contacts": rolls.randint(1, 2),
            "resolved": rolls.random() < 0.8,
            "automated": rolls.random() < 0.5,
            "first_response_seconds": rolls.choice([None, 299, 300, 301]),
            "sentiment": rolls.choice([None, 0.5]),
        }
    if kind == "subscription.base":
        return {"active": rolls.randint(5, 50)}
    if kind == "subscription.cancelled":
        return {"started_at": timestamp(at - rolls.choice([MINUTE, 10_000 * MINUTE]))}
    if kind.startswith("subscription."):
        return _payment(rolls)
    if kind == "visit.ended":
        flags = {name: rolls.random() < 0.5 for name in ("converted", "new_customer")}
        return {"pages": rolls.randint(1, 9), **flags}
    if kind == "customer.signal":
        return {"signal": rolls.choice(["usage", "logins"]), "value": rolls.randint(0, 100)}
    return {}


def _entity(kind: str) -> str:
    names = {"survey": "response_id", "customer": "customer_id"}
    first = kind.partition(".")[0]
    return names.get(first, f"{first}_id")


def events_for(kpi: Kpi, rolls: Random, size: int, entities: int | None = None) -> list[Event]:
    """Events of the last 50 minutes, in any order of their times, none at the same.

    Their entities come from a pool of so many; with None each event has one of its own.
    """
    kinds = sorted(kpi.meaning.fed_by)
    # What can't come first comes less often, or most events would refer to nothing.
    weights = [1 if kind.endswith(("updated", "reopened", "base")) else 3 for kind in kinds]
    found = []
    for number, ago in enumerate(rolls.sample(range(3000), size)):
        kind, at = rolls.choices(kinds, weights)[0], NOON - ago * SECOND
        entity = number if entities is None else rolls.randrange(entities)
        found.append(
            {
                "event_id": f"e{number}",
                "type": kind,
                "occurred_at": timestamp(at),
                "labels": {"channel": rolls.choice(["web", "app"])},
                **({} if kind == "subscription.base" else {_entity(kind): f"n{entity}"}),
                **_body(kpi, kind, at, rolls),
            }
        )
    return found


def home(event: Event) -> str:
    """What events that belong on one partition have in common."""
    entity = event.get(_entity(event["type"]))
    return str(entity) if entity is not None else json.dumps(event["labels"])


def records(events: Iterable[Event]) -> list[bytes]:
    """As they lie in Kafka."""
    return [json.dumps(event).encode() for event in events]


def rows(kpi: Kpi, shards: Sequence[Shard]) -> Rows:
    """The KPI's series over all shards at noon, without those that are empty."""
    for shard in shards:
        shard.advance(NOON)
        shard.fold(NOON)
    wanted = {w.label: Wanted(frozenset({kpi.id})) for w in SETTINGS.windows}
    found = Evaluator(SETTINGS).evaluate([s.share() for s in shards], NOON, wanted).samples
    return {
        (s.window, s.labels): (s.value, s.lower, s.upper, s.numerator, s.denominator)
        for s in found
        if s.value is not None or s.numerator or s.denominator
    }
