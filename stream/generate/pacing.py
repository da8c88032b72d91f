"""When records are sent: in slices, as the clock reaches their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from stream.clock import now_ms
from stream.core.settings import SECOND
from stream.generate.draws import Record

#: A slice has at most so many records, and waits at most so long for its first one, in ms.
SLICE: Final = 2_000
_TICK: Final = 100

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[object]]


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
