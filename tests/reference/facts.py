"""What events say that counts, once it is known what other events of the entity say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.reference.config import DAY, Config, cart_memory, memory
from tests.reference.events import Event


@dataclass(frozen=True)
class Read:
    """An accepted event: when it came (the place among all, and the time that it was then) and with
    which values of dimensions.
    """

    place: int
    t: int
    event: Event
    dimensions: Mapping[str, str]

    @property
    def at(self) -> int:
        return self.event.at


@dataclass(frozen=True)
class Fact:
    """One contribution: ``at`` says in which panes it lies, ``said`` what it is."""

    kind: str
    at: int
    dimensions: Mapping[str, str]
    said: Mapping[str, Any] = field(default_factory=dict)


def of_type(reads: Sequence[Read], topic: str) -> dict[str, list[Read]]:
    """The events of a topic by entity, each in order of arrival."""
    entities: dict[str, list[Read]] = defaultdict(list)
    for read in reads:
        if read.event.topic == topic and read.event.type != "subscription.base":
            entities[read.event.entity].append(read)
    return entities


class Answer:
    """An answer as the events of its response have made it so far."""

    def __init__(self, first: Read) -> None:
        self.first_at = first.at
        self.latest = first

    def fact(self) -> Fact:
        said = self.latest.event.fields
        return Fact("answer", self.first_at, self.latest.dimensions, said)


def answers(reads: Sequence[Read], config: Config) -> list[Answer]:
    """The answers that the events of one response make, in order of arrival."""
    made: list[Answer] = []
    for read in reads:
        if made and remembers_answer(made[-1], read.at, config):
            made[-1].latest = read
        else:
            made.append(Answer(read))
    return made


def remembers_answer(answer: Answer, at: int, config: Config) -> bool:
    return abs(at - answer.first_at) <= memory(config)


class Close:
    """A ticket's close; ``counts`` until a reopen or another close takes its place."""

    def __init__(self, read: Read, after_reopen: bool) -> None:
        self.read = read
        self.counts = True
        self.after_reopen = after_reopen

    def fact(self) -> Fact:
        fields = self.read.event.fields
        resolution = max(0, self.read.at - fields["opened_at"] - fields["excluded"] * 1000)
        first = fields["contacts"] == 1 and fields["reopens"] == 0 and not self.after_reopen
        said = {**fields, "resolution": resolution, "first_contact": first}
        return Fact("close", self.read.at, self.read.dimensions, said)


class Ticket:
    """What the events of one ticket make of it, in order of arrival."""

    def __init__(self) -> None:
        #: The closes that were ever made.
        self.closes: list[Close] = []
        #: The one that is remembered; one that comes when it is out of its reach goes by it.
        self.close: Close | None = None
        self._reopened_at: int | None = None

    def closed(self, read: Read) -> None:
        replaces = self.close is not None and abs(read.at - self.close.read.at) <= 7 * DAY
        was_reopened = self._reopened_at is not None and (
            replaces or abs(read.at - self._reopened_at) <= 7 * DAY
        )
        close = Close(read, was_reopened)
        self.closes.append(close)
        if self.close is not None and self.close.read.at - read.at > 7 * DAY:
            return
        if self.close is not None and replaces:
            self.close.counts = False
        if not was_reopened:
            self._reopened_at = None
        self.close = close

    def reopened(self, read: Read) -> None:
        if self.close is not None and self.close.read.at <= read.at <= self.close.read.at + 7 * DAY:
            self.close.counts = False
            self._reopened_at = max(read.at, self._reopened_at or read.at)

    def knows_close(self, at: int) -> bool:
        """Whether there is a close that an event at this time may be about, or is older than."""
        return self.close is not None and at <= self.close.read.at + 7 * DAY


def ticket(reads: Sequence[Read]) -> Ticket:
    """The ticket as its events have made it."""
    found = Ticket()
    for read in reads:
        (found.closed if read.event.type == "ticket.closed" else found.reopened)(read)
    return found


