"""Columns of integers: in which order they stand, and which of them are there.

All that the core counts, remembers and looks up goes through these. numpy sorts values with vector
instructions, 5 ns each, but takes 50 to 100 ns each to find the order of unsorted ones stably, and
as long for ``np.unique`` without further columns, which hashes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_SomeInts = NDArray[np.signedinteger[Any]]
#: Which of a column's integers are meant.
Mask = NDArray[np.bool_]
#: No integers at all; it can be shared, since nothing can be written into it.
NO_INTS = np.empty(0, dtype=np.int64)

#: Bits of an integer that is not negative.
_BITS = 63


def order_of(numbers: _SomeInts) -> Ints:
    """The places of the numbers in ascending order, those of equal numbers in any order.

    It is quickest where the numbers' range, times their count, is within 63 bits.
    """
    if not numbers.size:
        return NO_INTS
    least = int(numbers.min())
    bits = numbers.size.bit_length()
    if (int(numbers.max()) - least) >> (_BITS - bits):
        return np.argsort(numbers)
    # With its place behind it each number is there once, and its place is found where it comes to.
    packed = np.subtract(numbers, least, dtype=np.int64)
    packed <<= bits
    packed |= np.arange(numbers.size)
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def starts_of_runs(in_order: Ints) -> Mask:
    """Which numbers differ from the one before; the first does."""
    found = np.empty(in_order.size, dtype=bool)
    found[:1] = True
    np.not_equal(in_order[1:], in_order[:-1], out=found[1:])
    return found


def distinct(numbers: Ints) -> Ints:
    """The numbers in order, each once."""
    if (numbers[1:] > numbers[:-1]).all():
        return numbers
    in_order = np.sort(numbers)
    found: Ints = in_order[starts_of_runs(in_order)]
    return found


def come_again(digests: Ints) -> Ints:
    """The digests that are there more than once, in order, each once less than it is there.

    Of other numbers they are found too, only more slowly.
    """
    # Few share their lowest bits with another, and only those must be sorted: eight numbers for
    # each digest leave one in eight of them, and the counts of a batch still fit the cache.
    bits = digests & ((8 << digests.size.bit_length()) - 1)
    in_order = np.sort(digests[np.bincount(bits).take(bits) > 1])
    again: Ints = in_order[1:][in_order[1:] == in_order[:-1]]
    return again


def with_counts(numbers: _SomeInts) -> tuple[_SomeInts, Ints]:
    """The numbers in order, each once, and how often each is there."""
    in_order = np.sort(numbers)
    starts = np.flatnonzero(starts_of_runs(in_order))
    return in_order[starts], np.diff(starts, append=in_order.size)


def ranks(in_order: Ints) -> Ints:
    """How many equal numbers come before each, where equal ones stand together."""
    if not in_order.size:
        return in_order
    positions = np.arange(in_order.size)
    return positions - np.maximum.accumulate(np.where(starts_of_runs(in_order), positions, 0))


def among(numbers: Ints, known: Ints) -> Mask:
    """Which numbers are among the known ones, which are in order."""
    if not known.size:
        return np.zeros(numbers.size, dtype=bool)
    found: Mask = known.take(np.searchsorted(known, numbers), mode="clip") == numbers
    return found
