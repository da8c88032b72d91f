"""What a help desk sends: tickets that are closed and opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from stream.core import timestamps
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
    says,
)
from stream.core.integers import Ints

TicketId = Annotated[Id, says("The ticket.")]


class TicketClosed(Event, tag="ticket.closed"):
    """A ticket was closed."""

    ticket_id: TicketId
    opened_at: Annotated[
        Timestamp, says("When the ticket was opened: RFC 3339 with seconds and offset.")
    ]
    contacts: Annotated[
        Positive | None, says("How often the customer had to get in touch.", default=1)
    ] = None
    reopens: Annotated[
        Count | None, says("How often the ticket was opened again before.", default=0)
    ] = None
    excluded_seconds: Annotated[
        Amount | None, says("Seconds that do not count: bot, waiting, off-hours.", default=0)
    ] = None
    resolved: Annotated[bool | None, says("Whether the ticket was resolved.", default=True)] = None
    automated: Annotated[
        bool | None, says("Whether it was answered without a person.", default=False)
    ] = None
    first_response_seconds: Annotated[Amount | None, says("Seconds until the first response.")] = (
        None
    )
    sentiment: Annotated[
        Sentiment | None, says("The sentiment of the text, from -1 (bad) to 1 (good).")
    ] = None


class TicketReopened(Event, tag="ticket.reopened"):
    """A closed ticket was opened again."""

    ticket_id: TicketId


def _check_opened_at(event: Any, at: int) -> str | None:
    return "is later than occurred_at" if timestamps.parse(event.opened_at) > at else None


def opened_at(closes: Sequence[TicketClosed]) -> Ints:
    """When tickets were opened, in ms.

    Raises:
        Refused: one of the times can't be read.
    """
    return timestamps.parse_all([close.opened_at for close in closes])


def _hold(events: Sequence[Any], at: Ints) -> Ints | bool:
    try:
        opened = opened_at(events)
    except Refused:
        return False
    return opened if (opened <= at).all() else False


TYPES = (
    EventType(
        TicketClosed,
        key="ticket_id",
        rules=(FieldRule("opened_at", "is not later than occurred_at", _check_opened_at),),
        hold=_hold,
    ),
    EventType(TicketReopened, key="ticket_id"),
)
