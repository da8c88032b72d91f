"""Tickets: resolution time, first contact resolution, rapid response and resolution, automation."""

from __future__ import annotations

from typing import Any

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
from stream.core.timestamps import parse


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
    return "is later than occurred_at" if parse(event.opened_at) > at else None


NAME = "cx.ticket"
TYPES = (
    EventType(
        TicketClosed,
        key="ticket_id",
        rules=(FieldRule("opened_at", "is not later than occurred_at", _check_opened_at),),
    ),
    EventType(TicketReopened, key="ticket_id"),
)
