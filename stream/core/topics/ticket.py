"""Tickets: resolution time, first contact resolution, rapid response and resolution, automation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

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
from stream.core.formulas import FIXED, fixed, fixed_columns, sum_of
from stream.core.kpi import Counter, Kpi, Meaning, Move, Term
from stream.core.labels import Labels
from stream.core.meanings import ticket as meanings
from stream.core.memory import Memory
from stream.core.settings import DAY, Settings
from stream.core.table import ABSENT, Mask
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    Topic,
    flags,
    numbers,
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


NAME = "cx.ticket"
TYPES = (
    EventType(
        TicketClosed,
        key="ticket_id",
        rules=(FieldRule("opened_at", "is not later than occurred_at", _check_opened_at),),
        hold=_are_opened_before,
    ),
    EventType(TicketReopened, key="ticket_id"),
)


#: A close is remembered for so long, from ``occurred_at`` to ``occurred_at``.
CLOSE_MEMORY_MS = 7 * DAY
#: Fixed point per millisecond.
PER_MS = FIXED // 1000

#: What is remembered of a close, bit by bit. Without any of them it adds nothing.
SENTIMENT, RESPONDED, RESPONDED_RAPIDLY = 1, 2, 4
RESOLVED, AT_FIRST_CONTACT, RAPIDLY, AUTOMATED = 8, 16, 32, 64
#: The greatest numbers (seconds and ms) whose fixed point is sure to fit into 64 bits.
_MOST_SECONDS = 1 << 32
_MOST_MS = 1 << 42
_LONGEST = 1 << 62


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
        if ticket.first_response_seconds * 1000 <= settings.rapid_response_ms:
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


class _Ticket(NamedTuple):
    """What is remembered of a ticket."""

    last: int
    row: int
    close: Close
    closed_at: int
    reopened_at: int


class Tickets(Keeper):
    """Remembers what a close contributed, so that a reopening can take it back.

    Times are 0 where it did not happen. A resolution time that does not fit into 64 bits is the
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

    def columns(self) -> Mapping[type[Event], ColumnHandler]:
        return {TicketClosed: self._many_closed}

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
        return _Ticket(last, row, close, closed_at, reopened_at)

    def _remember(self, key: int, ticket: _Ticket) -> None:
        last, row, (said, sentiment, time), closed_at, reopened_at = ticket
        longer = None if time < _LONGEST else divmod(time, _LONGEST)
        time = time if longer is None else 0
        self._tickets.put(
            key, last, row, said, sentiment, time, closed_at, reopened_at, extra=longer
        )

    def _closed(
        self, event: TicketClosed, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        reopened_at = 0
        known = self._recall(key)
        if known:
            if abs(occurred - known.closed_at) <= CLOSE_MEMORY_MS:
                self._take_back(known)
                reopened_at = known.reopened_at
            elif abs(occurred - known.reopened_at) <= CLOSE_MEMORY_MS:
                reopened_at = known.reopened_at
        close = close_of(event, occurred, self.settings, reopened=bool(reopened_at))
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

    def _many_closed(self, closes: Arrivals) -> Mask:
        events, occurred = closes.events, closes.occurred
        lasted = occurred - timestamps.parse_all([e.opened_at for e in events])
        excluded = numbers([e.excluded_seconds or 0.0 for e in events])
        usual: Mask = self._tickets.find(closes.keys) == ABSENT
        usual &= (lasted < _MOST_MS) & (excluded < _MOST_SECONDS)
        chosen = np.flatnonzero(usual)
        if chosen.size < len(events):
            events = [events[i] for i in chosen.tolist()]
            occurred, lasted, excluded = occurred[chosen], lasted[chosen], excluded[chosen]
        if events:
            rows = closes.rows[chosen]
            time = np.maximum(0, lasted * PER_MS - fixed_columns(excluded))
            sentiment = numbers([e.sentiment for e in events])
            said = self._said(events, time) | np.where(np.isnan(sentiment), 0, SENTIMENT)
            sentiments = fixed_columns(np.nan_to_num(sentiment))
            time[said & RESOLVED == 0] = 0
            self._count(occurred, rows, said, sentiments, time)
            self._tickets.put_new(
                closes.keys[chosen],
                occurred,
                row=rows,
                said=said,
                sentiment=sentiments,
                time=time,
                closed_at=occurred,
                reopened_at=0,
            )
        return ~usual

    def _said(self, events: Sequence[TicketClosed], time: Ints) -> Ints:
        """The bits of closes of new tickets, but for the sentiment."""
        response_ms = numbers([e.first_response_seconds for e in events]) * 1000
        said = np.where(np.isnan(response_ms), 0, RESPONDED)
        said |= np.where(response_ms <= self.settings.rapid_response_ms, RESPONDED_RAPIDLY, 0)
        first = flags([(e.contacts or 1) == 1 and not e.reopens for e in events])
        rapid = time <= self.settings.rapid_resolution_ms * PER_MS
        resolved = RESOLVED + first * AT_FIRST_CONTACT + rapid * RAPIDLY
        resolved += flags([e.automated for e in events]) * AUTOMATED
        return said | resolved * flags([e.resolved is not False for e in events])

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


def _share(
    name: str,
    gauge: str,
    title: str,
    text: str,
    source: str,
    share: Term,
    whole: Term,
    meaning: Meaning,
) -> Kpi:
    return Kpi(
        id=name,
        gauge=gauge,
        title=title,
        help=text,
        formula=f"{share.words} / {whole.words}",
        terms=(share, whole),
        unit="ratio",
        source=source,
        good="up",
        meaning=meaning,
        numerator=sum_of(share.column),
        denominator=sum_of(whole.column),
        bounds="wilson",
        highest=1.0,
        topic=NAME,
        moves=(
            Move(f"ticket {share.words}", f"tickets {share.words}", (whole.column, share.column)),
            Move(f"ticket not {share.words}", f"tickets not {share.words}", (whole.column,)),
        ),
    )


_SERVICE_LEVEL: Final = (
    'Cisco Systems, manual of the ICM software 4.5, "Service Data": service level, here of first'
    " responses."
)
_SLA: Final = (
    'Freshworks, "Understanding Due By times and SLA policies" (support.freshservice.com): the'
    " share of resolutions within such a target."
)

TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Tickets,
    counters=(
        Counter("resolved", "Tickets closed as resolved"),
        Counter(
            "resolution_time",
            "Resolution times of resolved tickets in seconds, added up",
            scale=FIXED,
            wide=True,
        ),
        Counter(
            "resolved_first_contact", "Tickets resolved at the first contact and never reopened"
        ),
        Counter("resolved_rapid", "Tickets resolved within the time of rapid resolution"),
        Counter("resolved_automated", "Tickets resolved without a person"),
        Counter("responses", "Closed tickets that carry the time of their first response"),
        Counter(
            "responses_rapid",
            "Closed tickets with a first response within the time of rapid response",
        ),
    ),
    sketches=("resolution_times",),
    kpis=(
        Kpi(
            id="art",
            gauge="cx_art_seconds",
            title="Average resolution time",
            help="Mean time from opening to close of resolved tickets, excluded time left out.",
            formula="resolution time / resolved",
            terms=(Term("resolution time", "resolution_time"), Term("resolved", "resolved")),
            unit="seconds",
            source=(
                'Zendesk, "About native Support time duration metrics" (support.zendesk.com):'
                " full resolution time."
            ),
            good="down",
            meaning=meanings.ART,
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
            'Freshworks, "How do you calculate FCR?" (support.freshservice.com).',
            Term("resolved at first contact", "resolved_first_contact"),
            Term("resolved", "resolved"),
            meanings.FCR,
        ),
        _share(
            "rapid_response",
            "cx_rapid_response_ratio",
            "Rapid response",
            "Share of tickets whose first response came in time.",
            _SERVICE_LEVEL,
            Term("responded in time", "responses_rapid"),
            Term("responses", "responses"),
            meanings.RAPID_RESPONSE,
        ),
        _share(
            "rapid_resolution",
            "cx_rapid_resolution_ratio",
            "Rapid resolution",
            "Share of resolved tickets that were resolved in time.",
            _SLA,
            Term("resolved in time", "resolved_rapid"),
            Term("resolved", "resolved"),
            meanings.RAPID_RESOLUTION,
        ),
        _share(
            "automation",
            "cx_automation_ratio",
            "Automation",
            "Share of resolved tickets that were answered without a person.",
            'Intercom, "Fin AI Agent automation rate" (fin.ai/help).',
            Term("resolved without a person", "resolved_automated"),
            Term("resolved", "resolved"),
            meanings.AUTOMATION,
        ),
    ),
)
