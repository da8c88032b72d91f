"""How deeply the objects and lists of a JSON text lie within one another.

The decoder has a limit too, but that one is of the stack: it varies with the version of Python and
with who calls, so one process would accept what another refuses.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

#: A record has at most so many objects and lists within one another. The stack allows for it
#: wherever records are read.
MOST_LEVELS: Final = 500

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


def is_too_deep(text: bytes) -> bool:
    """Whether objects and lists of a JSON text lie more than ``MOST_LEVELS`` deep."""
    # Hardly any text is long enough, and hardly any of those has so many brackets.
    if len(text) <= MOST_LEVELS or text.count(b"{") + text.count(b"[") <= MOST_LEVELS:
        return False
    brackets = np.frombuffer(_STRING.sub(b"", text).translate(None, _NO_BRACKETS), dtype=np.uint8)
    steps = np.where((brackets == ord("{")) | (brackets == ord("[")), 1, -1)
    return bool(steps.size) and int(np.cumsum(steps).max()) > MOST_LEVELS
