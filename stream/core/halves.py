"""Halves of surrogate pairs that stand alone, as where a text was cut within an emoji.

JSON's grammar has them as escapes, and what cuts texts by UTF-16 writes them, such as JavaScript.
They are no characters, so no text that is kept can hold one; in what is ignored they do no harm.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

_HEX: Final = rb"[0-9a-fA-F]{2}"
_FIRST: Final = rb"\\u[dD][89abAB]" + _HEX
_SECOND: Final = rb"\\u[dD][c-fC-F]" + _HEX
#: Where no backslash is escaped. What all begin with comes first, as it is what is looked for.
_HALF: Final = re.compile(
    rb"\\u[dD](?:[89abAB]%b(?!%b)|(?<!%b\\u[dD])[c-fC-F]%b)" % (_HEX, _SECOND, _FIRST, _HEX)
)
_ESCAPED_BACKSLASH: Final = rb"\\"
#: As long, and part of no escape.
_NO_ESCAPE: Final = b"--"
#: What stands for a half until its last character is known, which is no digit before.
_OPEN: Final = b"\\ufff*"
_STAR: Final = ord("*")
#: The last characters of two escapes that may stand for a half.
_LAST: Final = (ord("d"), ord("c"))


def without_halves(value: bytes) -> bytes:
    """The record with the escape of a character for that of each half; itself where it has none."""
    return both_without_halves(value)[0]


def both_without_halves(value: bytes) -> tuple[bytes, bytes]:
    """The same with either of two characters: where they make a difference, a half is read.

    No step in Python is taken for each: who sends nothing else could hold up a worker.
    """
    if b"\\ud" not in value and b"\\uD" not in value:
        return value, value
    plain = value.replace(_ESCAPED_BACKSLASH, _NO_ESCAPE)
    replaced = _HALF.sub(b"\\" + _OPEN, plain)
    if replaced == plain:
        return value, value
    was, before, after = (np.frombuffer(text, np.uint8) for text in (value, plain, replaced))
    last = np.flatnonzero((after == _STAR) & (before != _STAR))
    text = after.copy() if plain == value else np.where(was == before, after, was)
    text[last] = _LAST[0]
    first = text.tobytes()
    text[last] = _LAST[1]
    return first, text.tobytes()
