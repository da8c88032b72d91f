"""The tickets that are remembered, so that a reopening can take back a close."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stream.core.ends_of_time import BEFORE_ALL
from stream.core.event import Event
from stream.core.formulas import fixed_columns
from stream.core.integers import Ints, Mask
from stream.core.kpi import Column
from stream.core.labels import Labels
from stream.core.memory import Memory
from stream.core.settings import DAY
from stream.core.table import ABSENT
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    flags,
    numbers,
)
from stream.core.topics.ticket.closes import (
    AT_FIRST_CONTACT,
    AUTOMATED,
    NOTHING,
    PER_MS,
    RAPIDLY,
    RESOLVED,
    RESPONDED,
    RESPONDED_RAPIDLY,
    SENTIMENT,
    Close,
    close_of,
    count_close,
)
from stream.core.topics.ticket.events import TicketClosed, TicketReopened, opened_at

#: A close is remembered for so long, from ``occurred_at`` to ``occurred_at``.
CLOSE_MEMORY_MS = 7 * DAY
#: The greatest numbers (seconds and ms) whose fixed point is sure to fit into 64 bits.
_MOST_SECONDS = 1 << 32
_MOST_MS = 1 << 42
_LONGEST = 1 << 62
#: When a ticket was reopened that never was: before all times.
_NEVER = BEFORE_ALL


class _Ticket(NamedTuple):
    """What is remembered of a ticket."""

    last: int
    row: int
    close: Close
    closed_at: int
    reopened_at: int


class _Said(NamedTuple):
    """What closes say, in columns; NaN for what was left out."""

    opened_at: Ints
    excluded_seconds: Column
    response_ms: Column
    sentiment: Column
    first_contact: Ints
    automated: Ints
    resolved: Ints

    @classmethod
    def by(cls, closes: Sequence[TicketClosed]) -> _Said:
        return cls.judged(closes, opened_at(closes))

    @classmethod
    def judged(cls, closes: Sequence[TicketClosed], opened: Ints) -> _Said:
        return cls(
            opened,
            numbers([c.excluded_seconds or 0.0 for c in closes]),
            numbers([c.first_response_seconds for c in closes]) * 1000,
            numbers([c.sentiment for c in closes]),
            flags([(c.contacts or 1) == 1 and not c.reopens for c in closes]),
            flags([c.automated for c in closes]),
            flags([c.resolved is not False for c in closes]),
        )


class Tickets(Keeper):
    """Remembers what a close contributed, so that a reopening can take it back.

    A resolution time that does not fit into 64 bits is the
    ``extra``, in two parts.
    """

    entity = "ticket_id"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        # A reopening that is just not late may follow a close of seven days earlier.
        self._tickets = Memory(
            "tickets",
            context.settings.memory_ms + CLOSE_MEMORY_MS,
            {
                "row": np.int32,
                "said": np.uint8,
                "sentiment": np.int32,
                "time": np.int64,
                "closed_at": np.int64,
                "reopened_at": np.int64,
            },
            context.settings.max_remembered,
        )

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {TicketClosed: self._closed, TicketReopened: self._reopened}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        return {TicketClosed: ColumnHandler(_Said.by, self._many_closed, _Said.judged)}

    def orphans(self) -> Mapping[type[Event], Callable[[int, int], bool]]:
        return {TicketReopened: lambda key, at: not self._remembers(key, at)}

    def stores(self) -> Sequence[Store]:
        return (self._tickets,)

    def _remembers(self, key: int, occurred: int) -> bool:
        known = self._recall(key)
        return known is not None and abs(occurred - known.closed_at) <= CLOSE_MEMORY_MS

    def _recall(self, key: int) -> _Ticket | None:
        known = self._tickets.get(key)
        if known is None:
            return None
        last, row, said, sentiment, time, closed_at, reopened_at, longer = known
        if longer is not None:
            high, low = longer
            time = high * _LONGEST + low
        close = Close(said, sentiment, time)
        return _Ticket(last, row, close, closed_at, _swapped(reopened_at))

    def _remember(self, key: int, ticket: _Ticket) -> None:
        last, row, (said, sentiment, time), closed_at, reopened_at = ticket
        longer = None if time < _LONGEST else divmod(time, _LONGEST)
        time = time if longer is None else 0
        fields = last, row, said, sentiment, time, closed_at, _swapped(reopened_at)
        self._tickets.put(key, *fields, extra=longer)

    def _closed(
        self, event: TicketClosed, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        reopened_at = _NEVER
        known = self._recall(key)
        if known:
            if abs(occurred - known.closed_at) <= CLOSE_MEMORY_MS:
                self._take_back(known)
                reopened_at = known.reopened_at
            elif abs(occurred - known.reopened_at) <= CLOSE_MEMORY_MS:
                reopened_at = known.reopened_at
        close = close_of(event, occurred, self.settings, reopened=reopened_at != _NEVER)
        self.tally.add(occurred, row, self.layout.contribution(count_close(close)))
        self._remember(key, _Ticket(occurred, row, close, occurred, reopened_at))

    def _take_back(self, ticket: _Ticket) -> None:
        contribution = self.layout.contribution(count_close(ticket.close))
        self.tally.take_back(ticket.closed_at, ticket.row, contribution)

    def _reopened(
        self, event: TicketReopened, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        known = self._recall(key)
        if known is None or occurred < known.closed_at:
            return
        self._take_back(known)
        last, reopened_at = max(known.last, occurred), max(occurred, known.reopened_at)
        self._remember(key, _Ticket(last, known.row, NOTHING, known.closed_at, reopened_at))

    def _many_closed(self, closes: Arrivals[_Said]) -> Mask:
        said, occurred = closes.said, closes.occurred
        lasted, excluded = occurred - said.opened_at, said.excluded_seconds
        usual: Mask = self._tickets.find(closes.keys) == ABSENT
        usual &= (lasted < _MOST_MS) & (excluded < _MOST_SECONDS)
        chosen = np.flatnonzero(usual)
        if chosen.size:
            rows, occurred = closes.rows[chosen], occurred[chosen]
            time = np.maximum(0, lasted[chosen] * PER_MS - fixed_columns(excluded[chosen]))
            bits = self._bits(_Said._make(column[chosen] for column in said), time)
            sentiments = fixed_columns(np.nan_to_num(said.sentiment[chosen]))
            time[bits & RESOLVED == 0] = 0
            self._count(occurred, rows, bits, sentiments, time)
            self._tickets.put_new(
                closes.keys[chosen],
                occurred,
                row=rows,
                said=bits,
                sentiment=sentiments,
                time=time,
                closed_at=occurred,
                reopened_at=_swapped(_NEVER),
            )
        return ~usual

    def _bits(self, said: _Said, time: Ints) -> Ints:
        """The bits of closes of new tickets."""
        bits = np.where(np.isnan(said.response_ms), 0, RESPONDED)
        is_rapid = said.response_ms <= self.settings.rapid_response_ms
        bits |= np.where(is_rapid, RESPONDED_RAPIDLY, 0)
        bits |= np.where(np.isnan(said.sentiment), 0, SENTIMENT)
        rapid = time <= self.settings.rapid_resolution_ms * PER_MS
        resolved = RESOLVED + said.first_contact * AT_FIRST_CONTACT + rapid * RAPIDLY
        resolved += said.automated * AUTOMATED
        return bits | resolved * said.resolved

    def _count(self, at: Ints, rows: Ints, said: Ints, sentiment: Ints, time: Ints) -> None:
        """Add what ``count_close`` says, for many."""

        def how_many(bit: int) -> Ints:
            return (said & bit) // bit

        counts = [
            ("sentiments", how_many(SENTIMENT)),
            ("sentiment_sum", sentiment),
            ("responses", how_many(RESPONDED)),
            ("responses_rapid", how_many(RESPONDED_RAPIDLY)),
            ("resolved", how_many(RESOLVED)),
            ("resolution_time", time),
            ("resolved_first_contact", how_many(AT_FIRST_CONTACT)),
            ("resolved_rapid", how_many(RAPIDLY)),
            ("resolved_automated", how_many(AUTOMATED)),
        ]
        self.tally.add_columns(at, rows, self.layout.parts(counts))
        resolved = np.flatnonzero(said & RESOLVED)
        times = self.layout.parts([("resolution_times", time[resolved] // PER_MS)])
        self.tally.add_columns(at[resolved], rows[resolved], times)


def _swapped(reopened_at: int) -> int:
    """A time of a reopening as a record holds it, and back again.

    There 0 says that there was none, as it takes least room and states have always had it; so what
    happened at 0 stands as what would say so here.
    """
    return {0: _NEVER, _NEVER: 0}.get(reopened_at, reopened_at)
