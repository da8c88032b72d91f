"""What the contract speaks of and a stream may or may not hold, so that its reach can be counted.

A situation is a name that says, after the page of the contract, what has happened; ``situations``
gives those of a stream that was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from tests.reference.config import DAY, Config, cart_memory, memory
from tests.reference.events import BrokenError, Event, parse
from tests.reference.facts import Close, Read, all_facts, answers, carts, of_type, signals, ticket
from tests.reference.reading import Reading, start

_NEVER_LATE = ("subscription.base", "subscription.started", "subscription.cancelled")


def situations(records: Sequence[bytes], reading: Reading) -> set[str]:
    """The situations of a stream that was read."""
    config, reads = reading.config, reading.accepted
    found = {*_written(records), *_outcomes(records, reading), *_times(reads, config)}
    found |= {*_labels(reads, config), *_signals(reads, config), *_bases(reads, config)}
    for topic, tell in _ENTITIES.items():
        for own in of_type(reads, topic).values():
            found |= {f"{topic}: {what}" for what in tell(own, config)}
    if reading.t is not None:
        found |= {*_numbers(reading, reading.t)}
    return found


def _written(records: Sequence[bytes]) -> Iterator[str]:
    for record in records:
        try:
            event = parse(record)
        except BrokenError:
            continue
        raw = json.loads(record)
        yield f"type: {event.type}"
        yield from (f"written: {how}" for how, holds in _WAYS.items() if holds(raw))
        if event.topic == "survey":
            yield from _scores(event, raw)


_WAYS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "offset as Z or z": lambda raw: raw["occurred_at"][-1] in "Zz",
    "an offset": lambda raw: (
        raw["occurred_at"][-6:-5] in "+-" and "00:00" not in raw["occurred_at"][-5:]
    ),
    "t in lower case": lambda raw: "t" in raw["occurred_at"],
    "further digits of a second": lambda raw: bool(re.search("[.][0-9]{4}", raw["occurred_at"])),
    "null in an optional field": lambda raw: None in raw.values(),
    "null as a label's value": lambda raw: None in (raw.get("labels") or {}).values(),
    "a whole number as 1.0": lambda raw: any(
        isinstance(raw.get(f), float) for f in ("contacts", "pages", "active", "reopens")
    ),
    "an unknown field": lambda raw: "further" in raw,
}


def _scores(event: Event, raw: Mapping[str, Any]) -> Iterator[str]:
    if raw.get("scale"):
        yield f"written: a scale of its own for {raw['survey']}"
    if raw["survey"] != "emotion":
        score, low, high = (event.fields[name] for name in ("score", "min", "max"))
        part = (score - low) / (high - low)
        if raw["survey"] == "nps" and 10 * score / high in (7, 9):
            yield f"threshold: nps exactly {10 * score / high}"
        elif part == {"ces": Fraction(2, 3), "nps": None}.get(raw["survey"], Fraction(3, 4)):
            yield f"threshold: {raw['survey']} exactly"


def _outcomes(records: Sequence[bytes], reading: Reading) -> Iterator[str]:
    t: int | None = None
    arrived: dict[tuple[str, str], int] = {}
    config = reading.config
    accepted = {read.place: read for read in reading.accepted}
    for place, (record, outcome) in enumerate(zip(records, reading.outcomes, strict=True)):
        yield f"outcome: {outcome or 'after --at'}"
        if outcome in (None, "invalid"):
            continue
        event = parse(record)
        key = event.topic, event.event_id
        if t is not None and key in arrived:
            if outcome == "duplicate" and t - arrived[key] == config["dedupe"]:
                yield "duplicate: exactly dedupe later"
            elif outcome == "accepted" and t - arrived[key] == config["dedupe"] + 1:
                yield "duplicate: no more, a millisecond after dedupe"
            elif outcome == "accepted":
                yield "duplicate: no more, long after dedupe"
        if outcome == "orphan":
            yield f"orphan: {event.type}"
        if t is not None:
            yield from _ages(event, outcome, t, config)
        if place in accepted:
            t = accepted[place].t
            arrived[key] = t


def _ages(event: Event, outcome: str | None, t: int, config: Config) -> Iterator[str]:
    oldest = min(start(t, size, pane) for size, pane in config["windows"].values())
    if event.at == oldest - 1 < t - 7 * DAY and outcome == "late":
        yield "late: by a millisecond, with long windows"
    if event.at == t - 7 * DAY - 1 < oldest and outcome == "late":
        yield "late: by a millisecond, with short windows"
    if outcome == "accepted" and event.at < oldest:
        if event.at >= t - 7 * DAY:
            yield "late: not, though too old for all windows"
        elif event.type in _NEVER_LATE:
            yield f"late: never, {event.type}"
    if outcome == "accepted" and oldest <= event.at < t - 7 * DAY:
        yield "late: not, though older than seven days"


def _times(reads: Sequence[Read], config: Config) -> Iterator[str]:
    for read in reads:
        for _, pane in config["windows"].values():
            if read.at % pane == 0:
                yield "time: exactly at a pane's start"
            if read.at % pane == pane - 1:
                yield "time: the last millisecond of a pane"
        day = json.dumps(str(_date(read.at)))
        if day.endswith('-02-29"'):
            yield "time: leap day"
        if day.endswith('-12-31"'):
            yield "time: last day of the year"
    if any(a.at > b.at for a, b in pairwise(reads)):
        yield "time: out of order"


def _date(at: int) -> Any:
    from tests.reference.bodies import text

    return text(at)[:10]


def _answers(own: Sequence[Read], config: Config) -> Iterator[str]:
    made = answers(own, config)
    if len(made) > 1:
        yield "response id new again after its memory"
    for before, read in pairwise(own):
        first = answers(own[: own.index(read)], config)[-1].first_at
        age = read.at - first
        if abs(age) > memory(config):
            continue
        yield "edited" if read.event.type == "survey.updated" else "second survey.responded"
        if age == memory(config):
            yield "edited exactly at the end of its memory"
        if age < 0:
            yield "edited by an event from before the first"
        if before.event.fields["survey"] != read.event.fields["survey"]:
            yield "edited to another kind of survey"
        if before.dimensions != read.dimensions:
            yield "edited under other labels"
        for size, pane in config["windows"].values():
            if first < start(read.t, size, pane) <= read.at:
                yield "edited after the pane of the first has left a window"


def _tickets(own: Sequence[Read], config: Config) -> Iterator[str]:
    for i, read in enumerate(own):
        before = ticket(own[:i])
        close = before.close
        if close is None:
            continue
        age = read.at - close.read.at
        reopened = any(r.event.type == "ticket.reopened" and r.at >= close.read.at
                       for r in own[:i])  # fmt: skip
        if close is not before.closes[-1] and 0 <= age <= 7 * DAY:
            yield f"{read.event.type.split('.')[1]} after a close that had been overtaken"
        if read.event.type == "ticket.reopened":
            yield from _reopened(age, close)
        elif age < -7 * DAY:
            yield "closed, overtaken by more than seven days"
            if not close.counts:
                yield "closed, overtaken by more than seven days and a reopen"
        elif abs(age) <= 7 * DAY:
            yield "closed again after a reopen" if reopened else "closed twice"
            if age < 0:
                yield "closed twice, the second one earlier"
            if age == 7 * DAY:
                yield "closed again exactly seven days later"
        else:
            yield "closed again after more than seven days"


def _reopened(age: int, close: Close) -> Iterator[str]:
    if age < -7 * DAY:
        yield "reopened, more than seven days older than the close"
    elif age < 0:
        yield "reopened, older than the close"
    elif not close.counts:
        yield "reopened twice"
    else:
        yield "reopened"
        if age == 7 * DAY:
            yield "reopened exactly seven days later"


def _carts(own: Sequence[Read], config: Config) -> Iterator[str]:
    t = max(read.t for read in own)
    kinds = [read.event.type for read in own]
    facts = carts(own, config, t)
    for fact in facts:
        yield fact.kind
    if "cart.opened" not in kinds:
        yield "purchased alone" if set(kinds) == {"cart.purchased"} else "updated without opening"
    ordered = sorted(own, key=lambda r: (r.at, r.place))
    for a, b in pairwise(ordered):
        gap = b.at - a.at
        if gap == config["cart_timeout"]:
            yield f"{b.event.type.split('.')[1]} exactly at the deadline"
        if gap == config["cart_timeout"] + 1 and b.event.type == "cart.purchased":
            yield "purchased a millisecond after the deadline"
        if memory(config) < gap <= config["cart_timeout"] and b.event.type == "cart.purchased":
            yield "purchased in time, after longer than any memory"
        if gap > cart_memory(config):
            yield "id new again"
        elif gap == cart_memory(config):
            yield "id known still, exactly at the end of its memory"
    yield from _corrected(own, config)


def _corrected(own: Sequence[Read], config: Config) -> Iterator[str]:
    """What an event that came later made of what had been said before it."""
    for i, read in enumerate(own[1:], 1):
        before = carts(own[:i], config, read.t)
        after = carts(own[: i + 1], config, read.t)
        was, now = ({(f.kind, f.at) for f in facts} for facts in (before, after))
        if {k for k, _ in was} - {k for k, _ in now}:
            yield "outcome taken back by an event that came later"
        elif was - now:
            yield "outcome moved by an event that came later"
        elif was and was == now:
            yield "outcome not changed by an event that came later"
        dimensions = [{tuple(sorted(f.dimensions.items())) for f in facts if f.kind == "abandoned"}
                      for facts in (before, after)]  # fmt: skip
        if was == now and dimensions[0] != dimensions[1]:
            yield "abandoned under other labels"


def _subscriptions(own: Sequence[Read], config: Config) -> Iterator[str]:
    said = [(r.event.type.split(".")[1], r) for r in own]
    facts = all_facts(own, config, max(r.t for r in own))
    counted = {(f.kind, f.said["place"]) for f in facts if f.kind in ("started", "cancelled")}
    active = False
    for i, (kind, read) in enumerate(said):
        if (kind, read.place) in counted:
            if kind == "cancelled" and not active:
                started = read.event.fields["started_at"]
                yield f"cancelled without a start, {'known' if started is not None else 'unknown'}"
            if kind == "started" and any(k == "cancelled" for k, _ in said[:i]):
                yield "started after a cancellation"
            active = kind == "started"
        elif kind in ("started", "cancelled"):
            yield f"{kind} once more"
            if kind == "started" and read.at - said[i - 1][1].at > memory(config):
                yield "started once more, active still after longer than any memory"
            if kind == "started" and read.event.fields["amount"] is not None:
                yield "started once more, its amount adds up"
    for fact in facts:
        if fact.kind == "cancelled" and fact.said["start"] is None and len(own) > 1:
            yield "start later than the cancellation, or not seen"
    times = [r.at for k, r in said if k == "cancelled" and (k, r.place) in counted]
    if any(b - a > memory(config) for a, b in pairwise(times)):
        yield "cancelled again after its memory"


_ENTITIES = {
    "survey": _answers,
    "ticket": _tickets,
    "cart": _carts,
    "subscription": _subscriptions,
}


def _bases(reads: Sequence[Read], config: Config) -> Iterator[str]:
    found: dict[tuple[tuple[str, str], ...], list[Read]] = {}
    for read in reads:
        if read.event.type == "subscription.base":
            found.setdefault(tuple(sorted(read.event.labels.items())), []).append(read)
    t = max((read.t for read in reads), default=0)
    for own in found.values():
        if len(own) > 1:
            yield "base: replaced"
        if any(a.at > b.at for a, b in pairwise(own)):
            yield "base: an older one came later"
        if any(a.at == b.at for a, b in pairwise(own)):
            yield "base: two of one moment"
        for size, pane in config["windows"].values():
            first = start(t, size, pane)
            panes = [read.at // pane for read in own]
            if len(set(panes)) < len(panes):
                yield "base: several in a pane"
            if min(panes) * pane > first:
                yield "base: counted back from one after the window's start"
            if any(p * pane == first for p in panes):
                yield "base: in the pane where the window starts"
            if max(panes) * pane < first:
                yield "base: from long before the window"


def _labels(reads: Sequence[Read], config: Config) -> Iterator[str]:
    last: dict[tuple[str, str], int] = {}
    for read in reads:
        for name in config["dimensions"]:
            sent, kept = read.event.labels.get(name), read.dimensions.get(name)
            if sent is None:
                yield "labels: absent"
                continue
            if sent == "other":
                yield "labels: other as a value"
            elif kept == "other":
                yield "labels: folded into other"
                if (name, sent) in last:
                    yield "labels: folded, after it had a place"
            else:
                if read.t - last.get((name, sent), read.t) > memory(config):
                    yield "labels: accepted again after its memory"
                last[name, sent] = read.t
            if not sent.isascii() or set(sent) & set('"\\\n'):
                yield "labels: hostile"


def _signals(reads: Sequence[Read], config: Config) -> Iterator[str]:
    seen: dict[tuple[str, str], Read] = {}
    for read in reads:
        if read.event.type != "customer.signal":
            continue
        if config["weights"].get(read.event.fields["signal"]) == 0:
            yield "health: a signal of weight 0"
        key = read.event.entity, read.event.fields["signal"]
        known = seen.get(key)
        if known is not None:
            if read.at < known.at:
                yield "health: an older signal came later"
                continue
            if read.at == known.at:
                yield "health: of two at one time the later arrival"
            if read.dimensions != known.dimensions:
                yield "health: the latest under other labels"
        seen[key] = read
    places: dict[str, set[Any]] = {}
    for fact in signals(reads):
        places.setdefault(fact.said["customer_id"], set()).add(str(fact.dimensions))
    if any(len(p) > 1 for p in places.values()):
        yield "health: a customer under several labels"


def _numbers(reading: Reading, t: int) -> Iterator[str]:
    from tests.reference.rows import rows

    known = {name.casefold() for name in reading.config["positive"]}
    custom = "bored" in known
    found = rows(reading, t)
    if len({dict(row.labels)["currency"] for row in found if row.kpi == "upsell"}) > 1:
        yield "kpi: upsell in two currencies"
    for row in found:
        yield f"kpi: {row.kpi}"
        if row.value is None:
            yield f"no value: {row.kpi}"
        if custom and row.kpi == "nev":
            yield "kpi: nev of other emotions"
        if row.kpi in ("churn", "retention") and row.value is not None and row.lower is None:
            yield f"no bounds: {row.kpi} beyond 0 to 1"
        if row.denominator is not None and row.denominator < 0:
            yield "active: fewer than none"
