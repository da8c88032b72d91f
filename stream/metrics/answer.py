"""Sends a page in slices, so that one who reads slowly, or not at all, takes little memory.

A page may have tens of megabytes. All answers share its text; of each only the slice that is under
way is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Final

from aiohttp import web

#: So many bytes are sent before it is waited until most of them were taken.
SLICE: Final = 1 << 17
#: How long an answer may take, in seconds: longer than any scrape.
TAKEN_SECONDS: Final = 60.0


async def send(
    request: web.Request,
    parts: list[bytes],
    headers: dict[str, str],
    within: float = TAKEN_SECONDS,
) -> web.StreamResponse:
    """Answer with all parts, one after the other; whoever does not take them is cut off.

    ``parts`` are taken out of their list, so that nobody holds a page that was sent.
    """
    response = web.StreamResponse(headers=headers)
    response.content_length = sum(map(len, parts))
    # Failures refer to frames that refer to them, and such cycles are looked for rarely. So no
    # frame that a failure passes has the page, but what is closed then.
    with closing(_slices(parts)) as slices:
        try:
            async with asyncio.timeout(within):
                await response.prepare(request)
                if request.method != "HEAD":
                    await _write(response, slices)
        except (TimeoutError, ConnectionError) as error:
            _let_go_of_frames(error)
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        finally:
            parts.clear()
    return response


def _let_go_of_frames(error: BaseException | None) -> None:
    """They have slices, and nobody will ask where it failed."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


async def _write(response: web.StreamResponse, slices: Iterable[bytes]) -> None:
    last = b""
    for piece in slices:
        if last:
            await response.write(last)
        last = piece
    # It alone waits also where little was written: many may ask again before they read.
    await response.write_eof(last)


def _slices(parts: list[bytes]) -> Generator[bytes]:
    while parts:
        part = parts.pop(0)
        for at in range(0, len(part), SLICE):
            yield part[at : at + SLICE]
