"""When records are sent: in slices as the clock reaches their time, or at a fixed rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, TypeVar

from stream.core.settings import SECOND
from stream.generate.draws import Record

#: A slice has at most so many records, and waits at most so long for its first one, in ms.
SLICE: Final = 2_000
_TICK: Final = 100

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[object]]
T = TypeVar("T")


def now_ms() -> int:
    """The wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


async def as_they_happen(
    records: Iterable[Record], clock: Clock = now_ms, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[list[Record]]:
    """Slices of records, each at its ``at`` or up to 0.1 s later; what is past at full speed."""
    now = clock()
    due: list[Record] = []
    for record in records:
        while record[0] > now:
            now = clock()
            if record[0] > now:
                if due:
                    yield due
                    due = []
                await sleep(min(max(record[0] - now, _TICK), SECOND) / SECOND)
        due.append(record)
        if len(due) >= SLICE:
            yield due
            due = []
    if due:
        yield due


class Pace:
    """Holds a sender to a mean rate; time that was lost is caught up."""

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """``rate`` in records per second; None doesn't hold anything up."""
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._start: float | None = None
        self._sent = 0

    @property
    def slice(self) -> int:
        """How many records to send at once, so that the rate is even within a tick."""
        if self._rate is None:
            return SLICE
        return max(1, min(SLICE, int(self._rate * _TICK / SECOND)))

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
