"""Tickets: resolution time, first contact resolution, rapid response and resolution, automation."""

from __future__ import annotations

from stream.core.event import Amount, Count, Event, EventType, Id, Positive, Sentiment, Timestamp


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
