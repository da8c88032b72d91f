"""What a worker shows of itself and of its families, and why it is not ready, without a broker."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest
from aiokafka import TopicPartition

from stream import monitor
from stream.config import KafkaConfig
from stream.core.alerts import AlertState, AlertStates
from stream.core.alerts.machine import Watched
from stream.core.catalogue import FAMILIES
from stream.core.settings import HOUR, MINUTE, Rule, Settings
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.timestamps import format_ms
from stream.core.values import Values
from stream.kafka.membership import Membership
from stream.kafka.owner import ShardOwner
from stream.kafka.shards import ShardCounts
from stream.kafka.shares import ShareReader
from stream.kafka.topics import Names
from stream.metrics.view import AlertGauge, Timing
from stream.monitor import STALE_SECONDS, Monitor, from_zero
from tests.kafka.test_monitor import NOON, Clock, Following
from tests.safety.shards import event

NO_BEAT = r"the group has accepted no heartbeat for \d+ s"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The wall clock stands still: KPIs are shown for another time where a test takes long."""
    return Clock(monkeypatch)


def stand_still(monkeypatch: pytest.MonkeyPatch) -> float:
    """Stop the clock that a worker measures ages with; what it says from now on."""
    now = time.monotonic()
    monkeypatch.setattr(monitor, "time", SimpleNamespace(monotonic=lambda: now))
    return now


class Worker:
    """A worker with two shards of its own, and with the families that the test gives it."""

    def __init__(self, *families: int, rules: tuple[Rule, ...] = (), total: int = 2) -> None:
        self.now = NOON
        settings = Settings(rules=rules)
        self.shards = [Shard(settings, Values(settings)) for _ in range(total)]
        self._telling = [Sharing(shard, n, "life") for n, shard in enumerate(self.shards)]
        owned: dict[int, Any] = {
            n: SimpleNamespace(shard=shard, partitions=dict) for n, shard in enumerate(self.shards)
        }
        self.owner: Any = SimpleNamespace(
            counts=ShardCounts(),
            is_assigned=True,
            assigned_at=0.0,
            families=frozenset(families),
            total=total,
            expected=total,
            shards=owned,
            settled=True,
            outage="",
            reason="the group is rebalancing",
            thread=SimpleNamespace(heartbeat_at=time.monotonic(), membership=Membership(), ends={}),
        )
        owner = cast("ShardOwner", self.owner)
        self.monitor = Monitor(settings, KafkaConfig(), Names("", "g"), owner)
        self.reader: Any = Following()
        self.monitor._reader = cast("ShareReader", self.reader)

    async def tell(self, *numbers: int) -> None:
        """Have shards tell their parts, and the families be evaluated."""
        await self.monitor._follow()
        self.reader.is_at_end = True
        for number in numbers:
            self.shards[number].fold(self.now)
            for family, records in self._telling[number].collect(self.now, self.now).items():
                if FAMILIES.index(family) in self.owner.families:
                    self.monitor._take(FAMILIES.index(family), records, self.now)
        self.monitor._evaluated_at = 0.0
        self.monitor._evaluate_gauges()

    def visits(self, number: int, count: int, at: int) -> None:
        """Have a shard count visits that ended at a time, and a record that is none."""
        ended = [
            event("visit.ended", format_ms(at), visit_id=f"{number}/{n}") for n in range(count)
        ]
        self.shards[number].ingest("cx.visit", [*ended, b"no event"], self.now)


async def test_what_a_worker_has_done_is_shown_as_it_was_counted() -> None:
    worker = Worker(0)
    worker.owner.counts = ShardCounts(
        flush=Timing(3, 1.5, 0.5),
        flush_failures=4,
        recovery=Timing(2, 3.0, 1.0),
        dead_letters=Counter({"cx.cart": 5}),
        refused_bases=6,
        gaps=Counter({"cx.visit": 7}),
    )
    worker.owner.expected = 5
    worker.visits(0, 3, worker.now)
    await worker.tell(0, 1)
    worker.monitor._take(0, [(b"beat/0", b"no share"), (b"pane/0/x", b"no share")], worker.now)
    view = worker.monitor.view()
    assert (view.flush, view.flush_failures) == (Timing(3, 1.5, 0.5), 4)
    assert view.recovery == Timing(2, 3.0, 1.0)
    assert view.dead_letters == from_zero({"cx.cart": 5})
    assert view.gaps == from_zero({"cx.visit": 7})
    assert view.refused_bases == 6
    assert (view.shards, view.shards_recovering) == (2, 3)
    assert view.evaluated.count == 1
    assert view.damaged_shares == {FAMILIES[0]: 2}
    assert view.remembered == dict(worker.shards[0].remembered())
    assert sum(view.remembered.values()) > 0
    worker.owner.expected = 1
    assert worker.monitor.view().shards_recovering == 0


