"""Halves of surrogate pairs that stand alone, as where a text was cut within an emoji.

JSON's grammar has them as escapes, and what cuts texts by UTF-16 writes them, such as JavaScript.
They are no characters, so no text that is kept can hold one; in what is ignored they do no harm.
"""

from __future__ import annotations

import re
from typing import Final

_PAIR: Final = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = rb"u[dD][89a-fA-F][0-9a-fA-F]{2}"
#: A half, or all up to the next one at a time: a call for each escape would take tens of times as
#: long, and who sends nothing else could hold up a worker.
_HALVES: Final = re.compile(
    rb"(?:[^\\]++|\\(?:%b|(?!%b).))++|(\\%b)" % (_PAIR, _HALF, _HALF), re.DOTALL
)
#: Two characters that may stand for a half. Where it matters which, the half is in what is read.
STANDINS: Final = (b"\\ufffd", b"\\ufffc")


def without_halves(value: bytes, standin: bytes = STANDINS[0]) -> bytes:
    """The record with the escape of a character for that of each half; itself where it has none."""
    if b"\\ud" not in value and b"\\uD" not in value:
        return value
    return _HALVES.sub(lambda found: found[0] if found[1] is None else standin, value)
