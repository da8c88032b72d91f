"""Visits: conversion, acquisition, pages per visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import numpy as np

from stream.core.bounds import WILSON
from stream.core.event import Event, EventType, Id, Positive, says
from stream.core.formulas import sum_of
from stream.core.integers import Ints, Mask
from stream.core.kpi import Counter, Kpi, Move, Term
from stream.core.labels import Labels
from stream.core.meanings import visit as meanings
from stream.core.topic import Arrivals, ColumnHandler, Keeper, RowHandler, Topic, flags


class VisitEnded(Event, tag="visit.ended"):
    """A visit of the shop or site has ended."""

    visit_id: Annotated[Id, says("The visit.")]
    pages: Annotated[Positive | None, says("How many pages were seen.", default=1)] = None
    converted: Annotated[
        bool | None, says("Whether the visit led to a purchase.", default=False)
    ] = None
    new_customer: Annotated[
        bool | None, says("Whether the visit won a new customer.", default=False)
    ] = None


NAME = "cx.visit"
TYPES = (EventType(VisitEnded, key="visit_id"),)


class _Said(NamedTuple):
    """What visits say, in columns."""

    pages: Ints
    converted: Ints
    new_customer: Ints

    @classmethod
    def by(cls, visits: Sequence[VisitEnded]) -> _Said:
        return cls(
            np.array([v.pages or 1 for v in visits], dtype=np.int64),
            flags([v.converted for v in visits]),
            flags([v.new_customer for v in visits]),
        )


class Visits(Keeper):
    """Counts visits; nothing is remembered of them."""

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {VisitEnded: self._ended}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        return {VisitEnded: ColumnHandler(_Said.by, self._many_ended)}

    def _ended(
        self, visit: VisitEnded, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        counts = [
            ("visits", 1),
            ("visit_pages", int(visit.pages or 1)),
            ("visits_converted", int(bool(visit.converted))),
            ("visits_new_customer", int(bool(visit.new_customer))),
        ]
        self.tally.add(occurred, row, self.layout.contribution(counts))

    def _many_ended(self, visits: Arrivals[_Said]) -> Mask:
        said, n = visits.said, visits.occurred.size
        counts = [
            ("visits", np.ones(n, dtype=np.int64)),
            ("visit_pages", said.pages),
            ("visits_converted", said.converted),
            ("visits_new_customer", said.new_customer),
        ]
        self.tally.add_columns(visits.occurred, visits.rows, self.layout.parts(counts))
        return np.zeros(n, dtype=bool)


_WEB_ANALYTICS: Final = (
    'J. Burby, A. Brown and the WAA Standards Committee, "Web Analytics Definitions", version 4.0,'
    " Web Analytics Association (2007)."
)

TOPIC = Topic(
    name=NAME,
    title="Visits",
    types=TYPES,
    keeper=Visits,
    counters=(
        Counter("visits", "Visits that ended"),
        Counter("visit_pages", "Pages seen in visits", wide=True),
        Counter("visits_converted", "Visits that converted"),
        Counter("visits_new_customer", "Visits of new customers"),
    ),
    kpis=(
        Kpi(
            id="conversion",
            gauge="cx_conversion_ratio",
            title="Conversion rate",
            help="Share of visits that converted.",
            formula="converted / visits",
            terms=(Term("converted", "visits_converted"), Term("visits", "visits")),
            unit="ratio",
            source=_WEB_ANALYTICS,
            good="up",
            meaning=meanings.CONVERSION,
            numerator=sum_of("visits_converted"),
            denominator=sum_of("visits"),
            bounds=WILSON,
            highest=1.0,
            moves=(
                Move("visit that converts", "visits that convert", ("visits", "visits_converted")),
                Move("visit that does not", "visits that do not", ("visits",)),
            ),
        ),
        Kpi(
            id="acquisition",
            gauge="cx_acquisition_ratio",
            title="Acquisition rate",
            help="Share of visits by new customers.",
            formula="new customers / visits",
            terms=(Term("new customers", "visits_new_customer"), Term("visits", "visits")),
            unit="ratio",
            source=_WEB_ANALYTICS,
            good="up",
            meaning=meanings.ACQUISITION,
            numerator=sum_of("visits_new_customer"),
            denominator=sum_of("visits"),
            bounds=WILSON,
            highest=1.0,
            moves=(
                Move(
                    "visit of a new customer",
                    "visits of new customers",
                    ("visits", "visits_new_customer"),
                ),
                Move("visit of a known one", "visits of known ones", ("visits",)),
            ),
        ),
        Kpi(
            id="pages_per_visit",
            gauge="cx_pages_per_visit",
            title="Pages per visit",
            help="Mean number of pages seen in a visit.",
            formula="pages / visits",
            terms=(Term("pages", "visit_pages"), Term("visits", "visits")),
            unit="pages",
            source=_WEB_ANALYTICS,
            good="up",
            meaning=meanings.PAGES_PER_VISIT,
            numerator=sum_of("visit_pages"),
            denominator=sum_of("visits"),
        ),
    ),
)
