"""Evaluates KPIs and alert rules over the shards of a worker, and says how the worker is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, RuleSet, evaluate, needed
from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator, Share, Wanted
from stream.core.series import Evaluation
from stream.core.settings import SECOND, Settings
from stream.core.state import StateRefused
from stream.kafka.alert_log import AlertLog
from stream.kafka.log import FlushFailed
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import Names
from stream.metrics.view import AlertState, Timing, WorkerView

#: How often gauges are evaluated, in ms.
GAUGES_MS: Final = SECOND
#: An evaluation of the rules that can't be made for so long is left out, in ms.
PATIENCE_MS: Final = 5 * SECOND
#: Gauges that are older than this are absent, in seconds.
STALE_SECONDS: Final = 15.0
_TICK_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Monitor:
    """Makes the evaluations, takes alerts through their states, and holds the latest picture."""

    def __init__(
        self, settings: Settings, kafka: KafkaConfig, names: Names, owner: ShardOwner
    ) -> None:
        self.settings = settings
        #: Deliveries by sink and result, counted by the sinks' dispatchers.
        self.notifications: dict[tuple[str, str], int] = {}
        self._kafka = kafka
        self._names = names
        self._owner = owner
        self._evaluator = Evaluator(settings)
        self._rules = RuleSet.of(settings, KPIS)
        self._wanted = _wanted(settings)
        self._alert_log: AlertLog | None = None
        self._states = AlertStates()
        self._evaluation: Evaluation | None = None
        self._evaluated_at = 0.0
        self._evaluated = Timing()
        self._next_rules = 0
        self._skipped = 0
        self._now = 0

    def _clock(self) -> int:
        """The wall clock in ms; when it is set back, time stands still."""
        self._now = max(self._now, time.time_ns() // 1_000_000)
        return self._now

    async def run_gauges(self) -> None:
        """Evaluate all KPIs every second, for ever."""
        next_gauges = 0
        while True:
            now = self._clock()
            if not self._owner.complete:
                self._evaluation = None
            elif now >= next_gauges:
                next_gauges = now - now % GAUGES_MS + GAUGES_MS
                self._evaluate_gauges(now)
            await asyncio.sleep(_TICK_SECONDS)

    async def run_rules(self) -> None:
        """Evaluate the rules at their times, for ever; apart from the gauges, since it may wait."""
        while True:
            if not self._owner.complete:
                await self._let_go_of_alerts()
            elif self._rules.rules:
                await self._evaluate_rules(self._clock())
            await asyncio.sleep(_TICK_SECONDS)

    def _complete_to(self) -> int:
        thread = self._owner.thread
        caught_up = thread.caught_up if thread is not None else {}
        return min((s.complete_to(caught_up) for s in self._owner.shards.values()), default=0)

    def _advanced_shares(self, now: int) -> list[Share]:
        """The shards as they are at ``now``: due carts are abandoned, panes are up to date."""
        complete = min(now, self._complete_to())
        shares = []
        for owned in self._owner.shards.values():
            shard = owned.shard
            shard.advance(complete)
            shard.fold(now)
            shares.append(shard.share())
        return shares

    def _evaluate_gauges(self, now: int) -> None:
        started = time.monotonic()
        self._evaluation = self._evaluator.evaluate(self._advanced_shares(now), now)
        self._evaluated_at = time.monotonic()
        self._evaluated = self._evaluated.plus(self._evaluated_at - started)

    # Alerts ------------------------------------------------------------------------------------

    async def _evaluate_rules(self, now: int) -> None:
        """Evaluate the rules at every time that is due and for which all records are there."""
        if self._alert_log is None:
            self._alert_log = await self._take_alerts(now)
        alert_log = self._alert_log
        while alert_log is not None and self._next_rules <= now and self._owner.complete:
            at = self._next_rules
            if self._complete_to() >= at:
                if not await self._evaluate_rules_at(at, alert_log):
                    return
            elif now - at <= PATIENCE_MS:
                return
            else:
                self._skipped += 1
            self._next_rules = at + self.settings.evaluate_ms

    async def _evaluate_rules_at(self, at: int, alert_log: AlertLog) -> bool:
        """Evaluate the rules at one time; False where the outcome could not be written."""
        evaluation = self._evaluator.evaluate(self._advanced_shares(at), at, self._wanted)
        states, changes = evaluate(self._rules, self._states, evaluation, at)
        if changes or states.alerts != self._states.alerts:
            try:
                await alert_log.write(states, changes)
            except FlushFailed as error:
                log.warning("the alerts' state was not written, taking over anew: %s", error)
                await self._let_go_of_alerts()
                return False
        self._states = states
        return True

    async def _take_alerts(self, now: int) -> AlertLog | None:
        """Take over the alerts' state; None where that is not possible yet."""
        alert_log = AlertLog(self._kafka, self._names)
        try:
            self._states = await alert_log.take_over()
        except StateRefused:
            await alert_log.close()
            raise
        except Exception as error:  # noqa: BLE001 - whatever Kafka's client raises, later it may do.
            log.warning("the alerts' state can't be taken over yet: %r", error)
            await alert_log.close()
            await asyncio.sleep(_RETRY_SECONDS)
            return None
        step = self.settings.evaluate_ms
        self._next_rules = -(-now // step) * step
        return alert_log

    async def _let_go_of_alerts(self) -> None:
        if self._alert_log is not None:
            alert_log, self._alert_log = self._alert_log, None
            await alert_log.close()

    async def close(self) -> None:
        """Let go of the alerts' state."""
        await self._let_go_of_alerts()

    # The picture -------------------------------------------------------------------------------

    def view(self) -> WorkerView:
        """The worker at this moment; KPI series are left out where they may not be totals."""
        owner = self._owner
        health = owner.health
        trouble = self._trouble()
        fresh = trouble is None
        shards = [owned.shard for owned in owner.shards.values()]
        remembered: Counter[str] = Counter()
        for shard in shards:
            remembered.update(shard.remembered())
        return WorkerView(
            evaluation=self._evaluation if fresh else None,
            outcomes=self._outcomes() if fresh else {},
            last_event_ms=self._last_events(),
            covered=self._covered() if fresh else {},
            alerts=self._alerts() if fresh else (),
            ready=trouble is None,
            reason=trouble or "ready",
            lag=self._lag(),
            flush=health.flush,
            flush_failures=health.flush_failures,
            evaluated=self._evaluated,
            rule_evaluations_skipped=self._skipped,
            recovery=health.recovery,
            shards=len(shards),
            shards_recovering=max(0, owner.expected - len(shards)),
            dead_letters=dict(health.dead_letters),
            segments=sum(len(s.segments.rows) for s in shards),
            remembered=dict(remembered),
            gaps=self._gaps(),
            notifications=dict(self.notifications),
        )

    def _trouble(self) -> str | None:
        """Why the series may not be shown as totals; None where they may."""
        owner = self._owner
        if not owner.complete:
            return owner.outage or owner.reason
        if self._evaluation is None:
            return "nothing is evaluated yet"
        now = time.monotonic()
        beat = owner.thread.heartbeat_at if owner.thread is not None else 0.0
        if now - beat > self._kafka.session_timeout_ms / 2000:
            lost = f"the group has accepted no heartbeat for {now - beat:.0f} s"
            return owner.outage or lost
        if now - self._evaluated_at > STALE_SECONDS:
            return f"the last evaluation is {now - self._evaluated_at:.0f} s old"
        return None

    def _outcomes(self) -> dict[tuple[str, str], int]:
        totals: Counter[tuple[str, str]] = Counter()
        for owned in self._owner.shards.values():
            for topic, counts in owned.shard.progress.outcomes.items():
                totals.update({(topic, outcome): n for outcome, n in counts.items()})
        return dict(totals)

    def _last_events(self) -> dict[str, int]:
        last: dict[str, int] = {}
        for owned in self._owner.shards.values():
            for topic, at in owned.shard.progress.clocks.items():
                last[topic] = max(at, last.get(topic, at))
        return last

    def _covered(self) -> dict[str, float]:
        firsts = [
            owned.shard.progress.first
            for owned in self._owner.shards.values()
            if owned.shard.progress.first is not None
        ]
        if not firsts or self._evaluation is None:
            return {}
        age = self._evaluation.at - min(firsts)
        return {w.label: min(1.0, max(0.0, age / w.size_ms)) for w in self.settings.windows}

    def _alerts(self) -> tuple[AlertState, ...]:
        severities = {rule.name: rule.severity for rule in self.settings.rules}
        return tuple(
            AlertState(s.rule, severities.get(s.rule, ""), s.labels, s.phase == "firing")
            for s in self._states.alerts
        )

    def _lag(self) -> dict[tuple[str, int], int]:
        thread = self._owner.thread
        ends = dict(thread.ends) if thread is not None else {}
        lag = {}
        for number, owned in self._owner.shards.items():
            for tp, topic in owned.partitions().items():
                if tp in ends:
                    lag[topic, number] = max(0, ends[tp] - owned.positions.get(topic, 0))
        return lag

    def _gaps(self) -> dict[str, int]:
        gaps: Counter[str] = Counter()
        for owned in self._owner.shards.values():
            gaps.update(owned.shard.progress.skipped)
        return dict(gaps)


def _wanted(settings: Settings) -> Mapping[str, Wanted]:
    """What the rules need, by window; finer rollups too, for what moved an alert."""
    kpis: dict[str, set[str]] = {}
    for kpi, window, _ in needed(settings.rules):
        kpis.setdefault(window, set()).add(kpi)
    return {window: Wanted(frozenset(names)) for window, names in kpis.items()}
