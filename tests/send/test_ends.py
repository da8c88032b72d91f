"""What a signal does to a sending command."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from stream.cli import sending


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_further_signal_is_heard_however_soon_it_comes(number: signal.Signals) -> None:
    """Where the loop was held up, both come in one turn of it."""
    delivering: list[str] = []

    async def never_ends() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            loop.call_soon(os.kill, os.getpid(), number)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            delivering.append("begun")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                delivering.append("given up")
                raise

    async def in_time() -> None:
        async with asyncio.timeout(30):
            await sending._until_signalled(never_ends())

    asyncio.run(in_time())
    assert delivering == ["begun", "given up"]
