"""Text that anybody may have written, made fit for a terminal: one line, and nothing hidden."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

#: Longer texts are cut, with the number of characters that were left out.
LONGEST: Final = 200

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
#: So many marks may stand on a letter, as some scripts need; more would climb over other lines.
_MOST_MARKS: Final = 2
#: Where ``surrogateescape`` puts bytes that are no UTF-8.
_BYTES: Final = range(0xDC80, 0xDD00)


def escaped(said: str | bytes | None, longest: int | None = LONGEST) -> str:
    r"""The text with all that steers a terminal escaped: as ``\x1b``, ``\u202e`` or ``\n``.

    Control characters, changes of direction, invisible characters, bytes that are no UTF-8 and
    heaps of accents are escaped; a backslash is doubled, so that what stands there is unambiguous.
    ``longest`` characters are kept (None: all). None becomes an empty text.
    """
    if said is None:
        return ""
    left_out = 0
    if longest is not None and len(said) > 4 * longest:
        # A character has up to four bytes: what is beyond can't be shown.
        left_out = len(said) - 4 * longest
        said = said[: 4 * longest]
    text = said.decode(errors="surrogateescape") if isinstance(said, bytes) else said
    if longest is not None and len(text) > longest:
        left_out += len(text) - longest
        text = text[:longest]
    shown = text if text.isascii() and text.isprintable() and "\\" not in text else _escape(text)
    return f"{shown}… ({left_out:,} more)" if left_out else shown


def _escape(text: str) -> str:
    return "".join(
        _SHORT.get(character) or (character if is_fine else _code(ord(character)))
        for character, is_fine in _looked_at(text)
    )


def _looked_at(text: str) -> Iterator[tuple[str, bool]]:
    """Each character, and whether it can be shown as it is."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        yield character, character.isprintable() and marks <= _MOST_MARKS


def quoted(text: str) -> str:
    """The text as JSON writes it, with what steers a terminal escaped; cut like ``escaped``."""
    left_out = max(0, len(text) - LONGEST)
    written = json.dumps(text[:LONGEST], ensure_ascii=False)
    if not (written.isascii() and written.isprintable()):
        written = "".join(_json_escape(written))
    return f"{written}… ({left_out:,} more)" if left_out else written


def _json_escape(text: str) -> Iterator[str]:
    for character, is_fine in _looked_at(text):
        yield character if is_fine else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def width(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def _code(point: int) -> str:
    if point in _BYTES:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def safe_json(data: Any) -> str:
    """JSON in ASCII on one line: a terminal shows it as it is, and any reader understands it."""
    return json.dumps(data).replace("\x7f", "\\u007f")
