"""When a worker flushes, and when it tells others of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

#: How often the group is told the positions, in seconds.
TELL_SECONDS: Final = 5.0
#: How often the owners of the KPI families are told what has changed, in seconds.
SHARE_SECONDS: Final = 1.0
#: So long after a whole second of the clock that happens: rules are evaluated at whole seconds, and
#: what the sources hold until then has been fetched by now.
PHASE_SECONDS: Final = 0.3
#: How often the registry is told which values are still in use, in seconds.
REFRESH_SECONDS: Final = 60.0

Clock = Callable[[], float]


class Rounds:
    """What is due with a flush. ``wall`` and ``monotonic`` tell the time in seconds.

    Whoever takes something that is due has to do it: it counts as done then.
    """

    def __init__(self, every: float, wall: Clock = time.time, monotonic: Clock = time.monotonic):
        self._every = every
        self._wall = wall
        self._monotonic = monotonic
        self._hurry = asyncio.Event()
        #: The second, by the wall clock, in which the owners of families were told last.
        self._shared_second = -1
        self._tell_at = 0.0
        #: Shards whose positions the group knows of.
        self._told: AbstractSet[int] = frozenset()
        self.refresh_at = monotonic() + REFRESH_SECONDS

    def hurry(self) -> None:
        """Let the next flush be due at once."""
        self._hurry.set()

    async def next(self) -> None:
        """Wait until a flush is due."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self.until_next())
        self._hurry.clear()

    def until_next(self) -> float:
        """How long until a flush is due that nothing hurries, in seconds.

        By the wall clock, so that the shares of all workers come together and wait for each other
        as little as can be.
        """
        return self._every - (self._wall() - PHASE_SECONDS) % self._every

    def take_share(self) -> bool:
        """Whether the owners of the families are told with this flush; once for each second."""
        second = int((self._wall() - PHASE_SECONDS) // SHARE_SECONDS)
        share, self._shared_second = second != self._shared_second, second
        return share

    def take_telling(self, durable: AbstractSet[int]) -> bool:
        """Whether the group is told the positions now, and then not again for a while.

        Where a shard is new it is told at once.
        """
        now = self._monotonic()
        if now <= self._tell_at and durable <= self._told:
            return False
        self._tell_at, self._told = now + TELL_SECONDS, durable
        return True

    def take_refresh(self) -> bool:
        """Whether the registry is told now; not again before ``refresh_later``.

        What tells it may wait for a broker.
        """
        if self._monotonic() <= self.refresh_at:
            return False
        self.refresh_at = math.inf
        return True

    def refresh_later(self) -> None:
        """Let the next refresh be due a while from now at the latest."""
        self.refresh_at = min(self.refresh_at, self._monotonic() + REFRESH_SECONDS)
