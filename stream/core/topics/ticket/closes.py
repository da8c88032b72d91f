"""What a close says, and what that adds to the counters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stream.core import timestamps
from stream.core.formulas import FIXED, fixed
from stream.core.settings import SECOND, Settings
from stream.core.topics.ticket.events import TicketClosed

#: Fixed point per millisecond.
PER_MS = FIXED // 1000

#: What is remembered of a close, bit by bit. Without any of them it adds nothing.
SENTIMENT, RESPONDED, RESPONDED_RAPIDLY = 1, 2, 4
RESOLVED, AT_FIRST_CONTACT, RAPIDLY, AUTOMATED = 8, 16, 32, 64


class Close(NamedTuple):
    """All that decides what a close adds: bits, sentiment and resolution time in fixed point."""

    said: int = 0
    sentiment: int = 0
    time: int = 0


#: What was taken back, or never added.
NOTHING = Close()


def close_of(ticket: TicketClosed, occurred: int, settings: Settings, reopened: bool) -> Close:
    """What a close says; a ticket that was ``reopened`` before is no first contact."""
    said = sentiment = time = 0
    if ticket.sentiment is not None:
        said, sentiment = SENTIMENT, fixed(ticket.sentiment)
    if ticket.first_response_seconds is not None:
        said |= RESPONDED
        if ticket.first_response_seconds <= settings.rapid_response_ms / SECOND:
            said |= RESPONDED_RAPIDLY
    if ticket.resolved is not False:
        said |= RESOLVED
        opened = timestamps.parse(ticket.opened_at)
        time = max(0, (occurred - opened) * PER_MS - fixed(ticket.excluded_seconds or 0))
        if (ticket.contacts or 1) == 1 and not ticket.reopens and not reopened:
            said |= AT_FIRST_CONTACT
        if time <= settings.rapid_resolution_ms * PER_MS:
            said |= RAPIDLY
        if ticket.automated:
            said |= AUTOMATED
    return Close(said, sentiment, time)


def count_close(close: Close) -> Iterator[tuple[str, int]]:
    """What a close adds."""
    said, sentiment, time = close
    if said & SENTIMENT:
        yield "sentiments", 1
        yield "sentiment_sum", sentiment
    if said & RESPONDED:
        yield "responses", 1
        yield "responses_rapid", int(said & RESPONDED_RAPIDLY != 0)
    if said & RESOLVED:
        yield "resolved", 1
        yield "resolution_time", time
        yield "resolution_times", time // PER_MS
        yield "resolved_first_contact", int(said & AT_FIRST_CONTACT != 0)
        yield "resolved_rapid", int(said & RAPIDLY != 0)
        yield "resolved_automated", int(said & AUTOMATED != 0)
