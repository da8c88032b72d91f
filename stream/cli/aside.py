"""Reading beside the event loop: what waits for a pipe holds up neither sending nor signals."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

from stream.core.errors import StopError
from stream.replay.files import Batch, has_more

#: How often a thread that waits for a pipe looks whether it is to stop, in seconds.
_LOOK_SECONDS: Final = 0.1
#: After so long without a batch what was read before is to go out, in seconds.
_IDLE_SECONDS: Final = 0.5


class Stopped(StopError):
    """Nobody wants what would be read."""


class Waiting:
    """Waits until a file has something to read; ``stop`` ends that from another thread.

    A thread that is blocked in a read can't be ended, and Python would wait for it at its exit.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End a wait that is under way, and all further ones."""
        self._stopped.set()

    def __call__(self, file: BinaryIO) -> None:
        """Return once a read would not block, or where that can't be told.

        Raises:
            Stopped: it was stopped before.
        """
        while not self._stopped.is_set():
            if has_more(file, time.monotonic() + _LOOK_SECONDS, untold=True):
                return
        raise Stopped


async def read_aside(
    batches: Iterator[Batch], waiting: Waiting, idle: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Batch, None]:
    """Batches that a thread reads, one at a time; close it, as that ends the thread.

    ``idle`` is called again and again while none comes.
    """
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(1, "cxkpi-reading")
    following: asyncio.Future[Batch | None] | None = None
    try:
        while True:
            following = loop.run_in_executor(thread, next, batches, None)
            while not (await asyncio.wait({following}, timeout=_IDLE_SECONDS))[0]:
                await idle()
            if (batch := await following) is None:
                return
            yield batch
    finally:
        waiting.stop()
        if following is not None:
            following.cancel()
        thread.shutdown()
