"""The company as plain data: where its customers are, how they come, and what a day looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream.core.settings import DAY, HOUR, MINUTE

CHANNELS = ("web", "app", "phone", "email", "store")
REGIONS = ("eu", "us", "apac", "latam")

#: Share of the customers in each region, in the order of ``REGIONS``.
REGION_SHARES = np.array([0.38, 0.34, 0.18, 0.10])
#: How far the region's local time is from UTC, in ms.
REGION_OFFSETS = tuple(hours * HOUR for hours in (1, -6, 8, -3))
CURRENCIES = ("EUR", "USD", "SGD", "BRL")
LANGUAGES = (("de", "fr", "es", "nl", "it"), ("en", "es"), ("en", "ja", "ko"), ("es", "pt"))
PLANS = (("basic", 9.0), ("plus", 19.0), ("pro", 49.0), ("business", 129.0))

#: How content the customers of a channel or region are, in standard deviations from the mean.
CHANNEL_MOOD = np.array([0.05, 0.15, -0.25, -0.10, 0.30])
REGION_MOOD = np.array([0.05, 0.0, 0.10, -0.20])

Kind = Literal[
    "visit", "survey", "ticket", "cart", "signal",
    "started", "renewed", "upgraded", "downgraded", "cancelled",
]  # fmt: skip
Week = Literal["shop", "office"]


@dataclass(frozen=True, slots=True)
class Journey:
    """What begins in the company: how often per event, over which channels, in which week."""

    kind: Kind
    #: Journeys begun for each event that the company sends in all.
    per_event: float
    #: Shares of the channels, in the order of ``CHANNELS``.
    channels: tuple[float, ...]
    week: Week


_SUBSCRIBER = (0.50, 0.30, 0.08, 0.04, 0.08)

#: The shares make 1.0 events in all, follow-ups (a cart's updates, a ticket's reopening) included.
JOURNEYS = (
    Journey("visit", 0.340, (0.58, 0.36, 0.0, 0.0, 0.06), "shop"),
    Journey("survey", 0.140, (0.30, 0.25, 0.15, 0.25, 0.05), "office"),
    Journey("ticket", 0.090, (0.20, 0.15, 0.30, 0.30, 0.05), "office"),
    Journey("cart", 0.090, (0.60, 0.35, 0.03, 0.0, 0.02), "shop"),
    Journey("signal", 0.110, (0.45, 0.55, 0.0, 0.0, 0.0), "shop"),
    Journey("started", 0.011, _SUBSCRIBER, "office"),
    Journey("renewed", 0.040, _SUBSCRIBER, "office"),
    Journey("upgraded", 0.006, _SUBSCRIBER, "office"),
    Journey("downgraded", 0.003, _SUBSCRIBER, "office"),
    Journey("cancelled", 0.008, _SUBSCRIBER, "office"),
)

#: Subscriptions at the start for each event per second: 0.8% of the events are cancellations, so
#: that some 0.1% of the subscriptions are cancelled in five minutes. A day does here what takes
#: months elsewhere: else nobody would see churn move in a window of minutes.
SUBSCRIPTIONS_PER_RATE = 2_400
#: Customers for each event per second.
CUSTOMERS_PER_RATE = 2_000

# Activity by local hour (0 to 23) and by weekday (Monday to Sunday); only the shape matters.
_HOURS: dict[Week, tuple[float, ...]] = {
    "shop": (30, 18, 11, 8, 7, 9, 18, 35, 55, 70, 82, 90,
             98, 95, 90, 90, 95, 104, 118, 136, 150, 140, 100, 58),
    "office": (12, 8, 6, 5, 6, 10, 25, 60, 120, 165, 175, 165,
               140, 150, 165, 160, 145, 115, 80, 62, 52, 42, 30, 18),
}  # fmt: skip
_WEEKDAYS: dict[Week, tuple[float, ...]] = {
    "shop": (95, 92, 94, 98, 104, 112, 115),
    "office": (128, 120, 116, 114, 106, 60, 46),
}


def _shape(values: tuple[float, ...]) -> NDArray[np.float64]:
    shape = np.array(values, dtype=np.float64)
    shape /= shape.mean()
    return shape


_HOUR_SHAPES = {week: _shape(values) for week, values in _HOURS.items()}
_WEEKDAY_SHAPES = {week: _shape(values) for week, values in _WEEKDAYS.items()}


def busiest_region(week: Week, at: int) -> str:
    """Where most begins at ``at`` (ms since epoch)."""
    busy = [REGION_SHARES[region] * activity(week, region, at) for region in range(len(REGIONS))]
    return REGIONS[int(np.argmax(busy))]


def activity(week: Week, region: int, at: int) -> float:
    """How busy a region is at ``at`` (ms since epoch): 1.0 is the mean of its week.

    The hours are joined by straight lines, so that nothing jumps but at midnight of a new day.
    """
    local = at + REGION_OFFSETS[region]
    hours = _HOUR_SHAPES[week]
    hour, rest = divmod(local % DAY - 30 * MINUTE, HOUR)
    part = rest / HOUR
    by_hour = hours[hour % 24] * (1 - part) + hours[(hour + 1) % 24] * part
    weekday = (local // DAY + 3) % 7  # The epoch was a Thursday.
    return float(by_hour * _WEEKDAY_SHAPES[week][weekday])
