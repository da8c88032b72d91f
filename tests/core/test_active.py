"""Subscriptions that were active at a moment."""

from __future__ import annotations

import pytest

from stream.core.active import LabelSet, active_at

PANE = 60
UNIT = 10


def label_set(net: dict[int, int], *bases: tuple[int, int]) -> LabelSet:
    """``net``: started minus cancelled by time; ``bases``: (time, active) in order of arrival."""
    found = LabelSet((None,))
    for at, n in net.items():
        found.count(at // UNIT, n)
    for arrival, (at, active) in enumerate(bases, 1):
        found.set_base(at // UNIT, (at, arrival, active))
    return found


@pytest.mark.parametrize(
    ("net", "bases", "active"),
    [
        pytest.param({}, [], 0, id="nothing"),
        pytest.param({0: 5, 119: -1, 120: 9}, [], 4, id="no base: what was before the start"),
        pytest.param({59: 9, 60: 2, 120: 7}, [(60, 10)], 12, id="forward from the base"),
        pytest.param({60: 2, 90: 3}, [(90, 10)], 15, id="a base stands at its pane's start"),
        pytest.param({120: 2, 150: 3}, [(150, 10)], 10, id="a base in the start's own pane"),
        pytest.param({119: 9, 120: 2, 180: 5}, [(200, 10)], 8, id="back from the first one after"),
        pytest.param({}, [(60, 1), (0, 2), (300, 3)], 1, id="the latest before the start"),
        pytest.param({}, [(181, 1), (239, 2), (240, 3)], 2, id="the latest of the pane after it"),
        pytest.param({}, [(61, 1), (61, 2)], 2, id="of one time the later arrival"),
        pytest.param({60: -3}, [(60, 1)], -2, id="below zero as it is"),
    ],
)
def test_active_at_the_start(
    net: dict[int, int], bases: list[tuple[int, int]], active: int
) -> None:
    assert active_at(120, PANE, UNIT, [label_set(net, *bases)]) == active


def test_parts_of_one_label_set_add_up_under_one_base() -> None:
    parts = [label_set({60: 1}, (60, 10)), label_set({70: 2, 30: 100})]
    assert active_at(120, PANE, UNIT, parts) == 13
