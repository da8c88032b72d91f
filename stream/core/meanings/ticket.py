"""What the KPIs of tickets say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_REOPENED: Final = {"ticket.reopened": ("ticket_id",)}
_CORRECTIONS: Final = (
    "`ticket.reopened` takes back all that the close counted, in the pane in which it stood.",
    "A second close within 7 days replaces the first, so a ticket counts once.",
    (
        "A close is remembered for 7 days. A `ticket.reopened` after that is an `orphan` and goes"
        " to the dead letters; a close after that counts as a ticket of its own."
    ),
    (
        "A close that arrives after one that is more than 7 days younger counts too, and the"
        " younger one stays the close that is remembered."
    ),
    "A reopening that is older than the close, by however much, changes nothing.",
)
_UNRESOLVED: Final = (
    "Tickets closed with `resolved` = false: neither side of the fraction has them."
)
_OPEN: Final = "Tickets that are still open: there is no event for them."

_STORY: Final[tuple[Told, ...]] = (
    told(
        "Resolved in an hour, half of which is not counted, at the first contact.",
        "ticket.closed",
        "11:10",
        ticket_id="t1",
        opened_at="2026-03-02T10:10:00Z",
        excluded_seconds=1800,
        first_response_seconds=300,
    ),
    told(
        "Resolved in two days, with three contacts.",
        "ticket.closed",
        "11:20",
        ticket_id="t2",
        opened_at="2026-02-28T11:20:00Z",
        contacts=3,
        first_response_seconds=301,
    ),
    told(
        "Resolved in a minute by a bot; the time of a first response was not measured.",
        "ticket.closed",
        "11:30",
        ticket_id="t3",
        opened_at="2026-03-02T11:29:00Z",
        automated=True,
    ),
    told(
        "Closed, not resolved: only its first response counts.",
        "ticket.closed",
        "11:35",
        ticket_id="t4",
        opened_at="2026-03-02T11:00:00Z",
        resolved=False,
        first_response_seconds=60,
    ),
    told(
        "Counts until the next record.",
        "ticket.closed",
        "11:40",
        ticket_id="t5",
        opened_at="2026-03-02T11:00:00Z",
        first_response_seconds=10,
    ),
    told("Takes back all that `t5` counted.", "ticket.reopened", "11:50", ticket_id="t5"),
)

ART: Final = Meaning(
    definition=(
        "How long it takes until a ticket is resolved: the mean of"
        " max(0, occurred_at − opened_at − excluded_seconds). Time that is not the team's (a bot's,"
        " waiting for the customer, off-hours) is left out where the sender says how much it was in"
        " `excluded_seconds`. The quantiles 0.5, 0.9 and 0.99 stand beside the mean in a gauge of"
        " their own, within 1% of times that are cut to whole milliseconds, as those of events are:"
        " a mean of times is pulled up by few slow ones."
    ),
    examples=(
        Example(
            "36,000 minutes for 6,696 tickets",
            {"resolution_time": 36_000 * 60, "resolved": 6_696},
            322.6,
        ),
    ),
    story=_STORY,
    fed_by={
        "ticket.closed": ("ticket_id", "opened_at", "excluded_seconds", "resolved", "occurred_at"),
        **_REOPENED,
    },
    left_out=(
        _UNRESOLVED,
        _OPEN,
        "`excluded_seconds` beyond the whole time: the time is 0 then, never negative.",
    ),
    corrections=_CORRECTIONS,
    alert_at=86_400.0,
)

FCR: Final = Meaning(
    definition=(
        "The share of resolved tickets that took one contact (`contacts` = 1) and were never"
        " reopened (`reopens` = 0, and no `ticket.reopened` seen)."
    ),
    examples=(
        Example(
            "3,296 of 4,894 resolved tickets",
            {"resolved_first_contact": 3_296, "resolved": 4_894},
            0.6735,
            0.660,
            0.686,
        ),
    ),
    story=_STORY,
    fed_by={"ticket.closed": ("ticket_id", "contacts", "reopens", "resolved"), **_REOPENED},
    left_out=(_UNRESOLVED, _OPEN, "Repeat contacts in another ticket: tickets are not linked."),
    corrections=(
        *_CORRECTIONS,
        (
            "A close up to 7 days after a reopening, or one that replaces such a close, is not"
            " first contact, whatever its `reopens` says; of any other its `reopens` decides."
        ),
    ),
    alert_at=0.65,
)

RAPID_RESPONSE: Final = Meaning(
    definition=(
        "The share of closed tickets whose first response came within `[ticket] rapid_response`,"
        " 5 minutes by default, the limit included. It is the service level of contact centres,"
        " counted when the ticket is closed."
    ),
    examples=(
        Example(
            "180 of 200 tickets answered in time",
            {"responses_rapid": 180, "responses": 200},
            0.9,
            0.851,
            0.934,
        ),
    ),
    story=_STORY,
    fed_by={"ticket.closed": ("ticket_id", "first_response_seconds"), **_REOPENED},
    left_out=(
        (
            "Tickets without `first_response_seconds`: neither side of the fraction has them, so a"
            " sender that does not measure it can't spoil the share."
        ),
        _OPEN,
    ),
    corrections=_CORRECTIONS,
    alert_at=0.8,
)

RAPID_RESOLUTION: Final = Meaning(
    definition=(
        "The share of resolved tickets whose resolution time, excluded time left out as for `art`,"
        " is at most `[ticket] rapid_resolution`, 24 hours by default."
    ),
    examples=(
        Example(
            "120 of 150 resolved tickets within a day",
            {"resolved_rapid": 120, "resolved": 150},
            0.8,
            0.729,
            0.856,
        ),
    ),
    story=_STORY,
    fed_by={
        "ticket.closed": ("ticket_id", "opened_at", "excluded_seconds", "resolved", "occurred_at"),
        **_REOPENED,
    },
    left_out=(_UNRESOLVED, _OPEN),
    corrections=_CORRECTIONS,
    alert_at=0.8,
)

AUTOMATION: Final = Meaning(
    definition=(
        "The share of resolved tickets that no person had to answer (`automated` = true). It says"
        " how much is automated, not how well: read it beside `csat` and `fcr`."
    ),
    examples=(
        Example(
            "30 of 120 resolved tickets without a person",
            {"resolved_automated": 30, "resolved": 120},
            0.25,
            0.181,
            0.334,
        ),
    ),
    story=_STORY,
    fed_by={"ticket.closed": ("ticket_id", "automated", "resolved"), **_REOPENED},
    left_out=(
        _UNRESOLVED,
        _OPEN,
        "Requests that a bot answered without a ticket: there is no event for them.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.2,
)
