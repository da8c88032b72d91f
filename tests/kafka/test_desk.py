"""When a family's rules are evaluated, and when their changes are written, without a broker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar
from unittest import mock

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError, ProducerFenced

from stream import desk
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change, RuleSet
from stream.core.series import Evaluation, Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule, Settings, Window
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.state import StateLog, StateRefused
from stream.core.timestamps import format_ms, parse
from stream.core.values import Values
from stream.kafka.log import FlushFailed, LogUnread, RecordBeyondLimit
from stream.kafka.topics import Names
from stream.replay.files import Batch
from stream.replay.run import Replay
from tests.core.alerting import evaluate
from tests.fixtures.clock import in_no_time
from tests.kafka.test_outages import answers


class FailsOnce:
    """A log of alerts, shared by all who take it over, whose first write fails."""

    states: ClassVar[AlertStates]
    changes: ClassVar[list[Change]]
    tries: ClassVar[int]

    def __init__(self, *_: object) -> None: ...

    async def take_over(self) -> AlertStates:
        return FailsOnce.states

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        FailsOnce.tries += 1
        if FailsOnce.tries == 1:
            raise FlushFailed("the broker is gone")
        FailsOnce.states = states
        FailsOnce.changes += changes

    async def close(self) -> None: ...


def given_before(count: int) -> tuple[list[bytes], int]:
    """Answers, and a time (ms) at which all of them were given, however long making them took."""
    given = [value for _, _, value in answers(0, count)]
    return given, time.time_ns() // 10**6


async def test_a_change_whose_write_fails_is_written_at_the_next_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 0
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    rule = Rule("Low", "nps", "5m", below=50, min_samples=10)
    settings = Settings(rules=(rule,), evaluate_ms=200)
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    given, start = given_before(50)
    shard.ingest("cx.survey", given, start)
    for now in range(start, start + 1000, 100):
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.survey"]:
            watched.family.take(key, value)
        await watched.run_rules(now)
    assert FailsOnce.tries >= 2
    assert watched.rules_skipped == 1, "what was not written was not evaluated, for all we know"
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "firing")]


def fired(rule: Rule, at: int) -> AlertStates:
    """That an alert of a rule has fired."""
    low = Evaluation(at, (Sample("csat", "5m", (), 0.1, None, None, 10, 100),))
    return evaluate(RuleSet.of(Settings(rules=(rule,))), AlertStates(), low, at).states


def without_rules(monkeypatch: pytest.MonkeyPatch, states: AlertStates) -> desk.Desk:
    """A family without rules, whose log of alerts has these states; no write fails."""
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = states, [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    return desk.Desk("cx.survey", Settings(), 1, KafkaConfig(), Names("", "g"))


@pytest.mark.parametrize("ahead_ms", [0, MINUTE])
async def test_what_rules_have_left_is_ended_where_a_family_has_none_any_more(
    monkeypatch: pytest.MonkeyPatch, ahead_ms: int
) -> None:
    """Also where a clock was ahead: each change is later than the one before."""
    now = time.time_ns() // 10**6
    rule = Rule("Low", "csat", "5m", below=0.5)
    watched = without_rules(monkeypatch, fired(rule, now - SECOND + ahead_ms))
    read = mock.AsyncMock(side_effect=lambda *_: FailsOnce.states)
    monkeypatch.setattr(desk, "states_left", read)
    for tick in range(4):
        await watched.run_rules(now + tick)
        await asyncio.sleep(0)
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "resolved")]
    assert parse(FailsOnce.changes[0].changed_at) > now - SECOND + ahead_ms
    assert FailsOnce.states.alerts == ()
    assert read.await_count == 1, "then there is nothing to do"


async def test_a_family_without_rules_does_not_mind_states_that_are_damaged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = without_rules(monkeypatch, AlertStates())
    damaged = StateRefused("topic g-alerts is damaged")
    monkeypatch.setattr(desk, "states_left", mock.AsyncMock(side_effect=damaged))
    for now in range(3):
        await watched.run_rules(now)
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "what fired of cx.survey is not known and not ended: topic g-alerts is damaged"
    ]


@in_no_time
async def test_what_rules_have_left_is_asked_for_again_after_a_pause_while_no_broker_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = without_rules(monkeypatch, AlertStates())
    monkeypatch.setattr(desk, "_RETRY_SECONDS", 0.2)
    read = mock.AsyncMock(side_effect=[KafkaConnectionError(), AlertStates()])
    monkeypatch.setattr(desk, "states_left", read)
    for now in range(10):
        await watched.run_rules(now)
        await asyncio.sleep(0)
    assert (read.await_count, len(caplog.records)) == (1, 1)
    await asyncio.sleep(0.4)
    await watched.run_rules(10)
    assert (read.await_count, len(caplog.records)) == (2, 1)


@in_no_time
async def test_a_family_without_rules_keeps_no_other_waiting_nor_looks_on_when_it_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = without_rules(monkeypatch, AlertStates())
    begun, ended = asyncio.Event(), asyncio.Event()

    async def read(*_: object) -> AlertStates:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return AlertStates()

    monkeypatch.setattr(desk, "states_left", read)
    await asyncio.wait_for(watched.run_rules(0), 1)
    await begun.wait()
    await asyncio.wait_for(watched.run_rules(1), 1)
    await watched.let_go_of_alerts()
    await asyncio.wait_for(ended.wait(), 1)


async def test_evaluations_up_to_a_time_that_a_clock_was_ahead_by_are_told_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rule = Rule("Low", "csat", "5m", below=0.5)
    now = parse("2026-03-02T12:00:00Z")
    watched = without_rules(monkeypatch, fired(rule, now + HOUR))
    settings = Settings(rules=(rule,))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    for tick in range(60):
        await watched.run_rules(now + tick * SECOND)
    assert watched.rules_skipped == 12
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == (
        "alerts of cx.survey stay as they are until 2026-03-02T13:00:00Z: rules were evaluated up"
        " to then by a worker whose clock was ahead"
    )


async def test_a_clock_that_leaps_leaves_out_all_that_it_leaps_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = without_rules(monkeypatch, AlertStates())
    settings = Settings(rules=(Rule("Low", "csat", "5m", below=0.5),))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    now = parse("2026-03-02T12:00:00Z")
    for leap in (0, 4 * SECOND, 366 * DAY):
        await watched.run_rules(now + leap)
    # The one that is five seconds old may be made yet, as soon as all is there.
    assert watched.rules_skipped == 366 * DAY // (5 * SECOND) - 1


@pytest.mark.parametrize(
    ("set_back", "lasted", "then", "skipped"),
    [
        pytest.param(HOUR, HOUR, HOUR, 720, id="was ahead, and its time comes"),
        pytest.param(HOUR, MINUTE, HOUR + MINUTE, 12, id="is set right again"),
        pytest.param(HOUR, MINUTE, 2 * HOUR, 12 + 707, id="leaps over more"),
    ],
)
async def test_what_comes_due_by_a_clock_that_was_set_back_is_left_out_and_counted_once(
    monkeypatch: pytest.MonkeyPatch, set_back: int, lasted: int, then: int, skipped: int
) -> None:
    """``then``: how far the clock is in the end from where it was set back to."""
    without_rules(monkeypatch, AlertStates())
    settings = Settings(rules=(Rule("Low", "csat", "5m", below=0.5),))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    told = Sharing(Shard(settings, Values(settings)), 0, "life")

    async def run(now: int) -> None:
        for record in told.collect(now, now)["cx.survey"]:
            watched.family.take(*record, now)
        await watched.run_rules(now)

    start = parse("2026-03-02T12:00:01Z")
    for seconds in range(11):
        await run(start + seconds * SECOND)
    assert watched.rules_skipped == 0
    for clock in range(0, lasted + 1, SECOND):
        watched.pass_over(start + 10 * SECOND - set_back + clock)
    assert watched.rules_skipped == lasted // settings.evaluate_ms
    await run(start + 10 * SECOND - set_back + then)
    assert watched.rules_skipped == skipped
    at, again = watched.states.at, start + 20 * SECOND - set_back + then
    await run(again)
    assert (at or 0) < (watched.states.at or 0) <= again, "they are evaluated again"


async def test_a_clock_that_is_moved_to_and_fro_leaves_no_time_out_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_rules(monkeypatch, AlertStates())
    settings = Settings(rules=(Rule("Low", "csat", "5m", below=0.5),))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    for clock in (0, HOUR, 0, HOUR, MINUTE, HOUR + settings.evaluate_ms):
        watched.pass_over(clock)
    assert watched.rules_skipped == HOUR // settings.evaluate_ms + 1


async def test_a_family_without_rules_leaves_none_out(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = without_rules(monkeypatch, AlertStates())
    for clock in range(0, MINUTE, SECOND):
        watched.pass_over(clock)
    assert watched.rules_skipped == 0


async def test_a_change_too_large_to_be_written_stops_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def write(*_: object) -> None:
        raise RecordBeyondLimit("record b'cx.survey' has 17000000 bytes")

    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    monkeypatch.setattr(FailsOnce, "write", write)
    settings = Settings(rules=(Rule("Low", "nps", "5m", below=50, min_samples=10),))
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    given, now = given_before(50)
    start = (now // (5 * SECOND) + 1) * 5 * SECOND
    shard.ingest("cx.survey", given, start)
    shard.fold(start)
    for key, value in told.collect(start, start)["cx.survey"]:
        watched.family.take(key, value)
    with pytest.raises(RecordBeyondLimit):
        await watched.run_rules(start)


async def test_no_rule_is_evaluated_before_all_shards_have_told_all_up_to_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    rule = Rule("Low", "nps", "5m", below=50, min_samples=10)
    settings = Settings(rules=(rule,), evaluate_ms=1000)
    shards = [Shard(settings, Values(settings)) for _ in range(2)]
    told = [Sharing(shard, number, "life") for number, shard in enumerate(shards)]
    watched = desk.Desk("cx.survey", settings, 2, KafkaConfig(), Names("", "g"))
    given, now = given_before(50)
    start = now // 1000 * 1000
    shards[0].ingest("cx.survey", given, start)

    async def tell(now: int, *complete_to: int) -> None:
        for shard, telling, complete in zip(shards, told, complete_to, strict=False):
            shard.fold(now)
            for key, value in telling.collect(now, complete)["cx.survey"]:
                watched.family.take(key, value)
        await watched.run_rules(now)

    await tell(start, start)
    assert not FailsOnce.changes, "the second shard has told nothing"
    await tell(start + 1000, start + 1000, start - 1)
    assert not FailsOnce.changes, "the second shard is behind"
    await tell(start + 7500, start + 7500, start + 1500)
    assert watched.rules_skipped == 3, "what can't be evaluated within 5 s is left out"
    assert not FailsOnce.changes
    await tell(start + 8000, start + 8000, start + 8000)
    assert [(c.rule, c.to) for c in FailsOnce.changes] == [("Low", "firing")]


def test_gauges_stand_for_the_moment_also_where_nothing_has_changed() -> None:
    settings = Settings()
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    given, now = given_before(50)
    start = (now // (5 * SECOND) + 1) * 5 * SECOND

    def evaluated(now: int) -> Evaluation:
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.survey"]:
            watched.family.take(key, value)
        watched.evaluate(now)
        assert watched.evaluation is not None
        assert watched.evaluation.at == now
        return watched.evaluation

    shard.ingest("cx.survey", given, start)
    first = evaluated(start)
    again = evaluated(start + SECOND)
    assert again.samples is first.samples, "nothing has changed, no pane has turned"
    assert evaluated(start + 5 * SECOND).samples is not first.samples, "a pane has turned"
    shard.ingest("cx.survey", [v for _, _, v in answers(50, 60)], start + 6 * SECOND)
    more = evaluated(start + 6 * SECOND)
    assert {s.denominator for s in more.samples} != {s.denominator for s in first.samples}


def test_it_is_told_once_that_a_worker_of_another_configuration_keeps_a_family_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings, others = Settings(), Settings(windows=(Window("5m", 5 * MINUTE, 10 * SECOND),))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    now = time.time_ns() // 10**6
    for told_by, seconds in ((settings, 3), (others, 40), (settings, 3)):
        told = Sharing(Shard(told_by, Values(told_by)), 0, f"life of {seconds}")
        for _ in range(seconds):
            now += SECOND
            for key, value in told.collect(now, now)["cx.survey"]:
                watched.family.take(key, value, now)
            watched.evaluate(now)
    assert watched.evaluation is not None
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            (
                "the KPIs of cx.survey are not shown: a worker of another configuration or version"
                " tells shard 0; give all workers of the group the same (`cxkpi state show` lists"
                " them)"
            ),
        ),
        ("INFO", "no worker of another configuration tells a shard of cx.survey any more"),
    ]


def test_it_is_told_once_that_a_log_lacks_what_a_shard_has_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings()
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    given, now = given_before(9)
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    shard.ingest("cx.survey", given, now)
    shard.fold(now)
    # The topic was made anew after this.
    assert told.collect(now, now)["cx.survey"]
    for _ in range(3):
        now += SECOND
        for record in told.collect(now, now)["cx.survey"]:
            watched.family.take(*record, now)
        watched.evaluate(now)
    assert watched.evaluation is None
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            (
                "the KPIs of cx.survey are not shown: not all that shard 0 has told is there; start"
                " its worker again"
            ),
        )
    ]


def test_it_is_told_once_that_a_shard_whose_time_is_ahead_keeps_a_family_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings()
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    told = Sharing(Shard(settings, Values(settings)), 0, "life")
    noon = parse("2026-03-02T12:00:00Z")
    shown = []
    # It is an hour ahead, whoever tells it, until that hour is over.
    over = HOUR // SECOND + 6
    for second in (0, 1, 2, HOUR // SECOND - 5, HOUR // SECOND, over - 1, over, over + 1):
        now = noon + second * SECOND
        at = max(now, noon + HOUR)
        for record in told.collect(at, now)["cx.survey"]:
            watched.family.take(*record, now)
        watched.evaluate(now)
        shown.append(watched.evaluation is not None)
    assert shown == [False] * 6 + [True] * 2
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == (
        "the KPIs of cx.survey are not shown: shard 0 is 60 min ahead of this worker's clock; set"
        " the clocks: then that is over by 2026-03-02T13:00:06Z, or with `cxkpi state rebuild`"
    )


@pytest.mark.parametrize(
    ("lead", "late", "skipped"),
    [
        pytest.param(0, 5 * SECOND, 0, id="late"),
        pytest.param(5 * SECOND, SECOND, 0, id="ahead, and a little late"),
        pytest.param(5 * SECOND, 2 * SECOND, 1, id="ahead and late"),
    ],
)
async def test_no_rule_is_evaluated_at_a_time_whose_health_a_shard_has_let_go_of(
    monkeypatch: pytest.MonkeyPatch, lead: int, late: int, skipped: int
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    settings = Settings(rules=(Rule("Low", "health", "5m", below=50),), evaluate_ms=10 * SECOND)
    watched = desk.Desk("cx.signal", settings, 1, KafkaConfig(), Names("", "g"))
    told = Sharing(Shard(settings, Values(settings)), 0, "life")
    due = parse("2026-03-02T12:00:00Z")

    async def run(now: int, complete_to: int) -> None:
        for record in told.collect(now + lead, complete_to)["cx.signal"]:
            watched.family.take(*record, now)
        await watched.run_rules(now)

    await run(due, due - 1)
    await run(due + late, due + late)
    assert (watched.states.at is None) == bool(skipped)
    await run(due + 6 * SECOND, due + 6 * SECOND)
    assert watched.rules_skipped == skipped


def ratings(start: int) -> list[tuple[int, bytes]]:
    """(time, event) of answers each second, with half a minute of silence; web becomes bad."""
    found = []
    for second in range(240):
        if 150 <= second < 180:
            continue
        at = start + second * 1000
        is_bad = second % 10 == 0 or (second >= 90 and second % 3 == 0)
        found.append(
            (
                at,
                orjson.dumps(
                    {
                        "event_id": f"e{second}",
                        "type": "survey.responded",
                        "occurred_at": format_ms(at),
                        "response_id": f"r{second}",
                        "survey": "csat",
                        "score": 1 if is_bad else 5,
                        "labels": {"channel": "app" if second % 3 else "web", "region": "eu"},
                    }
                ),
            )
        )
    return found


async def test_live_and_in_replay_the_same_changes_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    windows = (Window("1m", MINUTE, 5 * SECOND), Window("10m", 10 * MINUTE, MINUTE))
    fall = Rule("Fall", "csat", "1m", ("channel",), baseline="10m", factor=0.9, min_samples=5)
    rules = (
        Rule("Low", "csat", "1m", below=0.8, min_samples=10, summary="{value}, usually {baseline}"),
        fall,
        replace(fall, name="FallCovered", min_covered=0.22),
        replace(fall, name="FallNever", min_covered=0.5),
        Rule.missing_input("Silent", "cx.survey", 20 * SECOND),
    )
    settings = Settings(windows=windows, rules=rules, dashboard_url="https://grafana.example")
    start = 1_777_855_200_000
    events = ratings(start)

    replay = Replay(settings, alerts=True)
    values = [value for _, value in events]
    replay.feed(Batch([""] * len(values), range(1, len(values) + 1), values))
    changes = replay.finish_alerts()

    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    for now in range(start, events[-1][0] + 1, 1000):
        shard.ingest("cx.survey", [value for at, value in events if at == now], now)
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.survey"]:
            watched.family.take(key, value)
        await watched.run_rules(now)

    assert FailsOnce.changes == changes
    assert {(c.rule, c.to) for c in FailsOnce.changes} >= {
        ("Low", "firing"),
        ("Fall", "firing"),
        ("FallCovered", "firing"),
        ("Silent", "firing"),
        ("Silent", "resolved"),
    }
    covered = next(c for c in FailsOnce.changes if c.rule == "FallCovered")
    fallen = next(c for c in FailsOnce.changes if c.rule == "Fall")
    assert parse(fallen.changed_at) < start + 132 * SECOND <= parse(covered.changed_at)
    assert not any(c.rule == "FallNever" for c in FailsOnce.changes)
    low = next(c for c in FailsOnce.changes if c.rule == "Low")
    assert low.baseline_window == "10m"
    assert low.trend is not None
    assert low.rest is not None
    assert low.contributors[0].labels == {"channel": "web"}
    assert low.value is not None
    assert low.reference is not None
    assert low.rest.contribution + sum(c.contribution for c in low.contributors) == pytest.approx(
        low.value - low.reference, abs=1e-9
    )


def cancellation(at: int) -> bytes:
    return orjson.dumps(
        {
            "event_id": f"c{at}",
            "type": "subscription.cancelled",
            "occurred_at": format_ms(at),
            "subscription_id": f"s{at}",
            "started_at": format_ms(at - DAY),
        }
    )


@pytest.mark.parametrize(("part", "fires"), [(0.0, True), (0.9, False)])
async def test_a_spike_waits_for_a_baseline_that_was_added_to_a_state(
    part: float, fires: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    topic, minute, baseline = "cx.subscription", Window("1m", MINUTE, SECOND), "10m"
    before = Settings(dimensions=(), rollups=((),), windows=(minute,))
    spike = Rule("Spike", "churn", "1m", baseline=baseline, factor=2.0, min_covered=part)
    windows = (minute, Window(baseline, 10 * MINUTE, MINUTE))
    after = replace(before, windows=windows, rules=(spike,), evaluate_ms=SECOND)
    start = 1_777_855_200_000
    added = start + 20 * MINUTE

    shard = Shard(before, Values(before))
    base = {"event_id": "b", "type": "subscription.base", "occurred_at": format_ms(start)}
    shard.ingest(topic, [orjson.dumps({**base, "active": 10_000})], start)
    for now in range(start, added, SECOND):
        shard.ingest(topic, [cancellation(now)], now)
    state = {key: value for key, value in StateLog(shard).flush(added) if value is not None}

    shard = Shard(after, Values(after))
    StateLog(shard).recover(state)
    told = Sharing(shard, 0, "life")
    watched = desk.Desk(topic, after, 1, KafkaConfig(), Names("", "g"))
    for now in range(added, added + 30 * SECOND, SECOND):
        shard.ingest(topic, [cancellation(now)], now)
        shard.fold(now)
        for key, value in told.collect(now, now)[topic]:
            watched.family.take(key, value)
        await watched.run_rules(now)
    assert [change.to for change in FailsOnce.changes] == ["firing"] * fires


async def test_silence_is_not_told_while_a_shard_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FailsOnce.states, FailsOnce.changes, FailsOnce.tries = AlertStates(), [], 1
    monkeypatch.setattr(desk, "AlertLog", FailsOnce)
    rule = Rule.missing_input("Silent", "cx.survey", 10 * SECOND)
    settings = Settings(rules=(rule,), evaluate_ms=1000)
    shard = Shard(settings, Values(settings))
    told = Sharing(shard, 0, "life")
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    start = 1_777_855_200_000
    shard.ingest("cx.survey", [value for at, value in ratings(start) if at == start], start)
    for second in range(40):
        now = start + second * 1000
        shard.fold(now)
        # It stands by its reading of the start until it has caught up after half a minute.
        for key, value in told.collect(now, now if second >= 30 else start)["cx.survey"]:
            watched.family.take(key, value)
        await watched.run_rules(now)
        assert bool(FailsOnce.changes) == (second >= 30)
    assert [c.to for c in FailsOnce.changes] == ["firing"]


def test_an_evaluation_is_as_old_as_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    shard = Shard(settings, Values(settings))
    watched = desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))
    now = time.time_ns() // 10**6
    for key, value in Sharing(shard, 0, "life").collect(now, now)["cx.survey"]:
        watched.family.take(key, value)
    # A process that is stopped in the middle goes on 20 s later.
    moments = iter([100.0, 120.0])
    monkeypatch.setattr(desk, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    watched.evaluate(now)
    assert watched.evaluated_at == 100.0


class CanNotBeTakenOver(FailsOnce):
    """A log of alerts whose take-over fails."""

    errors: ClassVar[list[BaseException]]
    closed: ClassVar[int]

    async def take_over(self) -> AlertStates:
        if CanNotBeTakenOver.errors:
            raise CanNotBeTakenOver.errors.pop(0)
        return AlertStates()

    async def close(self) -> None:
        CanNotBeTakenOver.closed += 1


@pytest.fixture
def taking_over(monkeypatch: pytest.MonkeyPatch) -> desk.Desk:
    """A desk whose alerts can't be taken over while there are ``errors``."""
    CanNotBeTakenOver.closed = 0
    monkeypatch.setattr(desk, "AlertLog", CanNotBeTakenOver)
    monkeypatch.setattr(desk, "_RETRY_SECONDS", 0.0)
    settings = Settings(rules=(Rule("Low", "nps", "5m", below=50),))
    return desk.Desk("cx.survey", settings, 1, KafkaConfig(), Names("", "g"))


