"""Durations as they are written (``250ms``, ``5s``, ``30m``, ``24h``) and as milliseconds."""

from __future__ import annotations

import re
from typing import Final

from stream.core.durations import MILLISECONDS, label
from stream.core.errors import StopError

__all__ = ["FORM", "MILLISECONDS", "PATTERN", "WRITTEN", "TooLong", "label", "parse"]

FORM: Final = "a whole number and a unit, such as 250ms, 5s, 30m, 24h or 7d"
_UNITS: Final = "|".join(MILLISECONDS)
#: What a duration looks like within a longer text, without groups of its own.
WRITTEN: Final = f"[0-9]{{1,15}}(?:{_UNITS})"
PATTERN: Final = f"^(0|[0-9]{{1,15}}({_UNITS}))$"

_DURATION: Final = re.compile(f"([0-9]{{1,15}})({_UNITS})")


_TOO_LONG: Final = re.compile(f"0*[1-9][0-9]{{15,}}(?:{_UNITS})")


class TooLong(StopError, ValueError):
    """A duration that is written as one should be, and has more digits than any may have."""


def parse(text: str) -> int:
    """Return the milliseconds of a duration; ``0`` needs no unit.

    Raises:
        TooLong: it has too many digits.
        ValueError: the text has another form.
    """
    if text == "0":
        return 0
    found = _DURATION.fullmatch(text)
    if found is None and _TOO_LONG.fullmatch(text):
        raise TooLong("is longer than any duration may be")
    if found is None:
        raise ValueError(f"is not a duration: {FORM}")
    return int(found[1]) * MILLISECONDS[found[2]]
