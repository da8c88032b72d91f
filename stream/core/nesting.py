"""How deeply the objects and lists of a JSON text lie within one another.

The decoder has a limit too, but that one is of the stack: it varies with the version of Python and
with who calls, so one process would accept what another refuses.
"""

from __future__ import annotations

from typing import Final

import numpy as np

#: A record has at most so many objects and lists within one another. The stack allows for it
#: wherever records are read.
MOST_LEVELS: Final = 500

_ALL_BUT_BRACKETS_AND_QUOTES: Final = bytes(set(range(256)) - set(b'{}[]"'))
#: What ``\\`` and ``\"`` become before quotes are looked for.
_NO_QUOTE: Final = b"--"


def is_too_deep(text: bytes) -> bool:
    """Whether objects and lists of a JSON text lie more than ``MOST_LEVELS`` deep."""
    # Hardly any text is long enough, and hardly any of those has so many brackets.
    if len(text) <= MOST_LEVELS or text.count(b"{") + text.count(b"[") <= MOST_LEVELS:
        return False
    plain = text.replace(rb"\\", _NO_QUOTE).replace(rb"\"", _NO_QUOTE)
    marks = np.frombuffer(plain.translate(None, _ALL_BUT_BRACKETS_AND_QUOTES), dtype=np.uint8)
    quotes = marks == ord('"')
    if np.count_nonzero(quotes) % 2:
        # The last text has no end, so that it is none.
        quotes[np.flatnonzero(quotes)[-1]] = False
    within = np.logical_xor.accumulate(quotes)
    opens = (marks == ord("{")) | (marks == ord("["))
    brackets = opens[~(within | (marks == ord('"')))]
    steps = 2 * brackets.astype(np.int8) - 1
    return bool(steps.size) and int(np.cumsum(steps, dtype=np.int32).max()) > MOST_LEVELS
