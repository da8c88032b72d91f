"""What the sending commands share: the end by a signal, and failures as one line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from stream.cli.asking import said_in_one_line

T = TypeVar("T")

#: A further signal is heard so much later, in seconds.
_BETWEEN_SIGNALS: Final = 0.1


def run(sending: Coroutine[Any, Any, T]) -> T | None:
    """Run until done, or until SIGINT or SIGTERM, which end it with what was taken delivered.

    A further signal does not wait for that. None where a signal ended it. Raises
    :class:`CommandFailed`.
    """
    with said_in_one_line():
        return asyncio.run(_until_signalled(sending))


async def _until_signalled(sending: Coroutine[Any, Any, T]) -> T | None:
    task = asyncio.create_task(sending)
    loop = asyncio.get_running_loop()

    def end() -> None:
        # A task that is told twice in one turn of the loop hears it once.
        if task.cancelling():
            loop.call_later(_BETWEEN_SIGNALS, task.cancel)
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        return None