def test_lag_is_what_was_not_received_of_each_partition_whose_end_is_known() -> None:
    worker = Worker()
    places = {TopicPartition(f"p-{topic}", 1): topic for topic in FAMILIES[:3]}
    first, second, _ = places
    worker.owner.shards = {
        1: SimpleNamespace(
            shard=worker.shards[1],
            partitions=lambda: places,
            positions={FAMILIES[0]: 100, FAMILIES[1]: 100},
        )
    }
    # The broker was asked for the second end before what lies behind it was received.
    worker.owner.thread.ends = {first: 120, second: 90}
    assert worker.monitor.view().lag == {(FAMILIES[0], 1): 20, (FAMILIES[1], 1): 0}
    worker.owner.thread = None
    assert worker.monitor.view().lag == {}


async def test_counts_of_a_family_are_those_of_all_shards_together_while_they_are_a_total() -> None:
    visits = FAMILIES.index("cx.visit")
    worker = Worker(0, visits)
    worker.visits(0, 3, worker.now - HOUR)
    worker.visits(1, 4, worker.now - MINUTE)
    await worker.tell(0)
    partial = worker.monitor.view()
    assert partial.evaluation is None
    assert not any((partial.outcomes, partial.last_event_ms, partial.evaluated_ms, partial.covered))
    await worker.tell(1)
    view = worker.monitor.view()
    assert view.evaluation is not None
    assert view.outcomes == {("cx.visit", "accepted"): 7, ("cx.visit", "invalid"): 2}
    assert view.last_event_ms == {"cx.visit": worker.now - MINUTE}
    assert set(view.evaluated_ms.values()) == {worker.now}
    assert view.ready
    for lose in ("thread", "is_assigned"):
        setattr(worker.owner, lose, None)
        blind = worker.monitor.view()
        assert blind.evaluation is None
        assert not any((blind.outcomes, blind.last_event_ms, blind.covered))
        assert not blind.ready


@pytest.mark.parametrize(("families", "shown"), [((0,), True), ((0, 1), True), ((1, 2), False)])
async def test_how_much_of_a_window_is_covered_is_shown_by_the_owner_of_the_first_family_alone(
    families: tuple[int, ...], shown: bool
) -> None:
    worker = Worker(*families)
    worker.visits(0, 1, worker.now - 6 * HOUR)
    await worker.tell(0, 1)
    covered = worker.monitor.view().covered
    assert bool(covered) is shown
    if shown:
        assert covered["1h"] == 1.0
        assert 0.2 < covered["24h"] < 0.3


async def test_an_alert_is_shown_with_the_severity_that_it_was_raised_with() -> None:
    low = Rule("Low", "nps", "5m", below=50, severity="critical")
    before = Rule("Low", "nps", "5m", below=50, severity="info")
    worker = Worker(0, rules=(low,))
    await worker.tell(0, 1)
    told = (
        AlertState("Low", (), "firing", watched=Watched.of(low)),
        AlertState("Low", (("channel", "a"),), "pending", watched=Watched.of(before)),
        AlertState("Low", (("channel", "b"),), "inactive"),
        AlertState("Gone", (), "firing"),
    )
    worker.monitor._desks[0].states = AlertStates(worker.now, told)
    assert worker.monitor.view().alerts == (
        AlertGauge("Low", "critical", (), firing=True),
        AlertGauge("Low", "info", (("channel", "a"),), firing=False),
        AlertGauge("Low", "critical", (("channel", "b"),), firing=False),
        AlertGauge("Gone", "", (), firing=True),
    )


async def test_what_was_evaluated_too_long_ago_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker(0)
    await worker.tell(0, 1)
    now = stand_still(monkeypatch)
    for age, shown in ((STALE_SECONDS - 1, True), (STALE_SECONDS + 1, False)):
        worker.monitor._desks[0].evaluated_at = now - age
        worker.monitor._followed_at = 0.0
        assert (worker.monitor.view().evaluation is not None) is shown


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({}, "ready: 2 of 2 shards", id="it lacks nothing"),
        pytest.param(
            {"shards": {}, "expected": 0},
            "ready, standing by: the group gives this worker no shards",
            id="the group has enough workers",
        ),
        pytest.param({"is_assigned": False}, "the group is rebalancing", id="not assigned"),
        pytest.param(
            {"is_assigned": False, "outage": "no broker"}, "no broker", id="no broker yet"
        ),
        pytest.param({"settled": False}, "the group is rebalancing", id="shards are recovered"),
        pytest.param({"settled": False, "outage": "no broker"}, "no broker", id="and no broker"),
        pytest.param({"thread": None}, NO_BEAT, id="nobody has read yet"),
        pytest.param({"thread": None, "outage": "no broker"}, "no broker", id="the broker is gone"),
    ],
)
async def test_why_a_worker_is_not_ready_is_what_an_operator_can_do_something_about(
    change: dict[str, Any], reason: str
) -> None:
    worker = Worker(0)
    await worker.tell(0, 1)
    vars(worker.owner).update(change)
    standing = worker.monitor.standing()
    assert standing.ready is reason.startswith("ready")
    assert worker.monitor.view().ready is standing.ready
    assert standing.outage == change.get("outage", "")
    assert re.fullmatch(reason, standing.words)


