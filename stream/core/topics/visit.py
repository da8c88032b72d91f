"""Visits: conversion, acquisition, pages per visit."""

from __future__ import annotations

from stream.core.event import Event, EventType, Id, Positive


class VisitEnded(Event, tag="visit.ended"):
    """A visit of the shop or site has ended."""

    visit_id: Id
    pages: Positive | None = None
    converted: bool | None = None
    new_customer: bool | None = None


NAME = "cx.visit"
TYPES = (EventType(VisitEnded, key="visit_id"),)
