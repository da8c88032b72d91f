"""Python's garbage collector, set for a process that remembers millions of small objects."""

from __future__ import annotations

import gc
from typing import Final

#: Nearly all that a worker makes is freed by counting references, so cycles are looked for rarely:
#: with the usual 700 objects a tenth of the time goes into walks that find nothing.
_THRESHOLD: Final = (150_000, 20, 50)


def tune() -> None:
    """Look for cycles rarely, and never among what is there at the start."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLD)
