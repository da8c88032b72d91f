"""From the alert topic to a sink: nothing lost, nothing out of order, nothing for ever."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import random
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from stream.config.model import SinkConfig
from stream.core.alerts import Change
from stream.sinks.catalogue import build
from stream.sinks.dispatcher import (
    MOST_AT_ONCE,
    MOST_PATIENCE,
    MOST_UNDERWAY,
    Backoff,
    Delivery,
    Dispatcher,
    Result,
)
from stream.sinks.log import Log
from stream.sinks.sink import Rejected, Retry, SinkSettings
from tests.fixtures.clock import in_no_time
from tests.sinks.receiver import FakeSettings, Hidden, change, receiver, status

QUICK = Backoff(first=0.001, longest=0.005)


class Topic:
    """An alert topic that knows what was acknowledged, and goes on there when read again."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.values = list(values)
        self.position = 0
        #: Offsets that were acknowledged beyond the position.
        self.beyond: set[int] = set()
        #: Offsets of dead letters and their reasons.
        self.buried: dict[int, str] = {}
        #: Whether it is surely our turn.
        self.is_ours = asyncio.Event()
        self.is_ours.set()

    async def our_turn(self) -> None:
        await self.is_ours.wait()

    async def read(self) -> AsyncIterator[Delivery]:
        for offset in range(self.position, len(self.values)):

            async def acknowledge(offset: int = offset) -> None:
                assert offset not in self.beyond
                self.beyond.add(offset)
                while self.position in self.beyond:
                    self.beyond.remove(self.position)
                    self.position += 1

            async def bury(reason: str, offset: int = offset) -> None:
                assert offset >= self.position
                assert offset not in self.beyond
                self.buried[offset] = reason

            yield Delivery(self.values[offset], acknowledge, bury, self.our_turn)


