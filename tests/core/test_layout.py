"""Where counters stand: what an older release has counted is read as what it was."""

from __future__ import annotations

from collections import Counter as Sums
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.kpi import Counter
from stream.core.layout import WIDE, Contribution, Layout

A, SUM, B = Counter("a", ""), Counter("sum", ""), Counter("b", "", wide=True)
FIRST = Layout([A, SUM, B], ["s"])
#: The same once a release has made a counter wide and brought another.
SECOND = Layout([Counter("c", "", since=2), A, replace(SUM, wide=True, wide_since=2), B], ["s"])


def total(layout: Layout, name: str, contributions: list[Contribution]) -> int:
    """What contributions come to."""
    sums: Sums[int] = Sums()
    for one in contributions:
        for position, n in zip(one[0::2], one[1::2], strict=True):
            sums[position] += n
    high = sums[layout.highs[name]] if name in layout.highs else 0
    return high * WIDE + sums[layout.positions[name]]


def test_what_has_a_place_keeps_it() -> None:
    assert FIRST.places.items() <= SECOND.places.items()
    assert FIRST.places == {"a": (0, 1, 1), "sum": (1, 1, 1), "b": (2, 2, 1)} | {
        "s": FIRST.places["s"]
    }
    new = {name: place for name, place in SECOND.places.items() if name not in FIRST.places}
    assert new == {"c": (4, 1, 1), "sum.high": (5, 1, 1)}


def test_every_part_of_a_counter_has_its_owner() -> None:
    owners = SECOND.owners({"c": 1, "a": 2, "sum": 3, "b": 4, "s": 5})
    assert owners[: SECOND.width] == [2, 3, 4, 4, 1, 3]


@pytest.mark.parametrize("name", ["sum", "b"])
@given(before=st.lists(st.integers(-(2**60), 2**60)), after=st.lists(st.integers(-(2**90), 2**90)))
def test_what_was_counted_before_a_counter_was_wide_adds_up_with_what_came_then(
    name: str, before: list[int], after: list[int]
) -> None:
    counted = [FIRST.contribution([(name, n)]) for n in before]
    counted += [SECOND.contribution([(name, n)]) for n in after]
    assert total(SECOND, name, counted) == sum(before) + sum(after)
