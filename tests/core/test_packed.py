"""Columns of integers as they are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.integers import Ints
from stream.core.packed import Packed, packed, packed_steps, unpacked, unpacked_steps

NUMBERS = st.lists(
    st.one_of(
        st.integers(-(2**15) - 2, -(2**15) + 2),
        st.integers(2**15 - 2, 2**15 + 2),
        st.integers(-9, 9),
        st.integers(-(2**62), 2**62),
    ),
    max_size=20,
)


def size(written: Packed) -> int:
    return sum(map(len, written))


@example([-(2**15)])
@given(NUMBERS)
def test_integers_are_read_as_they_were_written(numbers: list[int]) -> None:
    column: Ints = np.array(numbers, dtype=np.int64)
    assert unpacked(packed(column)).tolist() == numbers
    assert unpacked_steps(packed_steps(column)).tolist() == numbers


@pytest.mark.parametrize(
    ("first", "step", "written", "in_steps"),
    [(0, 1, 200, 200), (-50, 1, 200, 200), (10**12, 1, 1000, 208), (10**12, 10**6, 1000, 1000)],
)
def test_small_numbers_and_small_steps_take_two_bytes_each(
    first: int, step: int, written: int, in_steps: int
) -> None:
    column = np.arange(first, first + 100 * step, step)
    assert size(packed(column)) == written
    assert size(packed_steps(column)) == in_steps