def carts(reads: Sequence[Read], config: Config, t: int) -> list[Fact]:
    """What the events of one cart id say at time t, in order of their own times."""
    facts: list[Fact] = []
    episode: list[Read] = []
    for read in sorted(reads, key=lambda r: (r.at, r.place)):
        if episode and read.at - episode[-1].at > cart_memory(config):
            facts += _cart(episode, config, t)
            episode = []
        episode.append(read)
    return facts + _cart(episode, config, t)


def _cart(episode: Sequence[Read], config: Config, t: int) -> list[Fact]:
    latest = episode[0]
    for i, read in enumerate(episode):
        deadline = latest.at + config["cart_timeout"]
        if read.at > deadline:
            bought = [r for r in episode[i:] if r.event.type == "cart.purchased"][:1]
            return [
                Fact("abandoned", deadline, latest.dimensions),
                *(Fact("recovered", r.at, r.dimensions) for r in bought),
            ]
        if read.event.type == "cart.purchased":
            return [Fact("purchased", read.at, read.dimensions)]
        latest = read
    deadline = latest.at + config["cart_timeout"]
    return [Fact("abandoned", deadline, latest.dimensions)] if deadline <= t else []


def subscriptions(reads: Sequence[Read], config: Config) -> list[Fact]:
    """What the events of one subscription say, in order of arrival."""
    facts: list[Fact] = []
    known: _Known | None = None
    for read in reads:
        event = read.event
        if event.fields.get("amount") is not None:
            facts.append(Fact("paid", read.at, read.dimensions, event.fields))
        now = known
        # Starts and cancellations of any age may come, but nothing is remembered for ever.
        if (
            now
            and not now.active
            and (read.at - now.last > memory(config) or read.t - now.heard > 2 * memory(config))
        ):
            now = None
        said: dict[str, Any] = {"set": _full_set(event), "place": read.place}
        if event.type == "subscription.started" and (now is None or not now.active):
            known = _Known(active=True, start=read.at, last=read.at, heard=read.t)
            facts.append(Fact("started", read.at, read.dimensions, said))
        elif event.type == "subscription.cancelled" and (now is None or now.active):
            start = now.start if now else event.fields["started_at"]
            said["start"] = start if start is None or start <= read.at else None
            known = _Known(active=False, start=None, last=read.at, heard=read.t)
            facts.append(Fact("cancelled", read.at, read.dimensions, said))
        elif now is not None:
            known = replace(now, last=max(now.last, read.at), heard=read.t)
    return facts


@dataclass(frozen=True)
class _Known:
    """What is known of a subscription: since when it is active; its last event and its arrival."""

    active: bool
    start: int | None
    last: int
    heard: int


def _full_set(event: Event) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(event.labels.items()))


def bases(reads: Sequence[Read]) -> list[Fact]:
    return [
        Fact(
            "base",
            read.at,
            read.dimensions,
            {
                "set": _full_set(read.event),
                "place": read.place,
                "active": read.event.fields["active"],
            },
        )
        for read in reads
        if read.event.type == "subscription.base"
    ]


def signals(reads: Sequence[Read]) -> list[Fact]:
    """The latest value of each customer's signals, by its own time, then by arrival."""
    latest: dict[tuple[str, str], Read] = {}
    for read in sorted(reads, key=lambda r: (r.at, r.place)):
        if read.event.type == "customer.signal":
            latest[read.event.entity, read.event.fields["signal"]] = read
    return [Fact("signal", r.at, r.dimensions, r.event.fields) for r in latest.values()]


def all_facts(reads: Sequence[Read], config: Config, t: int) -> list[Fact]:
    """Everything that counts at time t, in whatever window."""
    facts = bases(reads) + signals(reads)
    for group in of_type(reads, "survey").values():
        facts += [a.fact() for a in answers(group, config)]
    for group in of_type(reads, "ticket").values():
        facts += [c.fact() for c in ticket(group).closes if c.counts]
    for group in of_type(reads, "cart").values():
        facts += carts(group, config, t)
    for group in of_type(reads, "subscription").values():
        facts += subscriptions(group, config)
    for group in of_type(reads, "visit").values():
        facts += [Fact("visit", r.at, r.dimensions, r.event.fields) for r in group]
    return facts
