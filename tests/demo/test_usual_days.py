"""What the demonstration takes for usual, and what it says while it is not there yet."""

from __future__ import annotations

import tomllib
from statistics import fmean

import pytest

from stream.cli.demo import _waiting
from stream.core.settings import DAY, MINUTE
from stream.demo.demo import CONFIG, Demo
from stream.generate.profile import REGIONS, activity


@pytest.mark.parametrize("region", range(len(REGIONS)), ids=REGIONS)
def test_no_morning_is_a_spike(region: int) -> None:
    """The usual rise from the hour to its last five minutes stays well below the rule's factor."""
    rules = tomllib.loads(CONFIG.format(bootstrap="", port=1))["alert"]
    (factor,) = (rule["factor"] for rule in rules if rule["name"] == Demo.SPIKE_RULE)

    def busy(at: int, minutes: int) -> float:
        return fmean(activity("office", region, at - n * MINUTE) for n in range(minutes))

    rise = max(busy(at, 5) / busy(at, 60) for at in range(0, DAY, 10 * MINUTE))
    assert 1.3 < rise < 0.8 * factor


@pytest.mark.parametrize(
    ("lag", "rate", "said"),
    [
        (None, 100, None),
        (0, 100, None),
        (500, 100, None),
        (501, 100, "501"),
        (7474, 100, "7,474"),
        (7474, 5000, None),
    ],
)
def test_numbers_of_a_part_of_the_history_are_called_so(
    lag: float | None, rate: float, said: str | None
) -> None:
    told = _waiting(lag, rate)
    assert told is None if said is None else f"Catching up: {said} events" in (told or "")
