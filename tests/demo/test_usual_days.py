"""What a usual day brings sets off no alert of the demonstration."""

from __future__ import annotations

import tomllib
from statistics import fmean

import pytest

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
