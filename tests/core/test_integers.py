"""What is known of columns of integers, beside Python's own ways to find it out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.intake import _ranks, _repeated
from stream.core.integers import (
    Ints,
    among,
    come_again,
    distinct,
    order_of,
    ranks,
    starts_of_runs,
    with_counts,
)

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
#: Few enough to come again, small enough to be packed with their places, and any.
_NUMBERS = st.one_of(
    st.lists(st.integers(-3, 12), max_size=60),
    st.lists(st.integers(0, 1 << 20), max_size=60),
    st.lists(st.sampled_from([_LEAST, _LEAST + 1, -1, 0, 1, 1 << 57, _MOST - 1, _MOST])),
    st.lists(st.integers(_LEAST, _MOST), max_size=60),
)


def column(numbers: list[int]) -> Ints:
    return np.array(numbers, dtype=np.int64)


@given(_NUMBERS)
def test_numbers_are_ordered(numbers: list[int]) -> None:
    found = order_of(column(numbers))
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(len(numbers)))
    assert [numbers[place] for place in found.tolist()] == sorted(numbers)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("below", [0, 1, 2])
def test_numbers_are_ordered_where_they_only_just_can_be_packed_with_their_places(
    count: int, below: int
) -> None:
    most = (1 << (63 - count.bit_length())) - below
    numbers = [most, 0] * count
    for some in (numbers[:count], numbers[1 : 1 + count]):
        shifted = column([number - (1 << 62) for number in some])
        assert column(some)[order_of(shifted)].tolist() == sorted(some)


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
def test_numbers_of_four_bytes_are_ordered_too(numbers: list[int]) -> None:
    found = order_of(np.array(numbers, dtype=np.int32))
    assert [numbers[place] for place in found.tolist()] == sorted(numbers)


@given(_NUMBERS)
def test_numbers_are_found_once_each_in_order_and_counted(numbers: list[int]) -> None:
    counted = Counter(numbers)
    assert distinct(column(numbers)).tolist() == sorted(counted)
    found, counts = with_counts(column(numbers))
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == counted
    assert found.tolist() == sorted(counted)


@given(_NUMBERS, _NUMBERS)
def test_numbers_are_looked_for_among_others(numbers: list[int], known: list[int]) -> None:
    found = among(column(numbers), column(sorted(known)))
    assert found.tolist() == [number in known for number in numbers]


@given(_NUMBERS)
def test_runs_start_where_a_number_differs_from_the_one_before(numbers: list[int]) -> None:
    found = starts_of_runs(column(numbers))
    assert found.tolist() == [i == 0 or numbers[i - 1] != n for i, n in enumerate(numbers)]


@given(_NUMBERS)
def test_equal_numbers_that_stand_together_are_ranked_from_zero(numbers: list[int]) -> None:
    numbers.sort()
    assert ranks(column(numbers)).tolist() == [numbers[:i].count(n) for i, n in enumerate(numbers)]


@given(_NUMBERS)
def test_what_comes_again_is_found(numbers: list[int]) -> None:
    counted = Counter(numbers)
    wanted = sorted(n for n, count in counted.items() if count > 1)
    assert distinct(come_again(column(numbers))).tolist() == wanted


@given(_NUMBERS)
def test_keys_that_come_again_are_counted_in_their_order(keys: list[int]) -> None:
    assert _repeated(column(keys)).tolist() == [keys.count(key) > 1 for key in keys]
    assert _ranks(column(keys)).tolist() == [
        keys[:place].count(key) if key else 0 for place, key in enumerate(keys)
    ]
