"""Tickets: resolution time, first contact resolution, rapid response and resolution, automation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stream.core import timestamps
from stream.core.event import (
    Amount,
    Count,
    Event,
    EventType,
    FieldRule,
    Id,
    Positive,
    Sentiment,
    Timestamp,
)
from stream.core.formulas import FIXED, fixed, sum_of
from stream.core.kpi import Counter, Kpi
from stream.core.labels import Labels
from stream.core.memory import Memory, digest
from stream.core.settings import DAY, Settings
from stream.core.topic import Context, Keeper, Store, Topic


class TicketClosed(Event, tag="ticket.closed"):
    """A ticket was closed."""

    ticket_id: Id
    opened_at: Timestamp
    contacts: Positive | None = None
    reopens: Count | None = None
    excluded_seconds: Amount | None = None
    resolved: bool | None = None
    automated: bool | None = None
    first_response_seconds: Amount | None = None
    sentiment: Sentiment | None = None


class TicketReopened(Event, tag="ticket.reopened"):
    """A closed ticket was opened again."""

    ticket_id: Id


def _check_opened_at(event: Any, at: int) -> str | None:
    return "is later than occurred_at" if timestamps.parse(event.opened_at) > at else None


NAME = "cx.ticket"
TYPES = (
    EventType(
        TicketClosed,
        key="ticket_id",
        rules=(FieldRule("opened_at", "is not later than occurred_at", _check_opened_at),),
    ),
    EventType(TicketReopened, key="ticket_id"),
)


#: A close is remembered for so long, from ``occurred_at`` to ``occurred_at``.
CLOSE_MEMORY_MS = 7 * DAY
#: Fixed point per millisecond.
PER_MS = FIXED // 1000


def count_close(
    ticket: TicketClosed, occurred: int, settings: Settings, reopened: bool
) -> Iterator[tuple[str, int]]:
    """What a close adds; a ticket that was ``reopened`` before is no first contact."""
    if ticket.sentiment is not None:
        yield "sentiments", 1
        yield "sentiment_sum", fixed(ticket.sentiment)
    if ticket.first_response_seconds is not None:
        yield "responses", 1
        response_ms = ticket.first_response_seconds * 1000
        yield "responses_rapid", int(response_ms <= settings.rapid_response_ms)
    if ticket.resolved is False:
        return
    opened = timestamps.parse(ticket.opened_at)
    time = max(0, (occurred - opened) * PER_MS - fixed(ticket.excluded_seconds or 0))
    first_contact = (ticket.contacts or 1) == 1 and not ticket.reopens and not reopened
    yield "resolved", 1
    yield "resolution_time", time
    yield "resolution_times", time // PER_MS
    yield "resolved_first_contact", int(first_contact)
    yield "resolved_rapid", int(time <= settings.rapid_resolution_ms * PER_MS)
    yield "resolved_automated", int(bool(ticket.automated))


class Tickets(Keeper):
    """Remembers what a close contributed, so that a reopening can take it back.

    A record's rest is (row, contribution, closed at, reopened at); the contribution is empty once
    it was taken back, a time 0 where it did not happen.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # A reopening that is just not late may follow a close of seven days earlier.
        self._tickets = Memory("tickets", context.settings.memory_ms + CLOSE_MEMORY_MS)

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {TicketClosed: self._closed, TicketReopened: self._reopened}

    def orphans(self) -> Mapping[type[Event], Callable[[Any, int], bool]]:
        return {TicketReopened: lambda e, at: not self._remembers(digest(e.ticket_id), at)}

    def stores(self) -> Sequence[Store]:
        return (self._tickets,)

    def _remembers(self, key: bytes, occurred: int) -> bool:
        known = self._tickets.get(key)
        return known is not None and abs(occurred - known[4]) <= CLOSE_MEMORY_MS

    def _closed(self, ticket: TicketClosed, occurred: int, at: int, labels: Labels) -> None:
        key = digest(ticket.ticket_id)
        reopened_at = 0
        known = self._tickets.get(key)
        if known:
            _, _, former_row, former, closed_at, was_reopened_at = known
            if abs(occurred - closed_at) <= CLOSE_MEMORY_MS:
                self.tally.take_back(closed_at, former_row, former)
                reopened_at = was_reopened_at
            elif abs(occurred - was_reopened_at) <= CLOSE_MEMORY_MS:
                reopened_at = was_reopened_at
        row = self.segments.row(labels, None, at)
        contribution = self.layout.contribution(
            count_close(ticket, occurred, self.settings, reopened=bool(reopened_at))
        )
        self.tally.add(occurred, row, contribution)
        self._tickets.put(key, occurred, row, contribution, occurred, reopened_at)

    def _reopened(self, ticket: TicketReopened, occurred: int, at: int, labels: Labels) -> None:
        key = digest(ticket.ticket_id)
        self.segments.row(labels, None, at)
        known = self._tickets.get(key)
        if known is None or occurred < known[4]:
            return
        _, last, row, contribution, closed_at, reopened_at = known
        self.tally.take_back(closed_at, row, contribution)
        reopened_at = max(occurred, reopened_at)
        self._tickets.put(key, max(last, occurred), row, (), closed_at, reopened_at)


