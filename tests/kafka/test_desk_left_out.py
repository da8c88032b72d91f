"""Which evaluations of its rules a family counts as left out while it can't have its alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from unittest import mock

import pytest
from aiokafka.errors import KafkaConnectionError, TransactionalIdAuthorizationFailed

from stream import desk
from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.values import Values
from stream.desk import Desk
from stream.kafka.alert_log import AlertLog
from stream.kafka.log import FlushFailed
from stream.kafka.topics import Names
from tests.fixtures.clock import in_no_time
from tests.kafka.test_desk import fired

#: An evaluation is due at this time, and at every fifth second after it.
NOON = 1_790_000_000_000
LOW = Rule("Low", "csat", "5m", below=0.5)
SETTINGS = Settings(rules=(LOW,))
#: Evaluations that are no older than that may be made yet.
PATIENCE = desk.PATIENCE_MS // SETTINGS.evaluate_ms

TakingOver = Callable[[], Awaitable[object]]


class Alerts:
    """The alerts' states of a family, which come as the test says, and who holds them."""

    def __init__(self) -> None:
        self.states = AlertStates()
        self.holders = 0
        #: What a take-over waits for, or fails by.
        self.taking_over: TakingOver = at_once
        #: What writing fails by, one after the other.
        self.errors: list[Exception] = []

    def __call__(self, *_: object) -> Alerts:
        return self

    async def take_over(self) -> AlertStates:
        self.holders += 1
        await self.taking_over()
        return self.states

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.states = states

    async def close(self) -> None:
        self.holders -= 1


async def at_once() -> None: ...


async def refused() -> None:
    raise TransactionalIdAuthorizationFailed("g-alerts-cx.survey")


async def unanswered() -> None:
    await asyncio.sleep(60)
    raise KafkaConnectionError("gone")


async def hanging() -> None:
    await asyncio.get_running_loop().create_future()


async def three_seconds() -> None:
    await asyncio.sleep(3)


async def forty_seconds() -> None:
    await asyncio.sleep(40)


class Family:
    """A family whose one shard tells all there is, and whose owner has turns."""

    def __init__(self) -> None:
        self._told = Sharing(Shard(SETTINGS, Values(SETTINGS)), 0, "life")
        self.evaluated: list[int] = []

    def new_desk(self) -> Desk:
        made = Desk("cx.survey", SETTINGS, 1, KafkaConfig(), Names("", "g"))
        run = made._run_rules_at

        async def noted(at: int, alert_log: AlertLog) -> bool:
            is_made = await run(at, alert_log)
            if is_made:
                self.evaluated.append(at)
            return is_made

        made._run_rules_at = noted  # type: ignore[method-assign]
        return made

    async def turns(self, owner: Desk, seconds: float) -> None:
        """Have the owner's turns follow each other for so long, by a clock that is at noon at 0."""
        time = asyncio.get_running_loop().time
        end = time() + seconds
        while time() < end:
            now = NOON + round(time() * SECOND)
            for record in self._told.collect(now, now)["cx.survey"]:
                owner.family.take(*record, now)
            await owner.run_rules(now)
            await asyncio.sleep(0.1)


@pytest.fixture
def alerts(monkeypatch: pytest.MonkeyPatch) -> Alerts:
    made = Alerts()
    monkeypatch.setattr(desk, "AlertLog", made)
    return made


@pytest.mark.parametrize("taking_over", [refused, unanswered, hanging])
@in_no_time
async def test_what_comes_due_while_alerts_can_not_be_taken_over_is_counted_as_it_does(
    alerts: Alerts, taking_over: TakingOver
) -> None:
    alerts.taking_over = taking_over
    family = Family()
    owner = family.new_desk()
    for minutes in range(1, 61):
        await family.turns(owner, 60 * minutes - asyncio.get_running_loop().time())
        due = minutes * MINUTE // SETTINGS.evaluate_ms
        assert due - PATIENCE - 1 <= owner.rules_skipped <= due + 1
    alerts.taking_over = at_once
    await owner.let_go_of_alerts()
    await family.turns(owner, 60)
    assert len(family.evaluated) >= MINUTE // SETTINGS.evaluate_ms - 1
    came = len(range(NOON, family.evaluated[-1] + 1, SETTINGS.evaluate_ms))
    assert owner.rules_skipped + len(family.evaluated) == came >= HOUR // SETTINGS.evaluate_ms


