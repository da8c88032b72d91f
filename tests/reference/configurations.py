"""Configurations that streams are read under, the plain ones first."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.reference.choosing import Drawn, Picks
from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE, SECOND, Config, memory

Windows = dict[str, tuple[int, int]]

WINDOWS: list[Windows] = [
    {"1h": (HOUR, MINUTE)},
    {"1h": (HOUR, MINUTE), "7d": (7 * DAY, HOUR)},
    {"5m": (5 * MINUTE, 5 * SECOND), "30d": (30 * DAY, 6 * HOUR)},
    {"1m": (MINUTE, MINUTE), "10d": (10 * DAY, DAY)},
    {"24h": (DAY, 10 * MINUTE), "1h": (HOUR, MINUTE)},
    {"7d": (7 * DAY, HOUR), "360d": (360 * DAY, 36 * HOUR)},
    # Neither pane is a multiple of the other.
    {"20m": (20 * MINUTE, 4 * MINUTE), "1h": (HOUR, 6 * MINUTE)},
    {
        "5m": (5 * MINUTE, 5 * SECOND),
        "1h": (HOUR, MINUTE),
        "24h": (DAY, 10 * MINUTE),
        "7d": (7 * DAY, HOUR),
        "30d": (30 * DAY, 6 * HOUR),
        "360d": (360 * DAY, 36 * HOUR),
    },
]
#: Most of the time windows are few, since each is computed apart.
_FEW_WINDOWS = [*WINDOWS[:-1], *WINDOWS]
ROLLUPS: list[tuple[list[str], list[list[str]]]] = [
    (["channel", "region"], [[], ["channel"]]),
    (["channel", "region"], [[]]),
    (["channel", "region"], [[], ["channel"], ["region"], ["channel", "region"]]),
    (["channel", "region"], [["region", "channel"]]),
    (["region", "plan", "channel"], [["plan"], ["channel", "region", "plan"]]),
    ([], [[]]),
]
_CHOICES: dict[str, list[Any]] = {
    "max_values_per_dimension": [100, 2, 1],
    "cart_timeout": [30 * MINUTE, MINUTE, DAY, 8 * DAY],
    "dedupe": [10 * MINUTE, SECOND, DAY],
    "rapid_response": [300 * SECOND, SECOND],
    "rapid_resolution": [DAY, HOUR],
    "weights": [{}, {"usage": 2.0, "noise": 0.0}, {"usage": 0.25, "logins": 3.0}],
    "emotions": [
        (DEFAULTS["positive"], DEFAULTS["negative"]),
        (["Bored", "happy"], ["IRRITATED"]),
    ],
}


def configuration(picks: Picks) -> Config:
    """A configuration of any kind."""
    dimensions, rollups = picks.of(ROLLUPS)
    some = {name: picks.of(choices) for name, choices in _CHOICES.items()}
    positive, negative = some.pop("emotions")
    return {
        **DEFAULTS,
        **some,
        "windows": picks.of(_FEW_WINDOWS),
        "dimensions": dimensions,
        "rollups": rollups,
        "positive": positive,
        "negative": negative,
    }


@st.composite
def _drawn(draw: st.DrawFn) -> Config:
    return configuration(Drawn(draw))


configs = _drawn()


def steps_of(config: Config) -> list[int]:
    """The lengths of time at which something changes, in ms."""
    lengths = {0, 1, SECOND, 7 * DAY, DAY, config["dedupe"], config["cart_timeout"]}
    lengths |= {memory(config), config["cart_timeout"] + memory(config)}
    for size, pane in config["windows"].values():
        lengths |= {pane, size, size - pane}
    return sorted(lengths)
