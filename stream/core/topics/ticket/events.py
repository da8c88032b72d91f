"""What a help desk sends: tickets that are closed and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream.core import timestamps
from stream.core.cells import Ints
from stream.core.event import (
    Amount,
    Count,
    Event,
    EventType,
    FieldRule,
    Id,
    Positive,
    Refused,
    Sentiment,
    Timestamp,
)


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


def _are_opened_before(events: Sequence[Any], at: Ints) -> bool:
    try:
        return bool((timestamps.parse_all([e.opened_at for e in events]) <= at).all())
    except Refused:
        return False


TYPES = (
    EventType(
        TicketClosed,
        key="ticket_id",
        rules=(FieldRule("opened_at", "is not later than occurred_at", _check_opened_at),),
        hold=_are_opened_before,
    ),
    EventType(TicketReopened, key="ticket_id"),
)
