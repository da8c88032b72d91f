"""A metrics server in a thread of its own, for tests that are no coroutines."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from stream.core.kpi import Kpi
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView


@contextmanager
def serving(
    view: Callable[[], WorkerView],
    kpis: Mapping[str, Kpi],
    port: int = 0,
    reason: str = "starting",
) -> Iterator[MetricsServer]:
    """Serve the views until the block ends; one that is not ready is so for the ``reason``."""
    loop = asyncio.new_event_loop()
    server = MetricsServer(view, kpis, unready=lambda: None if view().ready else reason, port=port)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(timeout=60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=60)
        loop.close()
