"""Steps between numbers that people call round."""

from __future__ import annotations

import math
from typing import Final

_MANTISSAS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
#: So much below a round number is that number, but for rounding.
_ROUNDING: Final = 1e-9


def round_step(least: float) -> float:
    """The smallest of …, 0.5, 1, 2, 2.5, 5, 10, 20, … that is not below ``least``, which is > 0."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * m for m in _MANTISSAS if power * m >= least * (1 - _ROUNDING))
