"""What ends a worker, and what must not, without a broker."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from stream import wiring
from stream.config import Config
from stream.core.catalogue import FAMILIES
from stream.core.errors import StopError
from stream.core.state import StateRefused
from stream.kafka.firing import FiringAlerts
from stream.kafka.topics import Names, TopicMap
from stream.sinks.dispatcher import Dispatcher
from tests.fixtures.clock import in_no_time

NAMES = Names("", "group")


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
        ([KafkaConnectionError("gone"), OSError("gone")], [logging.WARNING, logging.DEBUG]),
        ([KeyError("a"), KeyError("a")], [logging.ERROR, logging.ERROR]),
        ([ExceptionGroup("lanes", [OSError(), KeyError("a")])], [logging.ERROR]),
    ],
)
async def test_a_sink_s_trouble_ends_nothing_and_a_mistake_is_said_loudly_each_time(
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
    dispatcher = cast("Dispatcher", SimpleNamespace(name="webhook"))
    feeding = asyncio.ensure_future(worker._feed(dispatcher, NAMES))
    await asyncio.wait_for(Reader.served.wait(), 5)
    feeding.cancel()
    await asyncio.wait({feeding})
    assert [record.levelno for record in caplog.records if "webhook" in record.message] == levels


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

    dispatcher = cast("Dispatcher", SimpleNamespace(name="manager", refresh=refresh))
    telling = asyncio.ensure_future(wiring.Worker(Config())._refresh(dispatcher, NAMES, 0.0))
    await asyncio.wait_for(refreshed.wait(), 5)
    telling.cancel()
    await asyncio.wait({telling})
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]


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
    dispatcher = cast("Dispatcher", SimpleNamespace(name="manager", refresh=told_to))
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
