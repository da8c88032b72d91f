"""Formulas that KPIs share, over columns of summed counters.

Sums are whole numbers, and a value is one division of such numbers: it is rounded once, so that one
that is exactly a threshold is not beyond it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import numpy as np

from stream.core.integers import Ints
from stream.core.kpi import Column, Columns, Whole

Formula = Callable[[Columns], Whole]

#: One in fixed point.
FIXED = 10**9
#: Below this a product with that is wrong by less than half, so it is rounded to the right number.
_SURE: Final = 2.0**21
#: Large numbers have mostly no more than four decimals, as amounts do, whatever their currency.
_FEW_DECIMALS: Final = 10_000
#: Whole numbers below this are floats without being rounded.
EXACT: Final = 2**53
#: A few whole numbers below this add up to less than 64 bits hold.
ROOM: Final = 2**60


def fixed(value: float) -> int:
    """A number in fixed point, units of 10⁻⁹, so that taking back is exact.

    It counts as the decimals that were sent, the shortest ones that mean this float, up to the
    ninth: 1678093.11 is exactly a fifth of 8390465.55.
    """
    if -_SURE < value < _SURE:
        return round(value * FIXED)
    return round(Decimal(repr(float(value))) * FIXED)


def fixed_columns(values: Column) -> Ints:
    """``fixed`` of many numbers, none of them beyond ±2³².

    A product of floats is rounded, and halves go to the even number, as by Python's ``round``.
    """
    found = np.rint(values * FIXED).astype(np.int64)
    unsure = np.flatnonzero(np.abs(values) >= _SURE)
    if unsure.size:
        found[unsure] = _decimals(values[unsure])
    return found


def _decimals(values: Column) -> Ints:
    """``fixed_columns`` of numbers that are large."""
    shifted = np.rint(values * _FEW_DECIMALS)
    found = shifted.astype(np.int64) * (FIXED // _FEW_DECIMALS)
    # A quotient is the float that is nearest to it: where it is the number, these are its decimals.
    for place in np.flatnonzero(shifted / _FEW_DECIMALS != values).tolist():
        found[place] = fixed(values.item(place))
    return found


def sum_of(*names: str) -> Formula:
    """The sum of counters."""
    return lambda c: sum((c[name] for name in names[1:]), start=c[names[0]])


def greatest(column: Whole) -> int:
    """The greatest of whole numbers, whatever their signs; 0 where there are none."""
    return int(np.abs(column).max(initial=0))


def roomy(column: Ints) -> Whole:
    """Whole numbers that a few can be added of."""
    return column if greatest(column) < ROOM else column.astype(object)


def times(column: Whole, factor: Whole | int) -> Whole:
    """The product of whole numbers."""
    if isinstance(factor, int) and factor == 1:
        return column
    most = abs(factor) if isinstance(factor, int) else greatest(factor)
    return (column if greatest(column) * most < ROOM else column.astype(object)) * factor


def divided(numerator: Whole, denominator: Whole) -> Column:
    """Numerator / denominator, rounded once; NaN where the denominator is not above zero."""
    top, bottom = numerator.astype(np.float64), denominator.astype(np.float64)
    is_there = bottom > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(is_there, top / bottom, np.nan)
    # Python divides whole numbers of any size with a single rounding.
    large = is_there & (np.maximum(np.abs(top), bottom) >= EXACT)
    if large.any():
        pairs = zip(numerator[large].tolist(), denominator[large].tolist(), strict=True)
        found[large] = [a / b for a, b in pairs]
    return found
