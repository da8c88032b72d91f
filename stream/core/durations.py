"""Durations in words: exactly, as windows are labelled, or about, as people say them."""

from __future__ import annotations

from typing import Final

from stream.core.settings import DAY, HOUR, MINUTE, SECOND

#: Units and their milliseconds, the shortest first.
MILLISECONDS: Final = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def label(milliseconds: int) -> str:
    """Write milliseconds in the largest unit that divides them, so that each length has one label.

    A single day is ``24h``, the usual name of such a window; longer whole days are ``2d``, ``7d``.
    """
    if milliseconds == 0:
        return "0s"
    if milliseconds == DAY:
        return "24h"
    fitting = [unit for unit, length in MILLISECONDS.items() if milliseconds % length == 0]
    return f"{milliseconds // MILLISECONDS[fitting[-1]]}{fitting[-1]}"


def about(milliseconds: int) -> str:
    """Write milliseconds for people, in the largest unit of which there are at least two."""
    for unit, length in (("days", DAY), ("h", HOUR), ("min", MINUTE)):
        if milliseconds >= 2 * length:
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds // SECOND} s"
