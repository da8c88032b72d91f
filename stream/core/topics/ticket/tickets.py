"""The tickets that are remembered, so that a reopening can take back a close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stream.core.ends_of_time import BEFORE_ALL
from stream.core.event import Event
from stream.core.formulas import fixed_columns
from stream.core.integers import Ints, Mask
from stream.core.kpi import Column
from stream.core.labels import Labels
from stream.core.memory import Memory
from stream.core.settings import DAY, SECOND
from stream.core.table import ABSENT, Slots
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    Nothing,
    Reference,
    RowHandler,
    Store,
    flags,
    nothing,
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
    response_seconds: Column
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
            numbers([c.first_response_seconds for c in closes]),
            numbers([c.sentiment for c in closes]),
            flags([(c.contacts or 1) == 1 and not c.reopens for c in closes]),
            flags([c.automated for c in closes]),
            flags([c.resolved is not False for c in closes]),
        )


class Tickets(Keeper):
    """Remembers what a close contributed, so that a reopening can take it back.

    A resolution time that does not fit into 64 bits is the ``extra``, in two parts.
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
        return {
            TicketClosed: ColumnHandler(_Said.by, self._many_closed, _Said.judged),
            TicketReopened: ColumnHandler(nothing, self._many_reopened),
        }

    def references(self) -> Mapping[type[Event], Reference]:
        closed = Reference(self._tickets, "closed_at", CLOSE_MEMORY_MS, of_any_age=True)
        return {TicketReopened: closed}

    def stores(self) -> Sequence[Store]:
        return (self._tickets,)

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
        # One from so long before counts, but it is the younger close that may be reopened.
        if known is None or known.closed_at - occurred <= CLOSE_MEMORY_MS:
            last = max(occurred, reopened_at)
            self._remember(key, _Ticket(last, row, close, occurred, reopened_at))

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
        slots = self._tickets.find(closes.keys)
        usual: Mask = (lasted < _MOST_MS) & (excluded < _MOST_SECONDS)
        usual &= self._tickets.without_extra(slots)
        usual &= ~self._are_overtaken(slots, occurred)
        chosen = np.flatnonzero(usual)
        if chosen.size:
            rows, occurred, slots = closes.rows[chosen], occurred[chosen], slots[chosen]
            reopened_at = self._closed_anew(slots, occurred)
            time = np.maximum(0, lasted[chosen] * PER_MS - fixed_columns(excluded[chosen]))
            said = _Said._make(column[chosen] for column in said)
            said.first_contact[reopened_at != _NEVER] = 0
            bits = self._bits(said, time)
            sentiments = fixed_columns(np.nan_to_num(said.sentiment))
            time[bits & RESOLVED == 0] = 0
            self._count(occurred, rows, bits, sentiments, time)
            fields = {
                "row": rows,
                "said": bits,
                "sentiment": sentiments,
                "time": time,
                "closed_at": occurred,
                "reopened_at": _all_swapped(reopened_at),
            }
            new = slots == ABSENT
            fresh = {name: values[new] for name, values in fields.items()}
            self._tickets.put_new(closes.keys[chosen][new], occurred[new], **fresh)
            if not new.all():
                changed = {name: values[~new] for name, values in fields.items()}
                last = np.maximum(occurred, reopened_at)[~new]
                self._tickets.update(slots[~new], last, **changed)
        return ~usual

    def _are_overtaken(self, slots: Slots, occurred: Ints) -> Mask:
        """Which closes come after one that is so much younger that they don't replace it."""
        before = self._tickets.field("closed_at")[slots] - occurred
        overtaken: Mask = (slots != ABSENT) & (before > CLOSE_MEMORY_MS)
        return overtaken

    def _closed_anew(self, slots: Slots, occurred: Ints) -> Ints:
        """Take back the former closes of tickets; when each had been reopened, or ``_NEVER``."""
        known = slots != ABSENT
        closed_at = self._tickets.field("closed_at")[slots]
        near = known & (np.abs(occurred - closed_at) <= CLOSE_MEMORY_MS)
        self._take_back_many(slots[near])
        reopened_at = _all_swapped(self._tickets.field("reopened_at")[slots])
        near |= known & (np.abs(occurred - reopened_at) <= CLOSE_MEMORY_MS)
        return np.where(near, reopened_at, _NEVER)

    def _take_back_many(self, slots: Slots) -> None:
        if slots.size:
            names = "closed_at", "row", "said", "sentiment", "time"
            at, *former = (self._tickets.field(n)[slots].astype(np.int64) for n in names)
            self._count(at, *former, sign=-1)

    def _many_reopened(self, tickets: Arrivals[Nothing]) -> Mask:
        memory, occurred = self._tickets, tickets.occurred
        slots = memory.find(tickets.keys)
        usual: Mask = (slots != ABSENT) & (memory.field("closed_at")[slots] <= occurred)
        usual[usual] = memory.without_extra(slots[usual])
        slots, occurred = slots[usual], occurred[usual]
        if slots.size:
            self._take_back_many(slots)
            reopened_at = np.maximum(occurred, _all_swapped(memory.field("reopened_at")[slots]))
            memory.update(
                slots,
                np.maximum(memory.field("last")[slots], occurred),
                **NOTHING._asdict(),
                reopened_at=_all_swapped(reopened_at),
            )
        return ~usual

    def _bits(self, said: _Said, time: Ints) -> Ints:
        """The bits of closes, some with a resolution time."""
        bits = np.where(np.isnan(said.response_seconds), 0, RESPONDED)
        is_rapid = said.response_seconds <= self.settings.rapid_response_ms / SECOND
        bits |= np.where(is_rapid, RESPONDED_RAPIDLY, 0)
        bits |= np.where(np.isnan(said.sentiment), 0, SENTIMENT)
        rapid = time <= self.settings.rapid_resolution_ms * PER_MS
        resolved = RESOLVED + said.first_contact * AT_FIRST_CONTACT + rapid * RAPIDLY
        resolved += said.automated * AUTOMATED
        return bits | resolved * said.resolved

    def _count(
        self, at: Ints, rows: Ints, said: Ints, sentiment: Ints, time: Ints, *, sign: int = 1
    ) -> None:
        """Add, or take back, what ``count_close`` says, for many."""

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
        self._add(at, rows, counts, sign)
        resolved = np.flatnonzero(said & RESOLVED)
        times = time[resolved] // PER_MS
        self._add(at[resolved], rows[resolved], [("resolution_times", times)], sign)

    def _add(self, at: Ints, rows: Ints, counts: Iterable[tuple[str, Ints]], sign: int) -> None:
        # The parts are what is negative: those of a negative number are not those of its opposite.
        parts = [(where, n * sign) for where, n in self.layout.parts(counts)]
        self.tally.add_columns(at, rows, parts)


def _swapped(reopened_at: int) -> int:
    """A time of a reopening as a record holds it, and back again.

    There 0 says that there was none, as it takes least room and states have always had it; so what
    happened at 0 stands as what would say so here.
    """
    return {0: _NEVER, _NEVER: 0}.get(reopened_at, reopened_at)


def _all_swapped(reopened_at: Ints) -> Ints:
    """``_swapped`` of many."""
    never = np.where(reopened_at == _NEVER, 0, reopened_at)
    return np.where(reopened_at == 0, _NEVER, never)
