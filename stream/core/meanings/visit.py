"""What the KPIs of visits say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_CORRECTIONS: Final = (
    (
        "None: a visit is told once, when it has ended. A record with the same `event_id` within"
        " `dedupe` counts once; the `visit_id` is not remembered."
    ),
)
_RUNNING: Final = "Visits that have not ended: there is no event for them."
_ROBOTS: Final = "Nothing that the sender lets through: visits of robots must be left out there."

_STORY: Final[tuple[Told, ...]] = (
    told(
        "Seven pages and a purchase by a new customer.",
        "visit.ended",
        "11:10",
        visit_id="v1",
        pages=7,
        converted=True,
        new_customer=True,
    ),
    told("Two pages, no purchase.", "visit.ended", "11:20", visit_id="v2", pages=2),
    told("One page, which is the default.", "visit.ended", "11:30", visit_id="v3"),
)

CONVERSION: Final = Meaning(
    definition=(
        "The share of visits in which the goal was reached (`converted` = true). What the goal is,"
        " a purchase or a registration, is the sender's to say. The base is visits, not visitors."
    ),
    examples=(
        Example(
            "30 of 1,000 visits",
            {"visits_converted": 30, "visits": 1_000},
            0.03,
            0.021,
            0.043,
        ),
    ),
    story=_STORY,
    fed_by={"visit.ended": ("visit_id", "converted")},
    left_out=(_RUNNING, _ROBOTS, "Further goals in one visit: it converts once."),
    corrections=_CORRECTIONS,
    alert_at=0.02,
)

ACQUISITION: Final = Meaning(
    definition=(
        "The share of visits that are a customer's first (`new_customer` = true), as the sender"
        " says: who is new is not looked up here."
    ),
    examples=(
        Example(
            "400 of 1,000 visits",
            {"visits_new_customer": 400, "visits": 1_000},
            0.4,
            0.370,
            0.431,
        ),
    ),
    story=_STORY,
    fed_by={"visit.ended": ("visit_id", "new_customer")},
    left_out=(_RUNNING, _ROBOTS),
    corrections=_CORRECTIONS,
    alert_at=0.1,
)

PAGES_PER_VISIT: Final = Meaning(
    definition=(
        "The mean number of pages seen in a visit. More is read as interest here; on a site for"
        " support, where fewer pages mean that the answer was found, read it the other way."
    ),
    examples=(
        Example("3,200 pages in 1,000 visits", {"visit_pages": 3_200, "visits": 1_000}, 3.2),
    ),
    story=_STORY,
    fed_by={"visit.ended": ("visit_id", "pages")},
    left_out=(_RUNNING, _ROBOTS),
    corrections=_CORRECTIONS,
    alert_at=2.0,
)
