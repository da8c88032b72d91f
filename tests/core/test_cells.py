"""Counters in sorted arrays."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.cells import (
    SUM_LIMIT,
    Cells,
    CounterOverflow,
    add_at,
    pack,
    summed,
    summed_over_time,
)
from stream.core.integers import Ints


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def held(cells: Cells, first: int = -(10**9), last: int = 10**9) -> list[int]:
    return [int(v) for v in cells.between(first, last)[1]]


def large_slot() -> Cells:
    """So many cells that one more waits before it is merged with them."""
    cells = Cells()
    cells.add(np.ones(16, dtype=np.int64), np.arange(16), np.ones(16, dtype=np.int64))
    return cells


def test_equal_keys_add_up_and_zeros_are_left_out() -> None:
    keys, values = summed(ints(3, 1, 3, 2, 2), ints(1, 5, 2, 4, -4))
    assert keys.tolist() == [1, 3]
    assert values.tolist() == [5, 3]


@pytest.mark.parametrize("slots", [(0, 1, 2), (-5, 0, 5), (2**40, 2**40 + 1, 2**40 + 2)])
def test_a_window_is_the_slots_from_first_to_last_included(slots: tuple[int, int, int]) -> None:
    cells = Cells()
    cells.add(ints(*reversed(slots)), ints(pack(1, 1), pack(1, 1), pack(1, 1)), ints(3, 2, 1))
    assert held(cells, slots[0], slots[1]) == [1, 2]
    assert held(cells, slots[1], slots[2]) == [2, 3]
    assert held(cells, slots[2] + 1, slots[2] + 9) == []


_fact = st.tuples(st.integers(-40, 40), st.integers(0, 40), st.integers(-2, 2))


@example([[(0, 1, 1), (1, 1, -1)]], 30, 0)
@given(
    st.lists(st.lists(_fact, max_size=30), max_size=9),
    st.sampled_from((1, 7, 30)),
    st.sampled_from((0, 1 << 40)),
)
def test_slots_of_any_length_hold_the_sums_of_what_happened_in_them(
    batches: list[list[tuple[int, int, int]]], length: int, apart: int
) -> None:
    cells, wanted = Cells(), Counter[tuple[int, int]]()
    for batch in batches:
        facts = [(unit + apart * (what % 2), what, n) for unit, what, n in batch]
        columns = [np.array(column, dtype=np.int64) for column in zip(*facts, strict=True)]
        units, low, values = summed_over_time(*(columns or [ints()] * 3))
        changed = cells.add(units // length, low, values)
        added = Counter[tuple[int, int]]()
        for unit, what, n in facts:
            added[unit // length, what] += n
        assert changed == sorted({slot for (slot, _), n in added.items() if n})
        for key, n in added.items():
            wanted[key] += n
    expected = {key: n for key, n in wanted.items() if n}
    assert cells.slots() == sorted({slot for slot, _ in expected})
    for slot in cells.slots():
        low, values = cells.between(slot, slot)
        assert low.tolist() == sorted(what for at, what in expected if at == slot)
        assert values.tolist() == [expected[slot, what] for what in low.tolist()]


def test_dropping_old_slots_names_them_and_keeps_the_rest() -> None:
    cells = Cells()
    cells.add(ints(7, 7, 8, 9), ints(1, 2, 1, 1), ints(1, 2, 3, 4))
    assert cells.drop_before(9) == [7, 8]
    assert cells.drop_before(9) == []
    assert held(cells) == [4]


def test_a_slot_is_replaced_as_a_whole() -> None:
    cells = Cells()
    cells.add(ints(1, 2, 2, 3), ints(1, 1, 2, 1), ints(1, 2, 3, 4))
    cells.replace_slot(2, ints(5), ints(9))
    assert held(cells) == [1, 9, 4]
    cells.replace_slot(2, ints(), ints())
    assert held(cells) == [1, 4]


def test_taking_all_back_leaves_no_cell_but_slots_to_be_dropped_once() -> None:
    cells = Cells()
    cells.add(ints(1, 2), ints(1, 1), ints(5, 6))
    cells.add(ints(2, 1), ints(1, 1), ints(-6, -5))
    assert (len(cells), cells.slots(), held(cells)) == (0, [], [])
    cells.replace_slot(3, ints(), ints())
    assert cells.drop_before(9) == [1, 2, 3]
    assert cells.drop_before(9) == []


@pytest.mark.parametrize(
    "parts", [(SUM_LIMIT // 2, SUM_LIMIT // 2), (-SUM_LIMIT // 2, -SUM_LIMIT // 2)]
)
def test_a_sum_that_leaves_the_range_raises_and_never_wraps(parts: tuple[int, int]) -> None:
    with pytest.raises(CounterOverflow):
        summed(ints(1, 1), ints(*parts))
    for cells in (Cells(), large_slot()):
        cells.add(ints(1), ints(99), ints(parts[0]))
        with pytest.raises(CounterOverflow):
            cells.add(ints(1), ints(99), ints(parts[1]))


def test_sums_within_the_range_never_raise_however_much_was_added_and_taken_back() -> None:
    cells = large_slot()
    for _ in range(5):
        for half in (SUM_LIMIT // 2, -SUM_LIMIT // 2):
            cells.add(ints(1), ints(2), ints(half))
    assert held(cells) == [1] * 16


def test_what_leaves_the_range_on_the_way_to_a_sum_that_does_not_is_added_up_exactly() -> None:
    most = SUM_LIMIT - 1
    keys, values = summed(ints(*[1] * 7, 2), ints(*[most] * 4, *[-most] * 3, 5))
    assert (keys.tolist(), values.tolist()) == ([1, 2], [most, 5])


@pytest.mark.parametrize("times", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_any_size_beyond_the_range_raise(times: int, sign: int) -> None:
    with pytest.raises(CounterOverflow):
        summed(ints(1), ints(sign * SUM_LIMIT))
    with pytest.raises(CounterOverflow):
        summed(ints(*[1] * times), ints(*[sign * (SUM_LIMIT - 1)] * times))
    with pytest.raises(CounterOverflow):
        summed(ints(*[1] * times), ints(*[sign * SUM_LIMIT] * times))


def test_values_add_up_at_places_named_repeatedly() -> None:
    sums = ints(0, 0, 0)
    add_at(sums, ints(2, 0, 2), ints(3, -1, 4))
    assert sums.tolist() == [-1, 0, 7]


def test_a_sum_at_a_place_raises_where_it_leaves_the_range() -> None:
    half = SUM_LIMIT // 2
    sums = ints(0, 0, 0)
    add_at(sums, ints(0, 1, 2), ints(half, half, -half))
    assert sums.tolist() == [half, half, -half], "each is within the range"
    with pytest.raises(CounterOverflow):
        add_at(ints(0, 0), ints(1, 1), ints(half, half))
