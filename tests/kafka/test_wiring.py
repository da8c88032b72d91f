"""What ends a worker, and what must not, without a broker."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError

from stream import wiring
from stream.config import Config
from stream.config.model import Benchmark
from stream.core.alerts import Change
from stream.core.catalogue import FAMILIES
from stream.core.errors import StopError
from stream.core.settings import Rule
from stream.core.state import StateRefused
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.firing import FiringAlerts
from stream.kafka.log import LogUnread
from stream.kafka.readiness import Standing
from stream.kafka.repeats import SparseRepeats
from stream.kafka.topics import Names, TopicMap
from stream.metrics.view import Timing, WorkerView
from stream.monitor import Monitor
from stream.sinks.dispatcher import Dispatcher
from tests.fixtures.clock import in_no_time

NAMES = Names("", "group")
#: What a worker does at its end, in this order; only then may a broker that is gone hold it up.
END = ["started", "last flush", "told", "closed", "closed", "app stopped"]


def test_a_mistake_ends_the_worker_with_one_line_and_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(wiring.Defect, match="has a defect: KeyError") as raised, wiring._one_line():
        raise KeyError("key")
    assert isinstance(raised.value, StopError)
    assert "\n" not in str(raised.value)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_what_passes_elsewhere_is_not_called_a_defect_where_it_ends_the_worker() -> None:
    with pytest.raises(wiring.Defect, match="can't go on: OSError"), wiring._one_line():
        raise OSError("no certificate")


def test_what_says_itself_that_the_worker_must_stop_is_told_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(StateRefused, match="damaged"), wiring._one_line():
        raise StateRefused("damaged")
    assert caplog.records == []


class Nowhere:
    """A sink that is told nothing."""

    async def deliver(self, change: Change) -> None: ...

    async def close(self) -> None: ...


class Reader:
    """A reader of alerts that fails, as often as there are errors."""

    errors: ClassVar[list[Exception]]
    served: ClassVar[asyncio.Event]

    def __init__(self, *_: object) -> None: ...

    async def serve(self, work: object) -> None:
        if Reader.errors:
            raise Reader.errors.pop(0)
        Reader.served.set()
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("errors", "levels"),
    [
        ([KafkaConnectionError("gone"), OSError("gone")], [logging.WARNING, logging.WARNING]),
        ([KeyError("a"), KeyError("a")], [logging.ERROR, logging.ERROR]),
        ([ExceptionGroup("lanes", [OSError(), KeyError("a")])], [logging.ERROR]),
    ],
)
async def test_a_sink_s_trouble_ends_nothing_and_each_try_is_counted_and_a_mistake_said_loudly(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    errors: list[Exception],
    levels: list[int],
) -> None:
    caplog.set_level(logging.DEBUG, "stream")
    monkeypatch.setattr(wiring, "AlertReader", Reader)
    monkeypatch.setattr(wiring, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(wiring, "_DEFECT_SECONDS", 0.0)
    Reader.errors, Reader.served = list(errors), asyncio.Event()
    worker = wiring.Worker(Config())
    dispatcher = Dispatcher("webhook", Nowhere(), 1_000)
    feeding = asyncio.ensure_future(worker._feed(dispatcher, NAMES))
    await asyncio.wait_for(Reader.served.wait(), 60)
    feeding.cancel()
    await asyncio.wait({feeding})
    assert [record.levelno for record in caplog.records if "webhook" in record.message] == levels
    worker._dispatchers, worker._monitor = [dispatcher], cast("Monitor", Life())
    told = worker.view().notifications
    assert told == dict.fromkeys(told, 0) | {("webhook", "unread"): len(errors)}


@in_no_time
async def test_a_reading_that_fails_for_ever_goes_on_being_counted_and_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wiring, "AlertReader", Reader)
    Reader.errors = [GroupAuthorizationFailedError("group-sink-webhook") for _ in range(1_000)]
    dispatcher = Dispatcher("webhook", Nowhere(), 1_000)
    caplog.handler.addFilter(repeats := SparseRepeats(clock=asyncio.get_running_loop().time))
    feeding = asyncio.ensure_future(wiring.Worker(Config())._feed(dispatcher, NAMES))
    found = []
    for minutes in range(1, 6):
        await asyncio.sleep(60 * minutes - asyncio.get_running_loop().time())
        found.append((dispatcher.counts()["unread"], len(caplog.messages)))
    feeding.cancel()
    await asyncio.wait({feeding})
    caplog.handler.removeFilter(repeats)
    assert found == [(60 * minutes, minutes) for minutes in range(1, 6)]
    assert caplog.messages[1].endswith("(59 more like this)")


class Firing:
    """What fires can't be read, as often as there are errors."""

    errors: ClassVar[list[Exception]]

    def __init__(self, *_: object) -> None: ...

    async def now(self, _: float) -> list[Any]:
        if Firing.errors:
            raise Firing.errors.pop(0)
        return []

    async def close(self) -> None: ...