class FakeSink:
    """Fails as told, one entry per try, then takes everything."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.tries: list[str] = []
        #: When each was made, in seconds of the loop.
        self.at: list[float] = []
        self.taken: list[str] = []
        self.closed = False
        self.tried = asyncio.Event()

    async def deliver(self, change: Change) -> None:
        self.tried.set()
        self.tries.append(change.id)
        self.at.append(asyncio.get_running_loop().time())
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        self.taken.append(change.id)

    async def close(self) -> None:
        self.closed = True


def records(changes: Sequence[Change]) -> list[bytes]:
    return [msgspec.json.encode(one) for one in changes]


async def test_what_anybody_wrote_stays_on_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forged = "x\x1b[2J\nWARNING forged"
    named = [msgspec.structs.replace(change(), **{name: forged}) for name in ("id", "rule")]
    # The phase before is no such word, which is told in the words of the record.
    odd = msgspec.json.decode(msgspec.json.encode(change())) | {"from": forged}
    sink = FakeSink(*(Rejected(forged) for _ in named))
    topic = Topic([*records(named), msgspec.json.encode(odd)])
    await Dispatcher("my", sink, 0, QUICK).run(topic.read())
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert not [line for line in lines if not line.isprintable()]


FIRINGS = [change(number=number) for number in range(3)]
IDS = [one.id for one in FIRINGS]


HAS_IT = "`cxkpi dlq list --topic cx.alert` has it"


async def dispatched(sink: FakeSink, topic: Topic, retry_for_ms: int = 60_000) -> Dispatcher:
    dispatcher = Dispatcher("hook", sink, retry_for_ms, QUICK)
    await dispatcher.run(topic.read())
    return dispatcher


async def test_firing_and_resolved_changes_are_delivered_in_order_and_acknowledged() -> None:
    changes = [change("pending", 1), change("firing", 2), change("resolved", 3)]
    changes += [change("inactive", 4), change("firing", 5)]
    sink, topic = FakeSink(), Topic(records(changes))
    dispatcher = await dispatched(sink, topic)
    assert sink.taken == [changes[i].id for i in (1, 2, 4)]
    assert topic.position == 5
    assert dispatcher.results == {"sent": 3}


async def test_a_failed_delivery_is_tried_again_before_the_next_change() -> None:
    sink, topic = FakeSink(Retry("answer 500"), Retry("answer 500")), Topic(records(FIRINGS))
    dispatcher = await dispatched(sink, topic)
    assert sink.tries == [IDS[0]] * 3 + IDS[1:]
    assert sink.taken == IDS
    assert dispatcher.results == {"sent": 3, "retried": 2}


async def test_each_row_of_failures_begins_and_ends_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink(Retry("answer 500"), Retry("answer 501"), None, Retry("answer 502"))
    with caplog.at_level(logging.INFO):
        await dispatched(sink, Topic(records(FIRINGS)))
    assert [r.getMessage() for r in caplog.records] == [
        "sink hook: answer 500, trying again",
        "sink hook: takes alerts again",
        "sink hook: answer 502, trying again",
        "sink hook: takes alerts again",
    ]


async def test_nothing_is_tried_while_it_may_be_another_workers_turn() -> None:
    sink, topic = FakeSink(Retry("answer 500")), Topic(records(FIRINGS[:1]))
    dispatcher = Dispatcher("hook", sink, 60_000, QUICK)
    topic.is_ours.clear()
    task = asyncio.create_task(dispatcher.run(topic.read()))
    await asyncio.sleep(0.05)
    assert sink.tries == []
    topic.is_ours.set()
    await sink.tried.wait()
    # It is asked for anew at each try, after the wait before it.
    topic.is_ours.clear()
    await asyncio.sleep(0.05)
    assert sink.tries == IDS[:1]
    topic.is_ours.set()
    await task
    assert (sink.tries, sink.taken) == ([IDS[0]] * 2, IDS[:1])


async def test_a_refusal_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    sink, topic = FakeSink(Rejected("answer 404")), Topic(records(FIRINGS))
    dispatcher = await dispatched(sink, topic)
    assert sink.tries == IDS
    assert dispatcher.results == {"sent": 2, "dropped": 1}
    assert topic.buried == {0: "answer 404"}
    assert [r.getMessage() for r in caplog.records] == [
        f"sink hook: gave up CsatLow firing ({IDS[0]}): answer 404; {HAS_IT}"
    ]


@in_no_time
async def test_what_fails_for_too_long_is_given_up_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink(*[Retry("answer 503")] * 10_000)
    topic = Topic(records(FIRINGS[:1]))
    with caplog.at_level(logging.INFO):
        dispatcher = await dispatched(sink, topic, retry_for_ms=200)
    assert dispatcher.results["dropped"] == 1
    assert dispatcher.results["retried"] == len(sink.tries) - 1 > 0
    assert topic.position == 1
    assert topic.buried == {0: "answer 503"}
    assert [r.getMessage() for r in caplog.records] == [
        "sink hook: answer 503, trying again",
        f"sink hook: gave up CsatLow firing ({IDS[0]}): answer 503; {HAS_IT}",
    ]


async def test_with_no_time_to_retry_there_is_one_try() -> None:
    sink = FakeSink(Retry("answer 503"))
    dispatcher = await dispatched(sink, Topic(records(FIRINGS)), retry_for_ms=0)
    assert sink.tries == IDS
    assert dispatcher.results == {"sent": 2, "dropped": 1}


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (None, [0.5, 1, 2, 4, 8, 16, 32, 60, 60]),
        (0, [0.5, 1]),
        (20, [20, 20, 20, 20, 20, 20, 32, 60]),
        (299, [299, 299]),
        (86_400, [300, 300]),
    ],
)
@in_no_time
async def test_waits_grow_to_a_minute_or_last_as_long_as_the_receiver_asks_up_to_five(
    asked: float | None, waits: Sequence[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def longest(_: float, most: float) -> float:
        return most

    monkeypatch.setattr(random, "uniform", longest)
    sink = FakeSink(*[Retry("answer 429", asked)] * len(waits))
    await Dispatcher("hook", sink, 3_600_000).run(Topic(records(FIRINGS[:1])).read())
    assert [after - before for before, after in pairwise(sink.at)] == pytest.approx(waits)


@pytest.mark.parametrize(("refusals", "dropped"), [(1, 0), (2, 1)])
@in_no_time
async def test_who_asks_for_more_than_the_time_to_retry_is_asked_once_more(
    refusals: int, dropped: int
) -> None:
    sink = FakeSink(*[Retry("answer 429", after=86_400)] * refusals)
    dispatcher = await dispatched(sink, Topic(records(FIRINGS[:1])), 1_000)
    assert sink.tries == IDS[:1] * 2
    assert dispatcher.results["dropped"] == dropped
    assert dispatcher.results["sent"] == 1 - dropped


async def test_a_fault_of_the_sink_is_tried_again_and_its_words_are_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink(ValueError("http://host/s3cret"))
    dispatcher = await dispatched(sink, Topic(records(FIRINGS)))
    assert sink.taken == IDS
    assert dispatcher.results == {"sent": 3, "retried": 1}
    assert "ValueError" in caplog.text
    assert "s3cret" not in caplog.text


NO_TIME = msgspec.structs.replace(change("resolved"), changed_at="soon")


NO_CHANGES = [
    *(b"", b"no json", b"{}", b"[1]", b"\xff", *records([NO_TIME])),
    *(b'{"id":"\xff"}', b'{"id":"\\ud800"}', b'{"more":' + b"[" * 3_000),
]


@pytest.mark.parametrize("value", NO_CHANGES)
async def test_a_record_that_is_no_change_is_a_dead_letter(value: bytes) -> None:
    sink, topic = FakeSink(), Topic([value, *records(FIRINGS[:1])])
    dispatcher = await dispatched(sink, topic)
    assert sink.taken == IDS[:1]
    assert topic.position == 2
    assert topic.buried.keys() == {0}
    assert dispatcher.results == {"sent": 1, "dropped": 1}


async def test_a_worker_that_dies_while_delivering_leaves_the_change_for_the_next() -> None:
    topic = Topic(records(FIRINGS))

    class Dying(FakeSink):
        reached = asyncio.Event()

        async def deliver(self, change: Change) -> None:
            if change.id == IDS[1]:
                self.reached.set()
                await asyncio.Event().wait()
            await super().deliver(change)

    first = Dying()
    task = asyncio.create_task(Dispatcher("hook", first, 1_000, QUICK).run(topic.read()))
    await asyncio.wait_for(first.reached.wait(), 60)
    assert topic.position == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert first.closed
    second = FakeSink()
    await dispatched(second, topic)
    assert second.taken == IDS[1:]


async def test_cancelling_ends_a_dispatcher_that_waits_to_try_again() -> None:
    topic, sink = Topic(records(FIRINGS)), FakeSink(*[Retry("answer 500", after=200)] * 9)
    task = asyncio.create_task(Dispatcher("hook", sink, 3_600_000, QUICK).run(topic.read()))
    await asyncio.wait_for(sink.tried.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)
    assert topic.position == 0


def of_alert(region: str, number: int) -> Change:
    return msgspec.structs.replace(change(number=number), labels={"region": region})


async def test_an_alert_that_can_not_be_delivered_holds_up_no_other() -> None:
    class Picky(FakeSink):
        async def deliver(self, change: Change) -> None:
            if change.labels["region"] == "eu":
                self.tries.append(change.id)
                raise Retry("answer 500")
            await super().deliver(change)

    changes = [of_alert(("eu", "us", "asia")[n % 3], n) for n in range(30)]
    sink, topic = Picky(), Topic(records(changes))
    task = asyncio.create_task(Dispatcher("hook", sink, 3_600_000, QUICK).run(topic.read()))
    async with asyncio.timeout(60):
        while len(sink.taken) < 20:  # noqa: ASYNC110 - it is a list.
            await asyncio.sleep(0.01)
    assert set(sink.tries) - set(sink.taken) == {changes[0].id}
    for region in ("us", "asia"):
        own = [c.id for c in changes if c.labels["region"] == region]
        assert [one for one in sink.taken if one in own] == own
    # Nothing is acknowledged that was not delivered.
    assert topic.position == 0
    assert topic.beyond == {n for n in range(30) if n % 3}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_no_time
async def test_a_receiver_that_is_overrun_is_left_alone_by_all_alerts() -> None:
    sink = FakeSink(Retry("answer 429", after=30))
    changes = [of_alert(f"r{n}", n) for n in range(MOST_AT_ONCE * 2)]
    await dispatched(sink, Topic(records(changes)))
    assert len(sink.taken) == len(changes)
    assert len([at for at in sink.at if at < 30]) <= MOST_AT_ONCE


@in_no_time
async def test_the_longest_of_all_that_a_receiver_asks_for_is_waited_for() -> None:
    sink = FakeSink(Retry("answer 429", after=30), Retry("answer 429", after=10))
    await dispatched(sink, Topic(records([of_alert("eu", 1), of_alert("us", 2)])))
    assert sink.at == pytest.approx([0, 0, 30, 30])


@in_no_time
async def test_our_turn_may_be_lost_while_the_receiver_is_left_alone() -> None:
    sink = FakeSink(Retry("answer 429", after=30))
    topic = Topic(records([of_alert("eu", 1), of_alert("us", 2)]))

    async def deliveries() -> AsyncIterator[Delivery]:
        async for delivery in topic.read():
            yield delivery
            # So the second comes when the receiver has asked already.
            await sink.tried.wait()

    task = asyncio.create_task(Dispatcher("hook", sink, 600_000, QUICK).run(deliveries()))
    await asyncio.sleep(10)
    topic.is_ours.clear()
    await asyncio.sleep(90)
    topic.is_ours.set()
    await task
    assert sink.at == pytest.approx([0, 100, 100])


async def test_so_many_deliveries_are_made_at_a_time() -> None:
    class Counting(FakeSink):
        now = most = 0

        async def deliver(self, change: Change) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.001)
            self.now -= 1

    sink = Counting()
    await dispatched(sink, Topic(records([of_alert(f"r{n}", n) for n in range(50)])))
    assert sink.most == MOST_AT_ONCE


@pytest.mark.parametrize(
    "words",
    [
        f"At most {MOST_AT_ONCE} deliveries are made at a time",
        f"at most {MOST_UNDERWAY:,} that fail or wait behind it",
        f"`Retry-After` (up to {MOST_PATIENCE / 60:g} min;",
    ],
)
def test_the_page_names_what_bounds_deliveries(words: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    assert words in " ".join(page.split())


@pytest.mark.parametrize(
    ("failures", "results"), [((), {"sent": 1}), ((Rejected("answer 404"),), {})]
)
async def test_what_acknowledging_or_burying_raises_ends_the_dispatcher(
    failures: Sequence[Exception], results: dict[Result, int]
) -> None:
    async def deliveries() -> AsyncIterator[Delivery]:
        async def fail(*_: object) -> None:
            raise OSError("no broker")

        for value in records(FIRINGS):
            yield Delivery(value, fail, fail, Topic(()).our_turn)

    dispatcher = Dispatcher("hook", FakeSink(*failures), 1_000, QUICK)
    with pytest.RaisesGroup(OSError):
        await dispatcher.run(deliveries())
    # No dead letter is counted that there is not.
    assert dispatcher.results == Counter(results)


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (OSError(errno.ENOSPC, "secret", "/secret"), "no space left on device"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "secret"), "connection refused"),
        (OSError("secret"), "OSError"),
        (ValueError("secret"), "ValueError"),
    ],
)
async def test_a_dead_letter_says_in_the_systems_words_what_failed(
    failure: Exception, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = Topic(records(FIRINGS[:1]))
    await dispatched(FakeSink(failure), topic, retry_for_ms=0)
    assert topic.buried == {0: why}
    assert "secret" not in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
async def test_a_log_on_a_full_disk_is_told_in_the_dead_letter() -> None:
    topic = Topic(records(FIRINGS[:1]))
    full = Path("/dev/full").open("w", buffering=1)  # noqa: ASYNC230, SIM115 - so is stderr
    await Dispatcher("log", Log(FakeSettings("log"), full), 0, QUICK).run(topic.read())
    assert topic.buried == {0: "no space left on device"}
    with pytest.raises(OSError, match="No space left"):
        full.close()


class FakeKeeper(FakeSink):
    """Forgets, and so is told again."""

    refresh_ms = 60_000

    def __init__(self, *failures: Exception | None) -> None:
        super().__init__()
        self.kept: list[list[str]] = []
        self.keeping = list(failures)

    async def keep(self, firing: Iterable[Change]) -> bool:
        failure = self.keeping.pop(0) if self.keeping else None
        if failure is not None:
            raise failure
        self.kept.append([one.id for one in firing])
        return bool(self.kept[-1])


async def test_where_nothing_fires_nobody_is_taken_for_up_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    dispatcher = Dispatcher("hook", FakeKeeper(Retry("nobody answers")), 60_000, QUICK)
    await dispatcher.refresh([of_alert("eu", 1)])
    await dispatcher.refresh([])
    assert "takes alerts again" not in caplog.text
    assert (dispatcher.counts()["refreshed"], dispatcher.counts()["unrefreshed"]) == (0, 1)
    await dispatcher.refresh([of_alert("eu", 1)])
    assert caplog.text.count("takes alerts again") == 1
    assert dispatcher.counts()["refreshed"] == 1


async def test_what_fires_is_told_again_until_its_end_is_told() -> None:
    sink, topic = FakeKeeper(), Topic([])
    dispatcher = Dispatcher("hook", sink, 60_000, QUICK)
    assert dispatcher.refresh_seconds == 60
    eu, us = of_alert("eu", 1), of_alert("us", 2)
    await dispatcher.refresh([eu, us])
    over = msgspec.structs.replace(eu, to="resolved", changed_at="2026-05-04T08:00:05.500Z")
    topic.values = records([over])
    await dispatcher.run(topic.read())
    # What is known of it is older than its end.
    await dispatcher.refresh([eu, us])
    again = msgspec.structs.replace(eu, id="again", changed_at="2026-05-04T08:00:06Z")
    await dispatcher.refresh([again, us])
    await dispatcher.refresh([us])
    assert sink.kept == [[eu.id, us.id], [us.id], ["again", us.id], [us.id]]
    assert dispatcher.counts() == {
        "sent": 1,
        "retried": 0,
        "dropped": 0,
        "unread": 0,
        "refreshed": 4,
        "unrefreshed": 0,
    }


@in_no_time
async def test_what_is_read_late_brings_no_alert_back_whose_end_was_told() -> None:
    """What is told is what was known last, for a while, and then perhaps not the newest yet."""
    sink, eu = FakeKeeper(), of_alert("eu", 1)
    dispatcher = Dispatcher("hook", sink, 60_000, QUICK)
    over = msgspec.structs.replace(eu, to="resolved", changed_at="2026-05-04T08:00:05.500Z")
    await dispatcher.run(Topic(records([over])).read())
    # Read before it began to fire.
    await dispatcher.refresh([])
    await asyncio.sleep(1_000)
    await dispatcher.refresh([])
    # Read before its end.
    await dispatcher.refresh([eu])
    again = msgspec.structs.replace(eu, id="again", changed_at="2026-05-04T08:00:06Z")
    await dispatcher.refresh([again])
    assert sink.kept == [[], [], [], ["again"]]


@in_no_time
async def test_ended_alerts_are_forgotten_once_they_are_known_to_have_ended() -> None:
    class Forgetful(FakeKeeper):
        async def deliver(self, change: Change) -> None:
            """Note nothing, as that would take memory."""

    dispatcher, number = Dispatcher("hook", Forgetful(), 60_000, QUICK), 1_000

    async def used(day: int) -> int:
        """How many bytes are used after a day that has alerts of its own."""
        ends = [
            msgspec.structs.replace(of_alert(f"{day}-{n}", n), to="resolved") for n in range(number)
        ]
        await dispatcher.run(Topic(records(ends)).read())
        del ends
        await asyncio.sleep(86_400)
        await dispatcher.refresh([])
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after = [await used(day) for day in range(4)]
    finally:
        tracemalloc.stop()
    # What the interpreter and its libraries keep for themselves now and then is some 10,000 bytes.
    assert after[3] - after[1] < 100 * number, after


async def test_a_sink_that_forgets_nothing_cannot_be_told_again() -> None:
    dispatcher = Dispatcher("hook", FakeSink(), 60_000, QUICK)
    with pytest.raises(TypeError, match="sink hook forgets nothing"):
        await dispatcher.refresh([of_alert("eu", 1)])
    assert dispatcher.results["unrefreshed"] == 0


async def test_a_refresh_that_fails_is_one_line_and_made_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeKeeper(Retry("answer 503"), ValueError("s3cret"), None, Retry("answer 502"))
    dispatcher = Dispatcher("hook", sink, 60_000, QUICK)
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            await dispatcher.refresh([of_alert("eu", 1)])
    assert len(sink.kept) == 1
    assert dispatcher.results == {"unrefreshed": 3, "refreshed": 1}
    assert [r.getMessage() for r in caplog.records] == [
        "sink hook: answer 503, alerts that fire were not told again",
        "sink hook: takes alerts again",
        "sink hook: answer 502, alerts that fire were not told again",
    ]
    assert "s3cret" not in caplog.text


def test_a_sink_that_forgets_nothing_is_not_told_again() -> None:
    dispatcher = Dispatcher("hook", FakeSink(), 60_000, QUICK)
    assert dispatcher.refresh_seconds is None
    assert dispatcher.counts() == {"sent": 0, "retried": 0, "dropped": 0, "unread": 0}


async def test_one_sink_that_hangs_holds_up_no_other() -> None:
    class Hanging(FakeSink):
        async def deliver(self, change: Change) -> None:
            await asyncio.Event().wait()

    topics = [Topic(records(FIRINGS)) for _ in range(2)]
    hung = asyncio.create_task(Dispatcher("a", Hanging(), 1_000, QUICK).run(topics[0].read()))
    free = FakeSink()
    await dispatched(free, topics[1])
    assert free.taken == IDS
    hung.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hung


async def test_a_real_receiver_that_fails_at_first_gets_every_change_in_order() -> None:
    answers = [status(503), status(429, Retry_After="0"), status(500), status(200)]
    async with receiver(answers) as it:
        settings = FakeSettings("webhook", Hidden(it.url))
        dispatcher = Dispatcher("hook", build(settings), settings.retry_for_ms, QUICK)
        await dispatcher.run(Topic(records(FIRINGS)).read())
    ids = [msgspec.json.decode(body, type=Change).id for body in it.bodies]
    assert ids == [IDS[0]] * 4 + IDS[1:]
    assert dispatcher.results == {"sent": 3, "retried": 3}


def test_the_configuration_is_what_sinks_are_made_of() -> None:
    configured: SinkSettings = SinkConfig(type="log", name="ops")
    build(configured)
    assert configured.name == "ops"