@pytest.mark.parametrize(
    ("share", "lost"), [pytest.param(0.4, False, id="a beat"), pytest.param(0.6, True, id="none")]
)
async def test_after_half_a_session_without_a_heartbeat_nothing_is_taken_for_a_total(
    share: float, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(0)
    await worker.tell(0, 1)
    session = KafkaConfig().session_timeout_ms / 1000
    worker.owner.thread.heartbeat_at = stand_still(monkeypatch) - share * session
    assert (worker.monitor.unready() is not None) is lost
    assert (worker.monitor.view().evaluation is None) is lost


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        pytest.param(3.0, ": its coordinator says NOT_COORDINATOR", id="since the last heartbeat"),
        pytest.param(9.0, "", id="before it"),
    ],
)
async def test_why_no_heartbeat_is_accepted_is_told_where_the_coordinator_says_so(
    ago: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(0)
    thread, now = worker.owner.thread, stand_still(monkeypatch)
    thread.heartbeat_at = now - 8.0
    thread.membership._helpless = "NOT_COORDINATOR"
    thread.membership.helpless_at = now - ago
    assert worker.monitor.unready() == f"the group has accepted no heartbeat for 8 s{said}"


@pytest.mark.parametrize(
    ("shards", "reason"),
    [
        pytest.param(2, "shard 1 has not told its part yet", id="all are ours"),
        pytest.param(1, None, id="it is another worker's"),
    ],
)
async def test_a_worker_is_ready_where_only_others_have_not_told_their_parts(
    shards: int, reason: str | None
) -> None:
    worker = Worker(0)
    worker.owner.shards = {n: worker.owner.shards[n] for n in range(shards)}
    await worker.tell(0)
    assert worker.monitor.unready() == reason
    assert worker.monitor.view().evaluation is None


# Families that come and go -----------------------------------------------------------------------


async def test_of_a_family_that_went_and_came_back_all_is_read_again() -> None:
    """Where its log was read to is no place to begin for a desk that knows nothing yet."""
    worker = Worker(0, 1)
    for families in ({0, 1}, {1}, set[int](), {0}):
        worker.owner.families = frozenset(families)
        worker.owner.assigned_at = time.monotonic()
        await worker.monitor._follow()
        assert worker.reader.families == families
        assert worker.monitor._desks.keys() == families


async def test_after_a_rebalance_what_is_ours_is_shown_as_soon_as_it_is_read() -> None:
    worker = Worker(0)
    await worker.tell(0, 1)
    worker.monitor._evaluate_gauges()
    worker.owner.assigned_at = time.monotonic()
    await worker.monitor._follow()
    assert worker.monitor.view().evaluation is None
    worker.reader.is_at_end = True
    worker.monitor._evaluate_gauges()
    assert worker.monitor.view().evaluation is not None


async def test_rules_of_a_family_that_the_group_has_called_back_are_not_evaluated_any_more() -> (
    None
):
    worker = Worker(0, 1)
    await worker.tell(0, 1)
    done: list[str] = []

    async def run_rules(_: int) -> None:
        done.append("evaluated")

    async def let_go_of_alerts() -> None:
        done.append("let go")

    desk: Any = SimpleNamespace(
        run_rules=run_rules,
        let_go_of_alerts=let_go_of_alerts,
        family=worker.monitor._desks[0].family,
    )
    for families in (frozenset({0}), frozenset[int]()):
        worker.owner.families = families
        await worker.monitor._take_turn(0, desk)
    assert done == ["evaluated", "let go"]


async def test_a_mistake_in_a_family_s_rules_ends_the_worker_and_the_turns_of_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor, "_TICK_SECONDS", 0.0)
    worker = Worker(0, 1)
    await worker.tell(0, 1)
    others_have_ended = asyncio.Event()

    async def fail(_: int) -> None:
        raise KeyError("a mistake")

    async def go_on(_: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            others_have_ended.set()

    for number, turn in enumerate((fail, go_on)):
        monkeypatch.setattr(worker.monitor._desks[number], "run_rules", turn)
    with pytest.raises(KeyError, match="a mistake"):
        await asyncio.wait_for(worker.monitor.run_rules(), 60)
    assert others_have_ended.is_set()


async def test_at_its_end_a_worker_lets_go_of_its_families_and_of_their_parts() -> None:
    worker = Worker(0, 1)
    await worker.tell(0, 1)
    worker.reader.close = mock.AsyncMock()
    await worker.monitor.close()
    assert worker.monitor._desks == {}
    worker.reader.close.assert_awaited_once()


async def test_records_of_shards_that_can_not_be_read_are_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(0)
    await worker.tell(0, 1)
    for keys in ([b"pane/0/x"], [b"pane/0/x"], [b"pane/0/x", b"pane/1/y"]):
        worker.monitor._take(0, [(key, b"no share") for key in keys], worker.now)
    said = "partition 0 of g-share has records that can't be read, with the keys "
    assert caplog.messages == [f"{said}b'pane/0/x'", f"{said}b'pane/1/y'"]
