"""What the KPIs of customers' signals say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_FED_BY: Final = {"customer.signal": ("customer_id", "signal", "value", "occurred_at", "labels")}
_CORRECTIONS: Final = (
    (
        "A customer has one value per signal: the latest by `occurred_at`, and of two at the same"
        " time the one that arrived later. It replaces the one before, and counts under its own"
        " event's labels only; an older one that arrives later changes nothing."
    ),
    (
        "A value from ahead of the worker's clock, which is 60 s at most, replaces the one before"
        " as it arrives and counts in a window once the pane that holds its `occurred_at` begins."
        " Until then the customer's signal is missing from windows with short panes."
    ),
    (
        "A value that has left the window counts no more in it, and so may move or end the"
        " customer's score without any event."
    ),
)
_LEFT_OUT: Final = (
    "Customers without a signal in the window: silence is not health.",
    "Signals of weight 0 in `[health.weights]`: as if they had not been sent.",
    (
        "Further signals of a customer with values of 64 signals that are not older than the"
        " longest window, at least seven days: none is taken in until one of those is that old."
    ),
)

_STORY: Final[tuple[Told, ...]] = (
    told(
        "The first value of a customer's usage.",
        "customer.signal",
        "11:10",
        customer_id="c1",
        signal="usage",
        value=20,
    ),
    told(
        "Replaces it.",
        "customer.signal",
        "11:30",
        customer_id="c1",
        signal="usage",
        value=80,
    ),
    told(
        "Another signal of the same customer, whose score is the mean of 80 and 60.",
        "customer.signal",
        "11:35",
        customer_id="c1",
        signal="payments",
        value=60,
    ),
    told(
        "The only signal of another customer: below 40, so at risk.",
        "customer.signal",
        "11:40",
        customer_id="c2",
        signal="usage",
        value=30,
    ),
)

HEALTH: Final = Meaning(
    definition=(
        "The mean of the customers' health scores, 0 (bad) to 100 (good). A customer's score is the"
        " mean of the latest values of the signals in the window, weighted by `[health.weights]`"
        " (1 where none is named): with usage = 80 of weight 2 and payments = 50 of weight 1 it is"
        " (2 · 80 + 1 · 50) / 3 = 70. Each customer counts once, however many signals there are."
    ),
    examples=(
        Example(
            "Four customers with scores of 80, 60, 35 and 25",
            {"health_sum": 200, "customers": 4},
            50.0,
        ),
    ),
    story=_STORY,
    fed_by=_FED_BY,
    left_out=_LEFT_OUT,
    corrections=_CORRECTIONS,
    alert_at=60.0,
)

AT_RISK: Final = Meaning(
    definition=(
        "The share of the customers with a health score, as `health` has it, whose score is below"
        " 40. The mean can stay the same while customers drift apart; this share then rises."
    ),
    examples=(
        Example(
            "Of four customers with scores of 80, 60, 35 and 25, two are below 40",
            {"customers_at_risk": 2, "customers": 4},
            0.5,
            0.150,
            0.850,
        ),
    ),
    story=_STORY,
    fed_by=_FED_BY,
    left_out=_LEFT_OUT,
    corrections=_CORRECTIONS,
    alert_at=0.2,
)