async def test_what_fires_is_told_again_also_after_a_mistake_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wiring, "FiringAlerts", Firing)
    Firing.errors = [OSError("gone"), KeyError("a")]
    refreshed = asyncio.Event()

    async def refresh(firing: AsyncIterator[object]) -> None:
        refreshed.set()

    results: Counter[str] = Counter()
    dispatcher: Any = SimpleNamespace(name="manager", refresh=refresh, results=results)
    telling = asyncio.ensure_future(wiring.Worker(Config())._refresh(dispatcher, NAMES, 0.01))
    await asyncio.wait_for(refreshed.wait(), 60)
    telling.cancel()
    await asyncio.wait({telling})
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert results == {"unrefreshed": 2}


@pytest.mark.parametrize("lasts", [0.0, 4.0, 30.0, 93.0])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("refresh", [1.0, 10.0, 60.0])
@in_no_time
async def test_what_fires_is_told_in_time_also_while_reading_it_takes_long(
    refresh: float, fails: bool, lasts: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that hangs is waited for; an alert that is not told again in time would end."""
    readings = itertools.count()

    async def catch_up(_: object) -> None:
        # Nothing is known before the first, which must not be told in pieces.
        is_first = next(readings) == 0
        await asyncio.sleep(7.0 if is_first else lasts)
        if fails and not is_first:
            raise TimeoutError

    async def told_to(_: object) -> None:
        told.append(asyncio.get_running_loop().time())

    told: list[float] = []
    monkeypatch.setattr(FiringAlerts, "_catch_up", catch_up)
    dispatcher: Any = SimpleNamespace(name="manager", refresh=told_to, results=Counter())
    telling = asyncio.ensure_future(wiring.Worker(Config())._refresh(dispatcher, NAMES, refresh))
    await asyncio.sleep(600)
    telling.cancel()
    await asyncio.wait({telling})
    assert told[0] == 7.0
    assert max(later - one for one, later in pairwise([*told, 600.0])) <= 2 * refresh
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_is_given_up_at_the_end_has_ended_before_the_worker_goes_on() -> None:
    worker = wiring.Worker(Config())
    cleaned = asyncio.Event()

    async def looking() -> int:
        try:
            worker.stop()
            return int(await asyncio.get_running_loop().create_future())
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    assert await worker._or_stopped(looking()) is None
    assert cleaned.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("error", [None, StateRefused("damaged")])
async def test_what_the_worker_failed_of_is_told_once_only_connections_are_to_be_closed(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = wiring.Worker(Config())

    async def start(_: object) -> None:
        worker.stop()
        if error is not None:
            raise error

    async def nothing(*_: object) -> None: ...

    app = SimpleNamespace(build=lambda *_: None, start=start, stop=nothing)
    monkeypatch.setattr(wiring, "faust_app", app)
    monkeypatch.setattr(wiring, "watch", nothing)
    topics = TopicMap(NAMES, dict.fromkeys(FAMILIES, 1), {})
    told: list[BaseException | None] = []
    with nullcontext() if error is None else pytest.raises(StateRefused, match="damaged"):
        await worker._work(topics, told.append)
    assert told == [error]


class Life:
    """What stands in for the parts of a worker: it notes in which order they end.

    ``failing`` has what each part fails by, by its name; all others go on until they are told to
    end.
    """

    def __init__(self, failing: dict[str, Exception] | None = None, outage: str = "") -> None:
        self.failing = failing or {}
        self.outage = outage
        self.fatal = self.failing.get("fatal")
        self.ended: list[str] = []

    async def _part(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]
        await asyncio.get_running_loop().create_future()

    def check(self, _: object) -> None:
        if "app" in self.failing:
            raise self.failing["app"]

    async def flush_forever(self) -> None:
        await self._part("flushes")

    async def run_gauges(self) -> None:
        await self._part("gauges")

    async def run_rules(self) -> None:
        await self._part("rules")

    async def watch(self, *_: object) -> None:
        await self._part("watch")

    async def start(self, _: object) -> None:
        self.ended.append("started")

    async def stop(self, told: object) -> None:
        self.ended.append("last flush" if told == wiring._LAST_FLUSH_SECONDS else "app stopped")

    async def close(self) -> None:
        self.ended.append("closed")

    def standing(self) -> Standing:
        return Standing(False, "starting", "", 0, Timing())

    def view(self) -> WorkerView:
        return WorkerView(ready=True)

    def ending(self, failed: BaseException | None) -> None:
        self.ended.append("told")

    async def work(self, worker: wiring.Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the worker work with these parts until it ends."""
        app = SimpleNamespace(
            build=lambda *_: None, start=self.start, stop=self.stop, check=self.check
        )
        monkeypatch.setattr(wiring, "faust_app", app)
        monkeypatch.setattr(wiring, "watch", self.watch)
        monkeypatch.setattr(wiring, "ShardOwner", lambda *_: self)
        monkeypatch.setattr(wiring, "Monitor", lambda *_: self)
        topics = TopicMap(NAMES, dict.fromkeys(FAMILIES, 1), {})
        await asyncio.wait_for(worker._work(topics, self.ending), 60)


@pytest.mark.parametrize("part", ["fatal", "app", "flushes", "gauges", "rules", "watch"])
async def test_a_part_that_fails_ends_the_worker_while_all_others_would_go_on(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life({part: StateRefused("damaged")})
    with pytest.raises(StateRefused, match="damaged"):
        await life.work(wiring.Worker(Config()), monkeypatch)
    assert life.ended == END


@pytest.mark.parametrize(
    ("outage", "said"),
    [
        ("", "stopped"),
        (
            "no Kafka broker answers",
            (
                "stopped while no Kafka broker answers: what came since the last flush is read"
                " again at the next start"
            ),
        ),
    ],
)
async def test_a_worker_that_is_stopped_writes_what_there_is_and_says_what_is_left(
    outage: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stream")
    life, worker = Life(outage=outage), wiring.Worker(Config())
    asyncio.get_running_loop().call_later(0.01, worker.stop)
    await life.work(worker, monkeypatch)
    assert life.ended == END
    assert caplog.messages == [said]


@pytest.mark.parametrize(
    ("where", "error"),
    [("look", BrokerUnreachable), ("look", LogUnread), ("prepare", BrokerUnreachable)],
)
async def test_a_worker_waits_for_a_broker_and_says_once_what_keeps_it_out(
    where: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(wiring, "_RETRY_SECONDS", 0.0)
    there = TopicMap(NAMES, dict.fromkeys(FAMILIES, 1), {})
    answers: list[str | None] = ["no broker answers", "no broker answers", "no TLS", None]
    worker = wiring.Worker(Config())
    unready: list[str | None] = []

    async def look(_: object) -> None:
        unready.append(worker.unready())
        if (refusal := answers.pop(0)) is not None:
            raise error(refusal)

    async def nothing(_: object) -> None: ...

    async def prepare(kafka: object) -> TopicMap:
        await (look if where == "prepare" else nothing)(kafka)
        return there

    monkeypatch.setattr(wiring, "prepare", prepare)
    monkeypatch.setattr(wiring, "refuse_gone_sources", look if where == "look" else nothing)
    assert await worker._topics() is there
    assert unready == ["starting", "no broker answers", "no broker answers", "no TLS"]
    assert caplog.messages == ["no broker answers; trying again", "no TLS; trying again"]


async def test_each_sink_is_told_as_itself_and_of_what_fires_where_it_forgets_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    low = Rule("Low", "nps", "5m", below=50)
    rule = {"name": low.name, "kpi": low.kpi, "window": low.window, "below": low.below}
    config = Config.model_validate({"alert": [rule]})
    told: list[object] = []
    closed = asyncio.Event()

    class Named(Reader):
        def __init__(self, _: object, names: Names, sink: str) -> None:
            told.append(sink)

        async def serve(self, work: Any) -> None:
            await work(told)

    class Known(Firing):
        def __init__(self, _: object, names: Names, rules: Mapping[str, Rule]) -> None:
            told.append([*rules])

        async def close(self) -> None:
            closed.set()

    async def run(_: object) -> None:
        await asyncio.get_running_loop().create_future()

    refreshed = asyncio.Event()

    async def refresh(_: object) -> None:
        refreshed.set()

    monkeypatch.setattr(wiring, "AlertReader", Named)
    monkeypatch.setattr(wiring, "FiringAlerts", Known)
    Firing.errors = []
    dispatcher = SimpleNamespace(name="manager", refresh=refresh, refresh_seconds=60.0, run=run)
    worker = wiring.Worker(config)
    feeding = asyncio.ensure_future(worker._feed(cast("Dispatcher", dispatcher), NAMES))
    await asyncio.wait_for(refreshed.wait(), 60)
    assert told == ["manager", [low.name]]
    feeding.cancel()
    await asyncio.wait({feeding})
    assert closed.is_set()


def test_published_figures_are_shown_from_the_start_and_notifications_once_there_are_any() -> None:
    config = Config()
    config.hold_figures((Benchmark("nps", "retail", 32.0, "A report", 2023),))
    worker = wiring.Worker(config)
    assert worker.view() == WorkerView(benchmarks={("nps", "retail"): 32.0})
    dispatcher = SimpleNamespace(name="webhook", counts=lambda: {"sent": 3, "dropped": 1})
    worker._dispatchers = [cast("Dispatcher", dispatcher)]
    worker._monitor = cast("Monitor", Life())
    assert worker.view() == WorkerView(
        ready=True,
        benchmarks={("nps", "retail"): 32.0},
        notifications={("webhook", "sent"): 3, ("webhook", "dropped"): 1},
    )
