"""The wall clock, for all but the core, which is told the time."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000
