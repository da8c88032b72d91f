"""Durations as they are written (``250ms``, ``5s``, ``30m``, ``24h``) and as milliseconds."""

from __future__ import annotations

import re
from typing import Final

#: Units and their milliseconds, the shortest first.
MILLISECONDS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
FORM: Final = "a whole number and a unit, such as 250ms, 5s, 30m, 24h or 7d"
PATTERN: Final = r"^(0|[0-9]{1,15}(ms|s|m|h|d))$"

_DURATION = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)", re.ASCII)


def parse(text: str) -> int:
    """Return the milliseconds of a duration; ``0`` needs no unit.

    Raises:
        ValueError: the text has another form.
    """
    if text == "0":
        return 0
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"is not a duration: {FORM}")
    return int(found[1]) * MILLISECONDS[found[2]]


def label(milliseconds: int) -> str:
    """Write milliseconds in the largest unit that divides them, so that each length has one label.

    A single day is ``24h``, the usual name of such a window; longer whole days are ``2d``, ``7d``.
    """
    if milliseconds == 0:
        return "0s"
    if milliseconds == MILLISECONDS["d"]:
        return "24h"
    fitting = [unit for unit, length in MILLISECONDS.items() if milliseconds % length == 0]
    return f"{milliseconds // MILLISECONDS[fitting[-1]]}{fitting[-1]}"
