"""The worker's pages: ``/metrics``, ``/healthz`` and ``/readyz`` on one port."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from stream.core.errors import StopError
from stream.core.kpi import Kpi
from stream.metrics.answer import send
from stream.metrics.connections import MOST, Connection, Connections
from stream.metrics.exposition import CONTENT_TYPE, Exposition
from stream.metrics.view import WorkerView
from stream.metrics.zipped import Zipped, takes_gzip

#: How long open requests may go on at a stop, in seconds.
_GRACE = 1.0

log = logging.getLogger(__name__)


class CannotListen(StopError):
    """The host and port of the pages can't be had; the message is one line for the user."""


class MetricsServer:
    """Serves the views of a worker, and whether it is ready.

    ``view`` and ``unready``, which says why the worker is not ready or None, are called at each
    request and must be quick. Probes ask for the latter much more often, so it makes no view.

    An async context manager: entering it raises CannotListen where the address can't be had.
    """

    def __init__(
        self,
        view: Callable[[], WorkerView],
        kpis: Mapping[str, Kpi],
        *,
        unready: Callable[[], str | None],
        host: str = "127.0.0.1",
        port: int = 9464,
    ) -> None:
        self.host = host
        #: The port; once started the one that was really bound, where 0 asked for any.
        self.port = port
        self._view = view
        self._unready = unready
        self._exposition = Exposition(kpis)
        self._kpis = Zipped(b"")
        self._connections = Connections()
        self._listening: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address of the pages, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Begin to serve. Raises CannotListen where the address can't be had."""
        app = web.Application()
        app.on_response_prepare.append(_never_stored)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/", self._index)
        log.addFilter(_is_worth_a_line)
        runner = web.AppRunner(app, shutdown_timeout=_GRACE)
        await runner.setup()
        try:
            self._listening = await self._listen(runner)
        except OSError as error:
            await runner.cleanup()
            raise CannotListen(self._refusal(error)) from error
        self._runner = runner
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        def connection() -> Connection:
            if runner.server is None:
                raise TypeError("a runner that was set up has a server")
            return Connection(self._connections, runner.server, access_log=None, logger=log)

        loop = asyncio.get_running_loop()
        return await loop.create_server(connection, self.host, self.port, backlog=MOST)

    def _refusal(self, error: OSError) -> str:
        address = f"{self.host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            return f"port {self.port} on {self.host} is in use; choose another as [http] port"
        if error.errno == errno.EACCES:
            return f"may not listen on {address}: choose an [http] port of 1024 or more"
        # The event loop's own words say the address again; of an address that no interface has it
        # says, from Python 3.12 on, no number.
        is_foreign = error.errno is None and "could not bind" in str(error)
        number = errno.EADDRNOTAVAIL if is_foreign else error.errno or 0
        reason = os.strerror(number).lower() if number > 0 else error.strerror or str(error)
        return f"cannot listen on {address}: {reason}; see [http] host and port"

    async def stop(self) -> None:
        """Free the port; open requests get a second to end."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": CONTENT_TYPE, "Vary": "Accept-Encoding"}
        if not takes_gzip(request.headers.get("Accept-Encoding", "")):
            return await send(request, [*self._exposition.parts(self._view())], headers)
        headers["Content-Encoding"] = "gzip"
        return await send(request, await self._zipped(), headers)

    async def _zipped(self) -> list[bytes]:
        kpis, rest = self._exposition.parts(self._view())
        if self._kpis.text is not kpis:
            self._kpis = Zipped(kpis)
        return await self._kpis.followed_by(rest)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        reason = self._unready()
        if reason is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"not ready: {reason}\n")

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text="cxkpi worker: see /metrics, /healthz and /readyz\n")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not what is no request: its sender is told, and whoever reaches the port can send it."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, web.RequestPayloadError))


async def _never_stored(_request: web.Request, response: web.StreamResponse) -> None:
    """What is shown holds for this moment only."""
    response.headers["Cache-Control"] = "no-store"
