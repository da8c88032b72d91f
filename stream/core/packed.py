"""Columns of integers as few bytes: what is written of counters is mostly small numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from stream.core.integers import Ints

_SMALL: Final = np.dtype("<i2")
_LARGE: Final = np.dtype("<i8")
#: Stands for a number that does not fit.
_ESCAPE: Final = -(1 << 15)

#: The numbers in two bytes each, and those that do not fit, in their order, in eight.
Packed = Sequence[bytes]


def packed(numbers: Ints) -> Packed:
    """Integers for msgpack."""
    small = numbers.astype(_SMALL)
    escaped = (small != numbers) | (small == _ESCAPE)
    if not escaped.any():
        return [small.tobytes(), b""]
    small[escaped] = _ESCAPE
    return [small.tobytes(), numbers[escaped].astype(_LARGE).tobytes()]


def unpacked(written: Packed) -> Ints:
    """The integers that ``packed`` was given."""
    small, large = written
    numbers = np.frombuffer(small, dtype=_SMALL).astype(np.int64)
    numbers[numbers == _ESCAPE] = np.frombuffer(large, dtype=_LARGE)
    return numbers


def packed_steps(numbers: Ints) -> Packed:
    """Integers of which neighbours are close to each other."""
    steps = numbers.copy()
    steps[1:] -= numbers[:-1]
    return packed(steps)


def unpacked_steps(written: Packed) -> Ints:
    """The integers that ``packed_steps`` was given."""
    return np.cumsum(unpacked(written))
