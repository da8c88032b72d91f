"""Few connections to the pages: whoever reaches the port could have all file descriptors else."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

#: So many may be open; beyond that the one that was heard of longest ago is closed.
MOST: Final = 128


class Connections:
    """The open connections, the one that was heard of longest ago first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: dict[Connection, asyncio.Transport] = {}

    def heard(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Note that one is opened, or says something; one too many is cut off."""
        self._open.pop(connection, None)
        self._open[connection] = transport
        while len(self._open) > self._most:
            self._open.pop(next(iter(self._open))).abort()

    def closed(self, connection: Connection) -> None:
        """Note that one is no more."""
        self._open.pop(connection, None)


class Connection(web.RequestHandler):
    """Speaks HTTP, and tells of itself."""

    __slots__ = ("_all",)

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._all = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part."""
        super().connection_made(transport)
        if self.transport is not None:
            self._all.heard(self, self.transport)

    def data_received(self, data: bytes) -> None:
        """Be heard of; it may say too little for a request, too."""
        if self.transport is not None and data:
            self._all.heard(self, self.transport)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make room."""
        self._all.closed(self)
        super().connection_lost(exc)
