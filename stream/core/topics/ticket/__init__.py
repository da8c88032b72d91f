"""Tickets: resolution time, first contact resolution, rapid response and resolution, automation."""

from __future__ import annotations

from typing import Final

from stream.core.bounds import WILSON
from stream.core.formulas import FIXED, sum_of
from stream.core.kpi import Counter, Kpi, Meaning, Move, Term
from stream.core.meanings import ticket as meanings
from stream.core.topic import Topic
from stream.core.topics.ticket.events import TYPES
from stream.core.topics.ticket.tickets import Tickets

NAME = "cx.ticket"


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
        bounds=WILSON,
        highest=1.0,
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
    title="Tickets",
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
            numerator_unit=FIXED,
            denominator=sum_of("resolved"),
            sketch="resolution_times",
            sketch_scale=1000,
            quantile_gauge="cx_art_quantile_seconds",
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
