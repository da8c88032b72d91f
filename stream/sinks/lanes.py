"""Work in lanes: in order within each, side by side across them, and not without bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Job = Callable[[], Awaitable[None]]


class Lanes:
    """Does jobs, those of one key one after the other; an async context manager.

    A lane that is held up holds up no other, until ``most`` jobs are underway or waiting. Left
    without an error, all jobs are done first. What a job raises ends all others, is raised where
    the block ends, and cancels the block itself.
    """

    def __init__(self, most: int) -> None:
        self._room = asyncio.Semaphore(most)
        self._lanes: dict[bytes, deque[Job]] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for all jobs, or end them.

        Raises:
            ExceptionGroup: what jobs or the block raised.
        """
        await self._group.__aexit__(kind, error, trace)

    async def put(self, key: bytes, job: Job) -> None:
        """Have a job done after the others of its key; wait while too many are underway."""
        await self._room.acquire()
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(job)
            return
        self._lanes[key] = deque([job])
        self._group.create_task(self._run(key))

    async def _run(self, key: bytes) -> None:
        lane = self._lanes[key]
        while lane:
            await lane.popleft()()
            self._room.release()
        del self._lanes[key]