@pytest.mark.parametrize("taking_over", [refused, unanswered, hanging])
@in_no_time
async def test_what_comes_due_once_alerts_are_lost_is_counted_before_they_are_taken_over_again(
    alerts: Alerts, taking_over: TakingOver
) -> None:
    # One whose rule is gone, which is ended at the first evaluation.
    alerts.states = fired(Rule("Gone", "csat", "5m", below=0.5), NOON - MINUTE)
    alerts.errors = [FlushFailed("gone")]
    family = Family()
    owner = family.new_desk()
    await family.turns(owner, 0.1)
    assert (family.evaluated, owner.rules_skipped, alerts.holders) == ([], 0, 0)
    alerts.taking_over = taking_over
    await family.turns(owner, 60)
    due = MINUTE // SETTINGS.evaluate_ms
    assert due - PATIENCE <= owner.rules_skipped <= due + 1


@in_no_time
async def test_a_take_over_that_lasts_is_waited_for_and_holds_up_no_turn(alerts: Alerts) -> None:
    alerts.taking_over = forty_seconds
    family = Family()
    owner = family.new_desk()
    await family.turns(owner, 30)
    assert asyncio.get_running_loop().time() <= 32
    await family.turns(owner, 30)
    # Those of the latest five seconds can be made.
    assert family.evaluated[0] == NOON + 35 * SECOND
    assert owner.rules_skipped == 7
    assert alerts.holders == 1


@in_no_time
async def test_a_planned_hand_over_leaves_nothing_out(alerts: Alerts) -> None:
    family = Family()
    former, owner = family.new_desk(), family.new_desk()
    await family.turns(former, 31)
    await former.let_go_of_alerts()
    assert alerts.holders == 0
    alerts.taking_over = three_seconds
    # The group needs a moment, in which nothing comes due.
    await asyncio.sleep(3)
    await family.turns(owner, 30)
    assert family.evaluated == [NOON + seconds * SECOND for seconds in range(0, 65, 5)]
    assert former.rules_skipped == owner.rules_skipped == 0


@in_no_time
async def test_what_comes_due_before_a_worker_s_first_turn_is_left_to_the_worker_before_it(
    alerts: Alerts,
) -> None:
    family = Family()
    owner = family.new_desk()
    await asyncio.sleep(HOUR / SECOND)
    await family.turns(owner, 1)
    assert (len(family.evaluated), owner.rules_skipped) == (1, 0)


@in_no_time
async def test_a_worker_that_is_to_own_a_family_no_more_ends_its_take_over_and_counts_nothing(
    alerts: Alerts,
) -> None:
    alerts.taking_over = hanging
    family = Family()
    former, owner = family.new_desk(), family.new_desk()
    await family.turns(former, 3)
    assert alerts.holders == 1
    await former.let_go_of_alerts()
    assert alerts.holders == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    alerts.taking_over = at_once
    await family.turns(owner, 60)
    assert former.rules_skipped == owner.rules_skipped == 0
    assert alerts.holders == 1


@in_no_time
async def test_a_mistake_in_a_take_over_is_not_hidden_by_the_turn_that_began_it_being_over(
    alerts: Alerts,
) -> None:
    async def mistaken() -> None:
        await asyncio.sleep(7)
        raise KeyError("a mistake")

    alerts.taking_over = mistaken
    family = Family()
    with pytest.raises(KeyError, match="a mistake"):
        await family.turns(family.new_desk(), 60)
    assert asyncio.get_running_loop().time() == pytest.approx(7)
    assert alerts.holders == 0


@in_no_time
async def test_what_rules_have_left_is_looked_for_once_however_long_its_take_over_lasts(
    alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look fences whoever has the alerts, also a take-over of our own."""
    alerts.states, alerts.taking_over = fired(LOW, NOON - MINUTE), three_seconds
    looked = mock.AsyncMock(return_value=alerts.states)
    monkeypatch.setattr(desk, "states_left", looked)
    owner = Desk("cx.survey", Settings(), 1, KafkaConfig(), Names("", "g"))
    await Family().turns(owner, 10)
    assert (looked.await_count, alerts.states.alerts, alerts.holders) == (1, (), 0)
    assert owner.rules_skipped == 0
