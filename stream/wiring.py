"""Puts the worker together: pages, topics, shards, Faust app, monitor and sinks, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import msgspec

from stream.config import Config
from stream.core.catalogue import KPIS
from stream.core.errors import StopError
from stream.kafka import app as faust_app
from stream.kafka.alert_reader import AlertReader
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.ending import cancelled, failure
from stream.kafka.firing import FiringAlerts
from stream.kafka.group_state import refuse_gone_sources
from stream.kafka.log import LogUnread
from stream.kafka.owner import ShardOwner
from stream.kafka.readiness import Readiness
from stream.kafka.repeats import EACH_TRY
from stream.kafka.topics import Names, TopicMap, prepare
from stream.kafka.transient import is_transient
from stream.kafka.watch import watch
from stream.kafka.wording import InWords, in_words
from stream.metrics.server import MetricsServer
from stream.metrics.view import WorkerView
from stream.monitor import Monitor
from stream.sinks.catalogue import build
from stream.sinks.dispatcher import Delivery, Dispatcher

_RETRY_SECONDS = 1.0
#: How long a sink is left alone that fails by a mistake of the product, in seconds.
_DEFECT_SECONDS = 60.0
#: How long writing what there is may take at the end, in seconds.
_LAST_FLUSH_SECONDS = 2.5
#: How often to look whether the worker is ready, in seconds.
_LOOK_SECONDS = 0.2
_WITHOUT_BROKER = (
    " while no Kafka broker answers: what came since the last flush is read again at the next start"
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Defect(StopError):
    """A mistake in the product, which no further try mends; the log has where it lies."""


class Worker:
    """A worker, from its start to its end. ``stop`` may be called from a signal handler."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stop = asyncio.Event()
        self._reason = "starting"
        self._monitor: Monitor | None = None
        self._dispatchers: list[Dispatcher] = []
        self._benchmarks = {(b.kpi, b.industry): b.value for b in config.figures}

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def view(self) -> WorkerView:
        """What the page of metrics shows."""
        if self._monitor is None:
            return WorkerView(benchmarks=self._benchmarks)
        notifications = {
            (dispatcher.name, result): count
            for dispatcher in self._dispatchers
            for result, count in dispatcher.counts().items()
        }
        return msgspec.structs.replace(
            self._monitor.view(), benchmarks=self._benchmarks, notifications=notifications
        )

    def unready(self) -> str | None:
        """Why the worker is not ready; None where it is."""
        return self._reason if self._monitor is None else self._monitor.unready()

    async def run(
        self,
        serving: Callable[[str], None] = lambda url: None,
        ending: Callable[[BaseException | None], None] = lambda failed: None,
    ) -> None:
        """Work until ``stop`` is called.

        ``serving`` is told the address of the pages. ``ending`` is told what the worker failed of,
        if it did, when all that counts is written and only connections are still to be closed,
        which a broker that is gone can hold up for ever.

        Raises:
            StopError: such as CannotListen, TopicsUnfit, StateRefused, UnknownSink or Defect; one
                line says what to do.
        """
        http = self._config.http
        self._dispatchers = [
            Dispatcher(s.name, build(s), s.retry_for_ms) for s in self._config.sinks
        ]
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                MetricsServer(self.view, KPIS, unready=self.unready, host=http.host, port=http.port)
            )
            serving(server.url)
            with _one_line():
                topics = await self._or_stopped(self._topics())
            if topics is None:
                log.info("stopped")
            else:
                await self._work(topics, ending)

    async def _work(self, topics: TopicMap, ending: Callable[[BaseException | None], None]) -> None:
        kafka = self._config.kafka
        settings = self._config.core()
        owner = ShardOwner(settings, kafka, topics)
        monitor = self._monitor = Monitor(settings, kafka, topics.names, owner)
        with _one_line():
            app = faust_app.build(kafka, topics, owner)
        tasks: list[asyncio.Task[None]] = []
        failed: BaseException | None = None
        try:
            with _one_line():
                await self._or_stopped(faust_app.start(app))
                jobs = [
                    self._until_stopped(owner, app),
                    owner.flush_forever(),
                    monitor.run_gauges(),
                    monitor.run_rules(),
                    watch(kafka, topics, owner),
                    _tell_readiness(monitor),
                    *(self._feed(d, topics.names) for d in self._dispatchers),
                ]
                tasks += [asyncio.ensure_future(job) for job in jobs]
                await _first_of(tasks)
        except BaseException as error:
            failed = error
            raise
        finally:
            await cancelled(tasks)
            await owner.stop(_LAST_FLUSH_SECONDS)
            if self._stop.is_set():
                log.info("stopped%s", _WITHOUT_BROKER if owner.outage else "")
            ending(failed)
            await owner.close()
            await monitor.close()
            await faust_app.stop(app)

    async def _or_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work results in, or None where the end was asked for first."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            await cancelled((working, stopping))

    async def _topics(self) -> TopicMap:
        """The topics, once a broker answers."""
        while True:
            try:
                await refuse_gone_sources(self._config.kafka)
                return await prepare(self._config.kafka)
            except (BrokerUnreachable, LogUnread) as error:
                if self._reason != str(error):
                    log.warning("%s; trying again", error)
                self._reason = str(error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _until_stopped(self, owner: ShardOwner, app: faust_app.MonitorApp) -> None:
        while not self._stop.is_set():
            if owner.fatal is not None:
                raise owner.fatal
            faust_app.check(app)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.2)

    async def _feed(self, dispatcher: Dispatcher, names: Names) -> None:
        """Deliver changes to a sink for ever; a broker that is away holds up only this."""
        while True:
            reader = AlertReader(self._config.kafka, names, dispatcher.name)
            try:
                await reader.serve(partial(self._tell, dispatcher, names))
            except Exception as error:
                dispatcher.results["unread"] += 1
                if not is_transient(error):
                    # Even so the others go on, and so does counting.
                    log.exception("sink %s: reading alerts failed by a defect", dispatcher.name)
                    await asyncio.sleep(_DEFECT_SECONDS)
                    continue
                said = InWords(error)
                log.warning(
                    "sink %s: reading alerts failed: %s", dispatcher.name, said, extra=EACH_TRY
                )
            await asyncio.sleep(_RETRY_SECONDS)

    async def _tell(
        self, dispatcher: Dispatcher, names: Names, deliveries: AsyncIterator[Delivery]
    ) -> None:
        """While it is our turn, tell a sink what changes, and what fires if it forgets that."""
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run(deliveries))
            if dispatcher.refresh_seconds is not None:
                group.create_task(self._refresh(dispatcher, names, dispatcher.refresh_seconds))

    async def _refresh(self, dispatcher: Dispatcher, names: Names, seconds: float) -> None:
        """Tell a sink again and again what fires."""
        rules = {rule.name: rule for rule in self._config.core().rules}
        firing = FiringAlerts(self._config.kafka, names, rules)
        try:
            while True:
                try:
                    # Waited for longer than that, it would be told too late.
                    await dispatcher.refresh(await firing.now(seconds))
                except Exception as error:
                    dispatcher.results["unrefreshed"] += 1
                    if is_transient(error):
                        said = in_words(error)
                        log.warning("sink %s: what fires can't be read: %s", dispatcher.name, said)
                    else:
                        log.exception("sink %s: what fires is not told", dispatcher.name)
                await asyncio.sleep(seconds)
        finally:
            await firing.close()


@contextmanager
def _one_line() -> Iterator[None]:
    """Have whatever ends the worker be an error that says so in one line."""
    try:
        yield
    except StopError:
        raise
    except Exception as error:
        log.exception("a part of the worker failed")
        what = "can't go on" if is_transient(error) else "has a defect"
        raise Defect(f"the worker {what}: {in_words(error)}; the log says where") from error


async def _first_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks ends, and fail of what it failed of."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for error in filter(None, map(failure, done)):
        raise error


async def _tell_readiness(monitor: Monitor) -> None:
    """Log for ever when the worker is ready, or ready again."""
    readiness = Readiness()
    while True:
        readiness.note(monitor.standing())
        await asyncio.sleep(_LOOK_SECONDS)
