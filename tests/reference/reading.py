"""The outcome of every record, in the order in which they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.reference.config import DAY, Config, memory
from tests.reference.events import BrokenError, Event, milliseconds, parse
from tests.reference.facts import Read, answers, remembers_answer, ticket

_NEVER_LATE = {"subscription.base", "subscription.started", "subscription.cancelled"}


#: Live, an event may be so far ahead of the clock.
_AHEAD = 60_000


class Reading:
    """Reads records one by one; ``outcomes`` has one entry each, None for those after ``until``.

    ``read`` takes the time from the events, as in replay; ``read_live`` from a clock.
    """

    def __init__(self, config: Config, until: int | None = None) -> None:
        self.config = config
        self.until = until
        self.outcomes: list[str | None] = []
        self.accepted: list[Read] = []
        self.t: int | None = None
        #: Event time when an id was accepted, and event time, by where it is kept.
        self._arrived: dict[tuple[object, str], int] = {}
        self._event_times: dict[object, int] = {}
        #: When values of a dimension were last accepted, in order of taking their places.
        self._places: dict[str, dict[str, int]] = {d: {} for d in config["dimensions"]}

    def read(self, records: Sequence[bytes]) -> Reading:
        for record in records:
            self.outcomes.append(self._outcome(record, None, None))
        return self

    def read_live(self, record: bytes, clock: int, partition: int = 0) -> None:
        """Read a record of a partition when the clock shows ``clock``."""
        # A clock that is set back does not turn back what was counted.
        self.t = clock if self.t is None else max(self.t, clock)
        self.outcomes.append(self._outcome(record, self.t, partition))

    def _outcome(self, record: bytes, clock: int | None, partition: int | None) -> str | None:
        try:
            event = parse(record)
        except BrokenError:
            return "invalid"
        if self.until is not None and event.at > self.until:
            return None
        # In replay there is one event time, live each partition of a topic has its own.
        place = event.topic if partition is None else (event.topic, partition)
        arrived = self._arrived.get((place, event.event_id))
        if arrived is not None:
            event_time = self.t if clock is None else self._event_times[place]
            if event_time is not None and event_time - arrived <= self.config["dedupe"]:
                return "duplicate"
        if clock is not None and event.at > clock + _AHEAD:
            return "future"
        if self.t is not None and self._is_late(event, self.t):
            return "late"
        if self._is_orphan(event):
            return "orphan"
        self._accept(event, clock, place)
        return "accepted"

    def _is_late(self, event: Event, t: int) -> bool:
        if event.type in _NEVER_LATE:
            return False
        starts = [start(t, size, pane) for size, pane in self.config["windows"].values()]
        return event.at < t - 7 * DAY and all(event.at < s for s in starts)

    def _is_orphan(self, event: Event) -> bool:
        of_entity = [
            r
            for r in self.accepted
            if r.event.topic == event.topic
            and r.event.type != "subscription.base"
            and event.type != "subscription.base"
            and r.event.entity == event.entity
        ]
        if event.type == "survey.updated":
            made = answers(of_entity, self.config)
            return not made or not remembers_answer(made[-1], event.at, self.config)
        if event.type == "ticket.reopened":
            return not ticket(of_entity).knows_close(event.at)
        return False

    def _accept(self, event: Event, clock: int | None, place: object) -> None:
        if clock is None:
            self.t = event.at if self.t is None else max(self.t, event.at)
        assert self.t is not None
        self._event_times[place] = max(event.at, self._event_times.get(place, event.at))
        now = self.t if clock is None else self._event_times[place]
        self._arrived[place, event.event_id] = now
        dimensions = {
            name: self._value(name, event.labels[name], self.t)
            for name in self.config["dimensions"]
            if name in event.labels
        }
        self.accepted.append(Read(len(self.outcomes), self.t, event, dimensions))

    def _value(self, dimension: str, value: str, t: int) -> str:
        places = self._places[dimension]
        for known, last in list(places.items()):
            if t - last > memory(self.config):
                del places[known]
        if value == "other":
            return value  # It takes no place.
        if value in places or len(places) < self.config["max_values_per_dimension"]:
            places[value] = t
            return value
        return "other"


def start(t: int, size: int, pane: int) -> int:
    """The start of the oldest pane of the window at time t."""
    return (t // pane - size // pane + 1) * pane


def merged(files: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The order in which files side by side are read."""
    rest = [list(f) for f in files if f]
    order = []
    while rest:
        times = [_time(f[0]) for f in rest]
        oldest = times.index(min(times))
        order.append(rest[oldest].pop(0))
        rest = [f for f in rest if f]
    return order


def _time(record: bytes) -> float:
    try:
        return milliseconds(json.loads(record)["occurred_at"])
    except (BrokenError, ValueError, TypeError, KeyError):
        return float("-inf")
