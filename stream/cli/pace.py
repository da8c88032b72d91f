"""Sending at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

#: A slice has at most so many records; at a rate there are so many slices a second.
MOST_AT_ONCE: Final = 2_000
_SLICES: Final = 10


class Pace:
    """Holds a sender to a mean rate; time that was lost is caught up."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``rate`` in records per second; None doesn't hold anything up."""
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._start: float | None = None
        self._sent = 0

    @property
    def slice(self) -> int:
        """How many records to send at once, so that the rate is even within a tenth of a second."""
        if self._rate is None:
            return MOST_AT_ONCE
        return max(1, min(MOST_AT_ONCE, int(self._rate / _SLICES)))

    async def sent(self, records: int) -> None:
        """Count what was sent and wait until the next may be."""
        if self._rate is None:
            return
        if self._start is None:
            self._start = self._clock()
        self._sent += records
        ahead = self._start + self._sent / self._rate - self._clock()
        if ahead > 0:
            await self._sleep(ahead)