@pytest.mark.parametrize(
    "error", [KafkaConnectionError("gone"), ProducerFenced(), LogUnread("gone"), TimeoutError()]
)
async def test_alerts_are_taken_over_later_while_that_fails_by_what_passes(
    taking_over: desk.Desk, error: Exception
) -> None:
    CanNotBeTakenOver.errors = [error, error]
    for now, closed, skipped in ((1, 1, 0), (31, 2, 6), (61, 2, 12), (62, 2, 12)):
        await taking_over.run_rules(now * SECOND)
        assert CanNotBeTakenOver.closed == closed
        assert taking_over.rules_skipped == skipped, "nobody has evaluated them"


@pytest.mark.parametrize("error", [KeyError("key"), TypeError("int"), StateRefused("damaged")])
async def test_a_mistake_in_taking_alerts_over_is_not_hidden_by_trying_again(
    taking_over: desk.Desk, error: Exception
) -> None:
    CanNotBeTakenOver.errors = [error]
    with pytest.raises(type(error)):
        await taking_over.run_rules(1_000)
    assert CanNotBeTakenOver.closed == 1


async def test_a_take_over_of_alerts_that_is_cut_short_leaves_no_producer_behind(
    taking_over: desk.Desk,
) -> None:
    CanNotBeTakenOver.errors = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await taking_over.run_rules(1_000)
    assert CanNotBeTakenOver.closed == 1


