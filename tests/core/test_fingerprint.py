"""Two workers add up each other's shares only where all that is counted depends on is the same."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from stream.core.settings import Rule, Settings, Window
from stream.core.sharing import ONLY_FOR_ALERTS, fingerprint

#: Another value of each setting. A new one belongs here, and counts unless only alerts use it.
OTHERS: dict[str, Any] = {
    "dimensions": ("channel", "country"),
    "rollups": ((), ("channel",)),
    "windows": (Window("5m", 300_000, 10_000),),
    "dedupe_ms": 1,
    "evaluate_ms": 1,
    "max_values_per_dimension": 1,
    "max_segments": 1,
    "max_remembered": 1,
    "cart_timeout_ms": 1,
    "rapid_response_ms": 1,
    "rapid_resolution_ms": 1,
    "positive_emotions": frozenset({"glad"}),
    "negative_emotions": frozenset({"sad"}),
    "health_weights": {"usage": 5.0},
    "rules": (Rule("Low", "csat", "5m", below=0.5),),
    "dashboard_url": "https://grafana.example",
}


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_counts_that_not_only_alerts_use(name: str) -> None:
    before = Settings()
    assert getattr(before, name) != OTHERS[name]
    after = replace(before, **{name: OTHERS[name]})
    assert (fingerprint(after) == fingerprint(before)) == (name in ONLY_FOR_ALERTS)


def test_in_what_order_windows_stand_makes_no_difference() -> None:
    before = Settings()
    after = replace(before, windows=before.windows[::-1])
    assert fingerprint(after) == fingerprint(before)


def test_in_what_order_names_and_weights_stand_makes_no_difference() -> None:
    names = [f"emotion-{n}" for n in range(20)]
    weights = {"usage": 1.0, "payment": 2.0}
    one, other = (
        Settings(
            positive_emotions=frozenset(some),
            health_weights=dict(list(weights.items())[::step]),
        )
        for some, step in ((names, 1), (reversed(names), -1))
    )
    assert fingerprint(one) == fingerprint(other)
