"""One KPI family in the worker that owns it: its parts, its evaluation, its alert rules."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

from stream.config import KafkaConfig
from stream.core.alerts import (
    AlertStates,
    Closer,
    Details,
    Look,
    RuleSet,
    evaluate,
    of_family,
    rfc3339,
    wanted,
    with_input,
)
from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.merge import LEAD_MS, Family
from stream.core.series import Evaluation
from stream.core.settings import SECOND, Settings
from stream.core.sharing import BEHIND_MS
from stream.core.state import StateRefused
from stream.kafka.alert_log import AlertLog, states_left
from stream.kafka.log import FlushFailed
from stream.kafka.repeats import EACH_TRY
from stream.kafka.topics import Names
from stream.kafka.transient import is_transient
from stream.kafka.wording import InWords

#: An evaluation of the rules that can't be made for so long is left out, in ms.
PATIENCE_MS: Final = 5 * SECOND
#: Gauges stand for the time up to which shards are complete where that is no longer ago, in ms.
SETTLED_MS: Final = SECOND // 2
_RETRY_SECONDS: Final = 1.0
#: So long a turn waits for a take-over, which goes on after it, in seconds.
_TURN_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Desk:
    """Adds up one family's parts and evaluates its KPIs and rules, while this worker owns it."""

    def __init__(
        self, topic: str, settings: Settings, shards: int, kafka: KafkaConfig, names: Names
    ) -> None:
        self.topic = topic
        self.family = Family(settings, shards)
        #: The latest evaluation, and when it was begun (monotonic seconds).
        self.evaluation: Evaluation | None = None
        self.evaluated_at = 0.0
        self.states = AlertStates()
        #: Evaluations of the rules that were left out.
        self.rules_skipped = 0
        kpis = {kpi.id for kpi in KPIS.values() if kpi.topic == topic}
        own_rules = of_family(settings.rules, topic)
        self._every = settings.evaluate_ms
        self._kafka = kafka
        self._names = names
        self._evaluator = Evaluator(settings)
        self._rules = RuleSet.of(replace(settings, rules=own_rules))
        self._for_gauges = {w.label: Wanted(frozenset(kpis)) for w in settings.windows}
        self._own_rules = own_rules
        self._for_rules = wanted(own_rules, settings.rollups)
        self._closer = Closer(settings)
        self._kept_for_gauges = self._evaluator.active_sums()
        self._kept_for_rules = self._evaluator.active_sums()
        self._evaluated_beats = -1
        self._evaluated_state: tuple[int, ...] = ()
        self._alert_log: AlertLog | None = None
        self._taking_over: asyncio.Task[None] | None = None
        #: The time (ms) of the evaluation that is due next; 0 before the first turn.
        self._next_rules = 0
        #: The clock where it was set back far, when it was seen last, and how many evaluations came
        #: due by it.
        self._slow_clock: int | None = None
        self._passed_over = 0
        #: Whether there is nothing to end where there are no rules.
        self._is_at_rest = False
        self._looking: asyncio.Task[bool] | None = None
        self._has_stranger = False
        #: And whether it was said that a shard's part lacks something.
        self._is_cut = False
        #: And that a shard's time is ahead.
        self._has_lead = False

    @property
    def is_due(self) -> bool:
        """Whether every shard has told more since the latest evaluation."""
        return self._oldest_beat() > self._evaluated_beats

    def _oldest_beat(self) -> int:
        return min((beat.at for beat in self.family.beats()), default=-1)

    def evaluate(self, now: int) -> None:
        """Evaluate the family's KPIs, if the sum over the shards is a total at ``now`` (ms).

        They stand for the time up to which the shards have taken in what the sources held: a cart
        that is abandoned between then and now is not counted as such yet. Where that is too long
        ago they stand for ``now``.
        """
        # From before it: what a process was stopped in the middle of is old when it goes on.
        started = time.monotonic()
        missing = self.family.missing(now)
        self._note_obstacles(missing, now)
        if missing is not None:
            self.evaluation = None
            return
        self._evaluated_beats = self._oldest_beat()
        complete_to = self.family.complete_to()
        at = complete_to if now - complete_to <= SETTLED_MS else now
        if self.evaluation is not None:
            at = max(at, self.evaluation.at)
        state = self.family.state(at)
        if self.evaluation is not None and state == self._evaluated_state:
            self.evaluation = Evaluation(at, self.evaluation.samples)
        else:
            self.evaluation = self._evaluator.evaluate(
                self.family.shares(at), at, self._for_gauges, self._kept_for_gauges
            )
        self._evaluated_state = state
        self.evaluated_at = started

    def _note_obstacles(self, missing: str | None, now: int) -> None:
        """Tell once what keeps the family from being shown until somebody does something."""
        has_stranger = self.family.stranger(now) is not None
        if has_stranger and not self._has_stranger:
            log.warning(
                "the KPIs of %s are not shown: %s; give all workers of the group the same"
                " (`cxkpi state show` lists them)",
                self.topic,
                missing,
            )
        elif self._has_stranger and not has_stranger:
            log.info("no worker of another configuration tells a shard of %s any more", self.topic)
        self._has_stranger = has_stranger
        is_cut = self.family.is_cut
        if is_cut and not self._is_cut:
            log.warning("the KPIs of %s are not shown: %s", self.topic, missing)
        self._is_cut = is_cut
        self._note_lead(now)

    def _note_lead(self, now: int) -> None:
        """Tell once that a shard's time is ahead, and again only after it was clearly less so."""
        lead = self.family.lead(now)
        has_lead = lead > (LEAD_MS // 2 if self._has_lead else LEAD_MS)
        if has_lead and not self._has_lead:
            log.warning(
                "the KPIs of %s are not shown: %s; set the clocks: then that is over by %s, or with"
                " `cxkpi state rebuild`",
                self.topic,
                self.family.ahead(now),
                rfc3339(now + lead + BEHIND_MS),
            )
        self._has_lead = has_lead

    # Alerts ------------------------------------------------------------------------------------

    async def run_rules(self, now: int) -> None:
        """Evaluate the rules at every time that is due and for which all records are there."""
        if self._rules.rules:
            self._leave_out(now)
        elif not self._has_left_some():
            return
        alert_log = self._alert_log or await self._wait_for_alerts(now)
        if alert_log is None:
            return
        if not self._rules.rules:
            await self._end_all(now, alert_log)
            return
        while self._next_rules <= now and not self._is_ahead(now):
            at = self._next_rules
            if not self._has_all_up_to(at, now) or not await self._run_rules_at(at, alert_log):
                return
            self._next_rules = at + self._every

    def pass_over(self, clock: int) -> None:
        """Count what comes due by a clock (ms) that was set back far: none of it can be made."""
        if not self._rules.rules:
            return
        before = self._slow_clock
        self._slow_clock = clock if before is None else max(before, clock)
        if before is not None:
            due = max(0, clock // self._every - before // self._every)
            self._passed_over += due
            self.rules_skipped += due

    def _go_on(self, now: int) -> None:
        """Leave out what was counted while time stood still, as far as it has come since."""
        following = -(-now // self._every) * self._every
        after = self._next_rules + self._passed_over * self._every
        self._next_rules = min(after, max(self._next_rules, following))
        self._slow_clock, self._passed_over = None, 0

    def _leave_out(self, now: int) -> None:
        """Pass over the evaluations that can't be made, also while the alerts are not ours yet.

        What came due before the first turn is left to the worker that had them before.
        """
        if not self._next_rules:
            self._next_rules = -(-now // self._every) * self._every
        if self._slow_clock is not None:
            self._go_on(now)
        self._pass_to(now - PATIENCE_MS)
        if self._is_ahead(now):
            self._pass_to(now + 1)

    def _pass_to(self, time: int) -> None:
        """Pass over the evaluations that came due before a time (ms), and count them."""
        left_out = max(0, -(-(time - self._next_rules) // self._every))
        self._next_rules += left_out * self._every
        self.rules_skipped += left_out

    def _is_ahead(self, now: int) -> bool:
        """Whether rules were evaluated at times that are far from having come at ``now`` (ms).

        No change may be earlier than the latest one, so nothing can be evaluated before.
        """
        return self.states.at is not None and self.states.at - now > PATIENCE_MS

    def _has_left_some(self) -> bool:
        """Whether rules that are no more have left alerts, which somebody was told of.

        Looking may wait for a transaction that another family was left with. What was found is not
        looked at again while it is taken over, which that would end.
        """
        if self._taking_over is not None or self._alert_log is not None:
            return True
        if self._is_at_rest:
            return False
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name=f"alerts of {self.topic}")
        if self._looking.done():
            looking, self._looking = self._looking, None
            self._is_at_rest = not looking.result()
            return not self._is_at_rest
        return False

    async def _look(self) -> bool:
        """Whether there are alerts that can be ended, asked for until that is known."""
        while True:
            try:
                states = await states_left(self._kafka, self._names, self.topic)
            except StateRefused as error:
                log.warning("what fired of %s is not known and not ended: %s", self.topic, error)
                return False
            except Exception as error:
                if not is_transient(error):
                    raise
                said = InWords(error)
                log.warning("the alerts' state can't be read yet: %s", said, extra=EACH_TRY)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return bool(states.alerts)

    async def _end_all(self, now: int, alert_log: AlertLog) -> None:
        """End what is left, and then leave nothing of it."""
        while self.states.alerts:
            known = [self.states.at, *(state.known_until for state in self.states.alerts)]
            at = max(now, *(1 + time for time in known if time is not None))
            if not await self._take_step(Evaluation(at, ()), at, alert_log, _nothing_closer):
                return
        await self.let_go_of_alerts()
        self._is_at_rest = True

    def _has_all_up_to(self, at: int, now: int) -> bool:
        is_there = self.family.missing(now) is None and self.family.complete_to() >= at
        # Nor may a shard have let go of any of it: what is late adds to its lead.
        return is_there and self.family.lead(at) <= BEHIND_MS

    async def _run_rules_at(self, at: int, alert_log: AlertLog) -> bool:
        """Evaluate the rules at one time; False where the outcome could not be written."""
        shares = self.family.shares(at)
        evaluation = self._evaluator.evaluate(shares, at, self._for_rules, self._kept_for_rules)
        latest = self.family.latest()
        events = {} if latest is None else {self.topic: latest}
        first, starts = self.family.first(), self.family.starts()
        evaluation = with_input(evaluation, self._own_rules, events, first, starts)
        return await self._take_step(evaluation, at, alert_log, self._closer.at(shares, at))

    async def _take_step(
        self, evaluation: Evaluation, at: int, alert_log: AlertLog, look: Look
    ) -> bool:
        """Take the alerts a step further; False where the outcome could not be written."""
        states, changes = evaluate(self._rules, self.states, evaluation, at, look)
        if changes or states.alerts != self.states.alerts:
            try:
                await alert_log.write(states, changes)
            except FlushFailed as error:
                log.warning(
                    "the alerts' state was not written, taking over anew: %s", error, extra=EACH_TRY
                )
                await self.let_go_of_alerts()
                return False
        self.states = states
        return True

    async def _wait_for_alerts(self, now: int) -> AlertLog | None:
        """Wait a moment for the alerts' state; None where it is not taken over yet.

        The take-over goes on between the turns, which count what is left out meanwhile.
        """
        if self._taking_over is None:
            if self._rules.rules:
                # Also that one whose outcome was not written.
                self._pass_to(now)
            name = f"taking over alerts of {self.topic}"
            self._taking_over = asyncio.create_task(self._take_over(), name=name)
        await asyncio.wait({self._taking_over}, timeout=_TURN_SECONDS)
        if self._taking_over.done():
            taking_over, self._taking_over = self._taking_over, None
            taking_over.result()
            if self._alert_log is not None and self._is_ahead(now):
                log.warning(
                    "alerts of %s stay as they are until %s: rules were evaluated up to then by a"
                    " worker whose clock was ahead",
                    self.topic,
                    rfc3339(self.states.at or 0),
                )
        return self._alert_log

    async def _take_over(self) -> None:
        """Take over the alerts' state, or find that this is not possible yet."""
        try:
            self._alert_log = await self._taken_over()
        except Exception as error:
            if not is_transient(error):
                raise
            said = InWords(error)
            log.warning("the alerts' state can't be taken over yet: %s", said, extra=EACH_TRY)
            await asyncio.sleep(_RETRY_SECONDS)
            return

    async def _taken_over(self) -> AlertLog:
        alert_log = AlertLog(self._kafka, self._names, self.topic)
        try:
            self.states = await alert_log.take_over()
        except BaseException:
            await alert_log.close()
            raise
        return alert_log

    async def let_go_of_alerts(self) -> None:
        """Leave the alerts' state to whoever takes it over."""
        self._is_at_rest = False
        asking = [task for task in (self._looking, self._taking_over) if task is not None]
        self._looking = self._taking_over = None
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        if self._alert_log is not None:
            alert_log, self._alert_log = self._alert_log, None
            await alert_log.close()


def _nothing_closer(*_: object) -> Details:
    """What a closer look finds where nothing fires."""
    return Details({})
