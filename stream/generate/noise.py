"""What goes wrong on the way: repeats, garbage, and records that are late or refer to nothing.

Noise only adds records that a correct consumer leaves uncounted: the numbers stay those of the
clean events, and how often each outcome has to come out is known. Some garbage is garbage only on
its topic (a visit among the carts): in a file, which knows no topics, it would count.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Final

import numpy as np
import orjson

from stream.core.catalogue import TOPICS
from stream.core.event import Outcome
from stream.core.settings import DAY, MINUTE
from stream.core.timestamps import format_ms
from stream.generate.draws import Record

#: A repeat comes at most so much later: well within the time for which ids are remembered.
LONGEST_REPEAT: Final = 2 * MINUTE
#: Late records are older than any window that a test is likely to have.
_LATE: Final = 400 * DAY
_TOPICS: Final = tuple(TOPICS)


@dataclass(slots=True)
class Noise:
    """How much noise to add: shares of the clean events. ``added`` counts it by its outcome."""

    duplicates: float = 0.0
    garbage: float = 0.0
    late: float = 0.0
    orphans: float = 0.0
    seed: int = 1
    added: Counter[Outcome] = field(default_factory=Counter)


def noisy(records: Iterable[Record], noise: Noise) -> Iterator[Record]:
    """The records with noise between them; still in order of time, and the same each time."""
    rng = np.random.default_rng([noise.seed, 0x6E6F6973])
    garbage = cycle(_GARBAGE)
    kinds: list[tuple[float, Outcome]] = [
        (noise.duplicates, "duplicate"),
        (noise.garbage, "invalid"),
        (noise.late, "late"),
        (noise.orphans, "orphan"),
    ]
    total = sum(share for share, _ in kinds)
    repeats: list[tuple[int, int, Record]] = []
    number = 0
    for record in records:
        at = record[0]
        while repeats and repeats[0][0] <= at:
            yield heapq.heappop(repeats)[2]
        yield record
        dice = float(rng.random())
        if dice >= total:
            continue
        number += 1
        outcome = _chosen(kinds, dice)
        if outcome == "duplicate":
            due = at + int(rng.integers(1, LONGEST_REPEAT))
            heapq.heappush(repeats, (due, number, (due, *record[1:])))
        elif outcome == "invalid":
            topic, value = next(garbage)(at, number)
            yield at, topic, f"garbage-{number}".encode(), value
        elif outcome == "late":
            yield _late_visit(at, number)
        else:
            yield _orphan(at, number)
        noise.added[outcome] += 1
    yield from (record for _, _, record in sorted(repeats))


def _chosen(kinds: list[tuple[float, Outcome]], dice: float) -> Outcome:
    for share, outcome in kinds:
        if dice < share:
            return outcome
        dice -= share
    return kinds[-1][1]


def _event(kind: str, at: int, number: int, **fields: object) -> dict[str, object]:
    return {
        "event_id": f"noise-{at}-{number}", "type": kind, "occurred_at": format_ms(at), **fields,
    }  # fmt: skip


def _late_visit(at: int, number: int) -> Record:
    name = f"visit-late-{number}"
    event = _event("visit.ended", at - _LATE, number, visit_id=name)
    return at, "cx.visit", name.encode(), orjson.dumps(event)


def _orphan(at: int, number: int) -> Record:
    name = f"ticket-unheard-of-{at}-{number}"
    event = _event("ticket.reopened", at, number, ticket_id=name)
    return at, "cx.ticket", name.encode(), orjson.dumps(event)


def _bytes(value: bytes) -> Callable[[int, int], tuple[str, bytes]]:
    return lambda _, number: (_TOPICS[number % len(_TOPICS)], value)


def _bad(topic: str, kind: str, **fields: object) -> Callable[[int, int], tuple[str, bytes]]:
    def make(at: int, number: int) -> tuple[str, bytes]:
        return topic, orjson.dumps(_event(kind, at, number, **fields))

    return make


#: One of each kind of garbage; they come in turn.
_GARBAGE: Final = (
    _bytes(b"not JSON"),
    _bytes(b""),
    _bytes(b"\xff\xfe\x00"),
    _bytes(b"[" * 50_000),
    _bytes(b'{"event_id":"x","type":"visit.ended","occurred_at":"2026-02-30T10:00:00Z"}'),
    _bad("cx.survey", "survey.responded", response_id="r", survey="nps", score=11),
    _bad("cx.survey", "survey.responded", response_id="r", survey="csat", score=True),
    _bad("cx.visit", "visit.begun", visit_id="v"),
    _bad("cx.cart", "visit.ended", visit_id="v"),
    _bad("cx.visit", "visit.ended", visit_id="v", pages=0.5),
    _bad("cx.visit", "visit.ended", visit_id="v", labels={"channel": 1}),
    _bad("cx.ticket", "ticket.closed", ticket_id="t", opened_at="2999-01-01T00:00:00Z"),
    _bad("cx.signal", "customer.signal", customer_id="c", signal="usage", value=101),
    _bad("cx.subscription", "subscription.renewed", subscription_id="s", amount=5),
    _bad("cx.subscription", "subscription.base", active=-1),
)
