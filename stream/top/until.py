"""Waiting in the main thread, where signals come."""

from __future__ import annotations

import math
import time


class Until:
    """The end of a watch: after so many seconds from now, or never.

    It only sleeps: a thread's Event is a lock, too, and where a signal raises KeyboardInterrupt
    while that is let go of, what comes out is a RuntimeError.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._deadline = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._deadline

    def wait(self, seconds: float) -> bool:
        """Wait for so long, and no longer than until the time is over; gives whether it is."""
        time.sleep(max(0.0, min(seconds, self._deadline - time.monotonic())))
        return self.is_over
