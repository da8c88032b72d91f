"""A plausible company's events as a pure function of time, rate, seed and incidents."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final

import numpy as np

from stream.core.settings import DAY, MINUTE, SECOND
from stream.generate.draws import Arrivals, Draws, Record
from stream.generate.incidents import Incident, IncidentKind, borders
from stream.generate.journeys import BEGIN
from stream.generate.profile import (
    CUSTOMERS_PER_RATE,
    JOURNEYS,
    REGION_SHARES,
    REGIONS,
    SUBSCRIPTIONS_PER_RATE,
    Journey,
    Kind,
    activity,
)
from stream.generate.subscriptions import Subscriptions

#: Events are made in steps of about this many: enough for columns, few enough for memory.
_STEP_EVENTS = 4_000
_SHORTEST_STEP = 10
_LONGEST_STEP = 15 * MINUTE

#: By how much an incident multiplies how often a journey begins, by the kinds of both; else 1.
_FACTORS: Final[Mapping[tuple[IncidentKind, Kind], float]] = {
    ("churn-spike", "cancelled"): 15.0,
    ("outage", "ticket"): 1.6,
}


def events(
    start_ms: int,
    end_ms: int | None,
    rate: float,
    seed: int = 1,
    incidents: Sequence[Incident] = (),
) -> Iterator[Record]:
    """The company's events of ``[start_ms, end_ms)`` in order of time.

    Each is ``(at_ms, topic, key, value)``: when it is sent, which is its ``occurred_at``; the topic
    without a prefix; the entity's id; the JSON text. ``rate`` is the mean number of events per
    second over a week; ``end_ms`` None means for ever. Same arguments, same events; a longer span
    begins with the events of a shorter one.

    The company opens at ``start_ms``: every segment's subscriptions are counted by a
    ``subscription.base`` then and at each midnight in UTC, and nothing refers to what was before
    (no ticket is reopened that was not seen closed).
    """
    if not rate > 0:
        raise ValueError(f"the rate is {rate}, it has to be above 0 events per second")
    step = int(min(max(_STEP_EVENTS / rate * SECOND, _SHORTEST_STEP), _LONGEST_STEP))
    draw = Draws([seed, start_ms], round(rate * CUSTOMERS_PER_RATE))
    run = hashlib.sha256(f"{seed} {start_ms}".encode()).hexdigest()[:6]
    subscriptions = Subscriptions(round(rate * SUBSCRIPTIONS_PER_RATE) + 1_000, run)
    later: defaultdict[int, list[Record]] = defaultdict(list)
    cuts = borders(incidents)
    first = start_ms
    number = start_ms // step
    while end_ms is None or first < end_ms:
        last = (number + 1) * step
        due = later.pop(number, [])
        begun = _begin(draw, subscriptions, first, last, rate, incidents, cuts, start_ms)
        for record in begun:
            if record[0] < last:
                due.append(record)
            else:
                later[record[0] // step].append(record)
        due.sort(key=itemgetter(0))
        if end_ms is not None and last > end_ms:
            due = [record for record in due if record[0] < end_ms]
        yield from due
        first = last
        number += 1


def _begin(
    draw: Draws, subscriptions: Subscriptions, first: int, last: int, rate: float,
    incidents: Sequence[Incident], cuts: Sequence[int], start: int,
) -> Iterator[Record]:  # fmt: skip
    """All records of the journeys that begin in ``[first, last)``.

    The span is cut where an incident starts or ends and at midnight, so that what holds in its
    middle holds for the whole part.
    """
    midnight = -(-first // DAY) * DAY
    inner = [cut for cut in (*cuts, midnight) if first < cut < last]
    for begin, end in pairwise(sorted({first, last, *inner})):
        if begin == start or begin % DAY == 0:
            yield from subscriptions.bases(draw, begin)
        happening: list[tuple[Arrivals, str]] = []
        for journey in JOURNEYS:
            who = _arrivals(draw, journey, begin, end, rate, incidents)
            if journey.kind in BEGIN:
                yield from BEGIN[journey.kind](draw, who, incidents)
            else:
                happening.append((who, journey.kind))
        yield from subscriptions.happen(draw, *_merged(happening))


def _arrivals(
    draw: Draws, journey: Journey, begin: int, end: int, rate: float,
    incidents: Sequence[Incident],
) -> Arrivals:  # fmt: skip
    """When and where journeys of a kind begin in a span in which nothing changes."""
    middle = (begin + end) // 2
    expected = np.array(
        [
            activity(journey.week, region, middle)
            * _incident_factor(journey, region, begin, incidents)
            for region in range(len(REGIONS))
        ]
    )
    expected *= rate * journey.per_event * REGION_SHARES * (end - begin) / SECOND
    counts = draw.rng.poisson(expected)
    region = np.repeat(np.arange(len(REGIONS), dtype=np.int64), counts)
    n = len(region)
    return Arrivals(draw.rng.integers(begin, end, n), draw.pick(n, journey.channels), region)


def _incident_factor(
    journey: Journey, region: int, at: int, incidents: Sequence[Incident]
) -> float:
    factor = 1.0
    for incident in incidents:
        if incident.start <= at < incident.end and incident.region in (None, REGIONS[region]):
            factor *= _FACTORS.get((incident.kind, journey.kind), 1.0)
    return factor


def _merged(parts: list[tuple[Arrivals, str]]) -> tuple[Arrivals, list[str]]:
    """Arrivals of several kinds as one in order of time, and the kind of each."""
    at = np.concatenate([who.at for who, _ in parts])
    order = np.argsort(at, kind="stable")
    kinds = [kind for who, kind in parts for _ in range(len(who))]
    merged = Arrivals(
        at[order],
        np.concatenate([who.channel for who, _ in parts])[order],
        np.concatenate([who.region for who, _ in parts])[order],
    )
    return merged, [kinds[i] for i in order.tolist()]
