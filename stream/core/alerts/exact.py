"""Comparisons of samples that come out as if no number had been rounded.

Floats tell which of two numbers is greater, unless they are nearly equal: 3 · 56 / 24 is 7, and not
the 6.999999999999999 that it comes to where 1/24 is rounded first. So near the border the sums that
a value is made of are compared as fractions, each by the shortest decimals that mean its float.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, NamedTuple

from stream.core.formulas import EXACT

#: What floats say is certain where two numbers differ by more than this share of themselves.
CLOSE: Final = 1e-9
#: Numbers of which one is no fraction that is known, such as a bound, are equal within this share.
_EQUAL: Final = Fraction(1, 10**12)
#: So many significant digits of a decimal survive in a float.
_DIGITS: Final = 15

#: The size of a window in that of another, where the two are alike.
UNSCALED: Final = Fraction(1)


class Exact(NamedTuple):
    """A number as a fraction, and whether it is that fraction or only as near as a float is."""

    number: Fraction
    is_known: bool = True

    def times(self, factor: Fraction) -> Exact:
        """The number so many times."""
        return Exact(self.number * factor, self.is_known)

    def over(self, limit: Exact) -> Fraction:
        """How far it is above the limit: less than 0 below it, 0 at it."""
        over = self.number - limit.number
        if self.is_known and limit.is_known:
            return over
        return over if abs(over) > _EQUAL * abs(limit.number) else Fraction(0)


def exact(value: float, numerator: float | None = None, denominator: float | None = None) -> Exact:
    """A sample's value: the quotient of its sums where that is what it is, else its decimals."""
    if numerator is not None and denominator:
        top, bottom = _decimal(numerator), _decimal(denominator)
        if top is not None and bottom is not None and float(top / bottom) == value:
            return Exact(top / bottom)
    is_count = numerator is None and float(value).is_integer()
    return Exact(as_written(value), is_known=is_count)


def as_written(number: float) -> Fraction:
    """The shortest decimal that means a float: what a configuration has, not what it became."""
    return Fraction(repr(float(number)))


def _decimal(number: float) -> Fraction | None:
    """The decimal that a sum is; None where it has more digits than a float keeps."""
    if abs(number) < EXACT and float(number).is_integer():
        return Fraction(int(number))
    text = f"{number:.{_DIGITS}g}"
    return Fraction(text) if float(text) == number else None
