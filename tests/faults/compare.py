"""Whether two shards hold the same: what they count, remember, and would do with more records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from stream.core.cells import COUNTER_BITS, COUNTER_MASK, ROW_MASK
from stream.core.evaluate import Evaluator
from stream.core.shard import Shard
from stream.core.timestamps import format_ms
from stream.core.values import Segment

#: (window, pane, segment, counter)
Cell = tuple[str, int, Segment, int]
#: A record: its topic without prefix, key and value.
Message = tuple[str, bytes | None, bytes]

_LISTED: Final = 5


def named_cells(shard: Shard, at: int) -> dict[Cell, int]:
    """Every counter of the panes that are in a window at ``at``, with its segment's values."""
    found: dict[Cell, int] = {}
    for window in shard.settings.windows:
        cells = shard.windows.cells[window.label]
        first = window.first_pane(at)
        for pane in cells.slots():
            low, values = cells.slot(pane)
            for key, value in zip(low.tolist(), values.tolist(), strict=True):
                segment = shard.segments.rows[(key >> COUNTER_BITS) & ROW_MASK]
                if pane >= first and segment is not None:
                    cell = window.label, pane, segment, key & COUNTER_MASK
                    # A segment that was freed and came back may have a row of its former life.
                    found[cell] = found.get(cell, 0) + value
    return found


def outcomes_of(shard: Shard) -> Counter[tuple[str, str]]:
    """Records by topic and outcome."""
    return Counter(
        {(t, o): n for t, counts in shard.progress.outcomes.items() for o, n in counts.items() if n}
    )


def _series(shard: Shard, at: int) -> dict[Any, float]:
    evaluation = Evaluator(shard.settings).evaluate([shard.share()], at)
    return {
        (s.kpi, s.window, s.labels, part): value
        for s in evaluation.samples
        for part in ("value", "lower", "upper", "numerator", "denominator")
        if (value := getattr(s, part)) is not None
    }


def differing(name: str, found: Mapping[Any, float], wanted: Mapping[Any, float]) -> list[str]:
    """How two mappings differ beyond rounding: the first few entries, and how many there are."""
    wrong = [
        f"{name} {key} is {found.get(key)}, not {wanted.get(key)}"
        for key in found.keys() | wanted.keys()
        if key not in found
        or key not in wanted
        or abs(found[key] - wanted[key]) > 1e-9 * max(1.0, abs(wanted[key]))
    ]
    if len(wrong) > _LISTED:
        wrong = [*sorted(wrong)[:_LISTED], f"{len(wrong)} {name} differ in all"]
    return wrong


def shard_differences(
    found: Shard, wanted: Shard, at: int, probes: Sequence[Message] = ()
) -> list[str]:
    """What differs at time ``at``, before and after both take in ``probes``, one by one."""
    wrong = _differences(found, wanted, at)
    for topic, _, value in probes:
        for shard in (found, wanted):
            shard.ingest(topic, [value], at)
    return wrong + [f"after the probes: {w}" for w in _differences(found, wanted, at)]


def _differences(found: Shard, wanted: Shard, at: int) -> list[str]:
    for shard in (found, wanted):
        shard.advance(at)
        shard.fold(at)
    return [
        *differing("outcomes", outcomes_of(found), outcomes_of(wanted)),
        *differing("clocks", found.progress.clocks, wanted.progress.clocks),
        *differing("counters", named_cells(found, at), named_cells(wanted, at)),
        *differing("series", _series(found, at), _series(wanted, at)),
    ]


def probes(values: Iterable[tuple[str, bytes | None]], at: int, most: int) -> list[Message]:
    """Records that bring to light what is remembered of earlier ones, up to ``most`` of a kind.

    Answers are given anew, tickets reopened and closed once more, carts bought, subscriptions
    cancelled, each with an event of its own; and the latest records come once more as they were.
    """
    readable = [(topic, value, _read(value)) for topic, value in values]
    known = [(topic, value, event) for topic, value, event in readable if value and event]
    made: list[Message] = []
    for kind, make in _CORRECTIONS.items():
        wanted = (event for _, _, event in reversed(known) if event["type"] == kind)
        for number, event in enumerate(islice(_once(wanted, _ENTITIES[kind]), most)):
            made += make(f"probe-{at}-{kind}-{number}", format_ms(at), event)
    made += [(topic, _key(event), value) for topic, value, event in known[-most:]]
    return made


def _read(value: bytes | None) -> dict[str, Any] | None:
    try:
        event = orjson.loads(value or b"")
    except ValueError:
        return None
    return event if isinstance(event, dict) and "type" in event and "event_id" in event else None


def _once(events: Iterable[dict[str, Any]], field: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for event in events:
        if event.get(field) and event[field] not in seen:
            seen.add(event[field])
            yield event


_ENTITIES: Final = {
    "survey.responded": "response_id",
    "ticket.closed": "ticket_id",
    "cart.opened": "cart_id",
    "subscription.started": "subscription_id",
    "subscription.renewed": "subscription_id",
}


def _key(event: Mapping[str, Any]) -> bytes | None:
    field = {"visit": "visit_id", "customer": "customer_id"} | {
        kind.split(".")[0]: name for kind, name in _ENTITIES.items()
    }
    name = event.get(field.get(str(event["type"]).split(".")[0], ""))
    return name.encode() if isinstance(name, str) else None


def _message(topic: str, event: Mapping[str, Any]) -> Message:
    return topic, _key(event), orjson.dumps(event)


def _answered_anew(name: str, at: str, event: dict[str, Any]) -> list[Message]:
    if event["survey"] == "emotion" or event.get("scale"):
        return []
    changed = {**event, "event_id": name, "type": "survey.updated", "occurred_at": at}
    return [_message("cx.survey", {**changed, "score": 1 if event["score"] > 3 else 5})]


def _reopened(name: str, at: str, event: dict[str, Any]) -> list[Message]:
    entity = {"ticket_id": event["ticket_id"], "occurred_at": at}
    reopened = {**entity, "event_id": name, "type": "ticket.reopened"}
    if hash_of(name) % 2:
        return [_message("cx.ticket", reopened)]
    again = {**event, **entity, "event_id": f"{name}-again"}
    return [_message("cx.ticket", again)]


def hash_of(name: str) -> int:
    """A number that a name always has."""
    return sum(name.encode())


def _bought(name: str, at: str, event: dict[str, Any]) -> list[Message]:
    bought = {"event_id": name, "type": "cart.purchased", "occurred_at": at}
    return [_message("cx.cart", {**bought, "cart_id": event["cart_id"]})]


def _cancelled(name: str, at: str, event: dict[str, Any]) -> list[Message]:
    kept = {"subscription_id": event["subscription_id"], "labels": event.get("labels")}
    cancelled = {"event_id": name, "type": "subscription.cancelled", "occurred_at": at}
    return [_message("cx.subscription", {**cancelled, **kept})]


_CORRECTIONS: Final = {
    "survey.responded": _answered_anew,
    "ticket.closed": _reopened,
    "cart.opened": _bought,
    "subscription.started": _cancelled,
    "subscription.renewed": _cancelled,
}
