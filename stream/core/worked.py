"""From sums of counters to a KPI's value, bounds, numerator and denominator."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from stream.core.catalogue import TOPICS, UNITS
from stream.core.formulas import divided, times
from stream.core.kpi import DERIVED, Column, Columns, Kpi, Whole


def evaluated(
    kpi: Kpi, columns: Columns
) -> tuple[Column, Column | None, Column | None, Column | None, Column | None]:
    """Value, lower and upper bound, numerator and denominator; NaN or None where absent."""
    if kpi.value is not None:
        return kpi.value(columns), None, None, None, None
    if kpi.numerator is None or kpi.denominator is None:
        raise TypeError(f"{kpi.id} has neither a value nor a numerator and denominator")
    top, bottom = kpi.numerator(columns), kpi.denominator(columns)
    ratio = Fraction(kpi.scale * kpi.denominator_unit, kpi.numerator_unit)
    value = divided(times(top, ratio.numerator), times(bottom, ratio.denominator))
    numerator = _in_units(top, kpi.numerator_unit)
    denominator = _in_units(bottom, kpi.denominator_unit)
    lower = upper = None
    if kpi.bounds is not None:
        lower, upper = kpi.bounds.ends(columns, numerator, denominator)
    return value, lower, upper, numerator, denominator


def worked(kpi: Kpi, columns: Mapping[str, float]) -> tuple[float | None, ...]:
    """What ``evaluated`` gives of one series with these numbers, in units; columns left out are 0.

    The numbers are taken for whole ones of what is stored, but for rounding.
    """
    names = {*DERIVED, *(c.name for c in TOPICS[kpi.topic].counters)}
    full = {
        name: np.array([round(columns.get(name, 0) * UNITS[name])], dtype=object) for name in names
    }
    return tuple(cells(column, 1)[0] for column in evaluated(kpi, full))


def _in_units(stored: Whole, unit: int) -> Column:
    """Numbers of what is stored, ``unit`` for one."""
    numbers = stored.astype(np.float64)
    return numbers / unit if unit != 1 else numbers


def cells(column: Column | None, n: int) -> list[float | None]:
    """A column's n numbers, None for NaN or where there is no column."""
    return [None] * n if column is None else [None if x != x else x for x in column.tolist()]