def _share(name: str, gauge: str, title: str, text: str, source: str, good: str, total: str) -> Kpi:
    return Kpi(
        id=name,
        gauge=gauge,
        title=title,
        help=text,
        unit="ratio",
        source=source,
        good="up",
        numerator=sum_of(good),
        denominator=sum_of(total),
        bounds="wilson",
        highest=1.0,
        topic=NAME,
    )


TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Tickets,
    counters=(
        Counter("resolved", "Tickets closed as resolved"),
        Counter("resolution_time", "Their resolution times in seconds", scale=FIXED, wide=True),
        Counter("resolved_first_contact", "Of them, at the first contact and never reopened"),
        Counter("resolved_rapid", "Of them, within the time of rapid resolution"),
        Counter("resolved_automated", "Of them, without a person"),
        Counter("responses", "Closed tickets that carry the time of their first response"),
        Counter("responses_rapid", "Of them, within the time of rapid response"),
    ),
    sketches=("resolution_times",),
    kpis=(
        Kpi(
            id="art",
            gauge="cx_art_seconds",
            title="Average resolution time",
            help="Mean time from opening to close of resolved tickets, excluded time left out.",
            unit="seconds",
            source="Sum of max(0, close - opening - excluded time) over resolved tickets.",
            good="down",
            numerator=sum_of("resolution_time"),
            denominator=sum_of("resolved"),
            sketch="resolution_times",
            sketch_scale=1000,
            quantile_gauge="cx_art_quantile_seconds",
            topic=NAME,
        ),
        _share(
            "fcr",
            "cx_fcr_ratio",
            "First contact resolution",
            "Share of resolved tickets that took one contact and no reopening.",
            "Resolved with contacts = 1 and no reopening over resolved tickets.",
            "resolved_first_contact",
            "resolved",
        ),
        _share(
            "rapid_response",
            "cx_rapid_response_ratio",
            "Rapid response",
            "Share of tickets whose first response came in time.",
            "First response within [ticket] rapid_response over tickets that carry it.",
            "responses_rapid",
            "responses",
        ),
        _share(
            "rapid_resolution",
            "cx_rapid_resolution_ratio",
            "Rapid resolution",
            "Share of resolved tickets that were resolved in time.",
            "Resolution within [ticket] rapid_resolution over resolved tickets.",
            "resolved_rapid",
            "resolved",
        ),
        _share(
            "automation",
            "cx_automation_ratio",
            "Automation",
            "Share of resolved tickets that were answered without a person.",
            "Resolved with automated = true over resolved tickets.",
            "resolved_automated",
            "resolved",
        ),
    ),
)
