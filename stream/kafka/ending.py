"""How tasks and clients come to their end: told to, waited for, and not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from typing import Any, Final

from stream.kafka.transient import is_transient

#: How long clients may take to end, in seconds: some say goodbye to a broker that may be gone.
GOODBYE_SECONDS: Final = 3.0
#: How long tasks may take to end that were told to, in seconds.
LAST_WORDS_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


async def say_goodbye(*closings: Callable[[], Awaitable[Any]]) -> None:
    """End clients, side by side, and raise nothing.

    One that can't even end is of no more use, and nothing that was promised depends on it.
    """
    # In tasks of their own: what a client cancels of itself must not pass for our own end.
    goodbyes = [asyncio.ensure_future(_said(closing)) for closing in closings]
    try:
        if goodbyes:
            await asyncio.wait(goodbyes, timeout=GOODBYE_SECONDS)
    finally:
        await cancelled(goodbyes)


async def _said(closing: Callable[[], Awaitable[Any]]) -> None:
    try:
        await closing()
    except Exception as error:
        if is_transient(error):
            log.info("letting go of a client: %r", error)
        else:
            log.exception("letting go of a client failed")


async def cancelled(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Have tasks end, and wait until they have, for a moment at most.

    What they raise is of interest to nobody any more.
    """
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=LAST_WORDS_SECONDS)
    for task in tasks:
        # Of one that nobody has asked, asyncio would log that.
        error = task.exception() if task.done() and not task.cancelled() else None
        if error is not None and task in running:
            log.info("while it was told to end: %r", error)


async def completed(work: Coroutine[Any, Any, None]) -> None:
    """Wait for the end of ``work`` however often that is cancelled; then the cancellation goes on.

    What ``work`` raises goes first.
    """
    task = asyncio.ensure_future(work)
    told: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            told = error
    task.result()
    if told is not None:
        raise told


class Tasks:
    """What somebody has begun and not waited for: nothing of it is forgotten.

    What a task fails by is told to ``failed``. So is an end that nobody has told it to: the client
    cancels what waits for its own tasks, and whoever waits for this one would wait for ever.
    One that is told to end before it has begun does nothing at all, not even what it does at last.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        """Those that have not ended."""
        return iter(set(self._running))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    async def cancel(self) -> None:
        """Have all end, and wait until they have, since they change what others look at."""
        running = list(self)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if (error := failure(task)) is not None:
            self._failed(error)


def failure(task: asyncio.Future[Any]) -> Exception | None:
    """Why a task has ended that should not have by itself; None where it has done its work."""
    if not task.cancelled():
        error = task.exception()
        return error if error is None or isinstance(error, Exception) else RuntimeError(repr(error))
    is_told = isinstance(task, asyncio.Task) and task.cancelling()
    return None if is_told else RuntimeError("Kafka's client has cancelled what waits for it")
