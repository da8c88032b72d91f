"""Puts the worker together: pages, topics, shards, Faust app, monitor and sinks, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from stream.config import Config
from stream.core.catalogue import KPIS
from stream.kafka import app as faust_app
from stream.kafka.alert_log import changes_for
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import Names, TopicMap, prepare
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView
from stream.monitor import Monitor
from stream.sinks.catalogue import build
from stream.sinks.dispatcher import Dispatcher, Result

_RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Worker:
    """A worker, from its start to its end. ``stop`` may be called from a signal handler."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._reason = "starting"
        self._monitor: Monitor | None = None
        self._dispatchers: list[Dispatcher] = []
        self._started: Callable[[str], None] | None = None

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def view(self) -> WorkerView:
        """What the pages show."""
        if self._monitor is None:
            return WorkerView(ready=False, reason=self._reason)
        self._monitor.notifications = {
            (dispatcher.name, result): dispatcher.results[result]
            for dispatcher in self._dispatchers
            for result in get_args(Result)
        }
        return self._monitor.view()

    async def run(self, serving: Callable[[str], None] | None = None) -> None:
        """Work until ``stop`` is called; ``serving`` is told the address of the pages.

        Raises:
            CannotListen, TopicsUnfit, StateRefused, UnknownSink: one line says what to do.
        """
        http, kafka = self._config.http, self._config.kafka
        settings = self._config.core()
        names = Names(kafka.topic_prefix, kafka.group)
        self._dispatchers = [
            Dispatcher(s.label, build(s), s.retry_for_ms) for s in self._config.sinks
        ]
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                MetricsServer(self.view, KPIS, host=http.host, port=http.port)
            )
            if serving is not None:
                serving(server.url)
            topics = await self._topics()
            if topics is None:
                return
            owner = ShardOwner(settings, kafka, topics)
            self._monitor = Monitor(settings, kafka, names, owner)
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="cxkpi-")))
            app = faust_app.build(kafka, topics, owner, folder)
            async with asyncio.TaskGroup() as group:
                await faust_app.start(app)
                tasks = [
                    group.create_task(owner.flush_forever()),
                    group.create_task(self._monitor.run()),
                    *(group.create_task(self._feed(d, names)) for d in self._dispatchers),
                ]
                await self._until_stopped(owner, app, tasks)
                await owner.stop()
                for task in tasks:
                    task.cancel()
                await faust_app.stop(app)
                await self._monitor.close()
        if owner.fatal is not None:
            raise owner.fatal

    async def _topics(self) -> TopicMap | None:
        """The topics, once a broker answers; None where the end was asked for before."""
        while not self._stop.is_set():
            try:
                return await prepare(self._config.kafka)
            except BrokerUnreachable as error:
                if self._reason != str(error):
                    log.warning("%s; trying again", error)
                self._reason = str(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _RETRY_SECONDS)
        return None

    async def _until_stopped(
        self, owner: ShardOwner, app: faust_app.MonitorApp, tasks: list[asyncio.Task[None]]
    ) -> None:
        while not (self._stop.is_set() or owner.fatal or faust_app.has_crashed(app)):
            if any(task.done() for task in tasks):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.2)
        if faust_app.has_crashed(app):
            owner.fatal = owner.fatal or faust_app.crash_reason(app)

    async def _feed(self, dispatcher: Dispatcher, names: Names) -> None:
        """Deliver changes to a sink for ever; a broker that is away holds up only this."""
        while True:
            try:
                async with changes_for(self._config.kafka, names, dispatcher.name) as changes:
                    await dispatcher.run(changes)
            except Exception as error:  # noqa: BLE001 - a sink's trouble must not end the worker.
                log.warning("sink %s: reading alerts failed: %r", dispatcher.name, error)
            await asyncio.sleep(_RETRY_SECONDS)
