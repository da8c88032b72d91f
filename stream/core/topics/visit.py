"""Visits: conversion, acquisition, pages per visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stream.core.event import Event, EventType, Id, Positive
from stream.core.formulas import sum_of
from stream.core.kpi import Counter, Kpi
from stream.core.labels import Labels
from stream.core.layout import Contribution
from stream.core.topic import MEMO, Context, Keeper, Topic


class VisitEnded(Event, tag="visit.ended"):
    """A visit of the shop or site has ended."""

    visit_id: Id
    pages: Positive | None = None
    converted: bool | None = None
    new_customer: bool | None = None


NAME = "cx.visit"
TYPES = (EventType(VisitEnded, key="visit_id"),)


def count_visit(visit: VisitEnded) -> Iterator[tuple[str, int]]:
    """What a visit adds."""
    yield "visits", 1
    yield "visit_pages", int(visit.pages or 1)
    yield "visits_converted", int(bool(visit.converted))
    yield "visits_new_customer", int(bool(visit.new_customer))


class Visits(Keeper):
    """Counts visits; nothing is remembered of them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._contributions: dict[tuple[object, ...], Contribution] = {}

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {VisitEnded: self._ended}

    def _ended(self, visit: VisitEnded, occurred: int, at: int, labels: Labels) -> None:
        said = (visit.pages, visit.converted, visit.new_customer)
        contribution = self._contributions.get(said)
        if contribution is None:
            contribution = self.layout.contribution(count_visit(visit))
            if len(self._contributions) < MEMO:
                self._contributions[said] = contribution
        self.tally.add(occurred, self.segments.row(labels, None, at), contribution)


TOPIC = Topic(
    name=NAME,
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
            unit="ratio",
            source="Visits with converted = true over all visits.",
            good="up",
            numerator=sum_of("visits_converted"),
            denominator=sum_of("visits"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
        ),
        Kpi(
            id="acquisition",
            gauge="cx_acquisition_ratio",
            title="Acquisition rate",
            help="Share of visits by new customers.",
            unit="ratio",
            source="Visits with new_customer = true over all visits.",
            good="up",
            numerator=sum_of("visits_new_customer"),
            denominator=sum_of("visits"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
        ),
        Kpi(
            id="pages_per_visit",
            gauge="cx_pages_per_visit",
            title="Pages per visit",
            help="Mean number of pages seen in a visit.",
            unit="pages",
            source="Sum of pages over visits.",
            good="up",
            numerator=sum_of("visit_pages"),
            denominator=sum_of("visits"),
            topic=NAME,
        ),
    ),
)
