"""Formulas that KPIs share, over columns of summed counters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream.core.integers import Ints
from stream.core.kpi import Column, Columns

Formula = Callable[[Columns], Column]

#: One in fixed point.
FIXED = 10**9


def fixed(value: float) -> int:
    """A number in fixed point, units of 10⁻⁹, so that taking back is exact."""
    return round(value * FIXED)


def fixed_columns(values: Column) -> Ints:
    """``fixed`` of many numbers, none of them beyond ±2³².

    A product of floats is rounded, and halves go to the even number, as by Python's ``round``.
    """
    return np.rint(values * FIXED).astype(np.int64)


def sum_of(*names: str) -> Formula:
    """The sum of counters."""
    return lambda c: sum((c[name] for name in names[1:]), start=c[names[0]])


def divided(numerator: Column, denominator: Column) -> Column:
    """Numerator / denominator, NaN where the denominator is not above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