def cart(at: int) -> bytes:
    said = {"event_id": "e", "type": "cart.opened", "occurred_at": format_ms(at)}
    return orjson.dumps({**said, "cart_id": "c", "amount": 1, "currency": "EUR"})


@pytest.mark.parametrize(
    ("complete_to", "stands_for", "abandoned"),
    [
        pytest.param(-400, -400, 0, id="the cart's time is over, but what came was not read"),
        pytest.param(-200, -200, 1, id="it was read that nothing came"),
        pytest.param(-600, 0, 0, id="too long ago"),
    ],
)
def test_gauges_stand_for_the_time_up_to_which_carts_are_settled(
    complete_to: int, stands_for: int, abandoned: int
) -> None:
    settings = Settings()
    now = time.time_ns() // 10**6
    shard = Shard(settings, Values(settings))
    # It is abandoned 300 ms ago.
    assert shard.ingest("cx.cart", [cart(now - settings.cart_timeout_ms - 300)], now) == []
    shard.advance(now + complete_to)
    shard.fold(now)
    watched = desk.Desk("cx.cart", settings, 1, KafkaConfig(), Names("", "g"))
    for key, value in Sharing(shard, 0, "life").collect(now, now + complete_to)["cx.cart"]:
        watched.family.take(key, value)
    watched.evaluate(now)
    assert watched.evaluation is not None
    assert watched.evaluation.at == now + stands_for
    found = {s.numerator for s in watched.evaluation.samples if s.kpi == "cart_abandonment"}
    assert found == {abandoned}
    # The time that they stand for never goes back.
    watched.evaluate(now + 2 * SECOND + complete_to)
    assert watched.evaluation.at >= now + stands_for
