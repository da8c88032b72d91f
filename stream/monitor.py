"""The KPI families that this worker owns: followed, evaluated, and shown while they are totals."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from stream.clock import now_ms
from stream.config import KafkaConfig
from stream.core.alerts import rfc3339
from stream.core.catalogue import FAMILIES
from stream.core.durations import about
from stream.core.merge import LEAD_MS, far_ahead
from stream.core.series import Evaluation, Sample, kpi_of
from stream.core.settings import Settings
from stream.core.sharing import ShareRecord
from stream.desk import Desk
from stream.kafka.ending import cancelled
from stream.kafka.owner import ShardOwner
from stream.kafka.readiness import Standing
from stream.kafka.repeats import EACH_TRY
from stream.kafka.shares import ShareReader, SharesUnread
from stream.kafka.topics import Names
from stream.metrics.view import AlertGauge, Timing, WorkerView

#: Gauges are evaluated when all shards have told more, or after this time (seconds): somewhat more
#: than shards take to tell, so that nothing is evaluated twice where one tells a little later.
GAUGES_SECONDS: Final = 1.5
#: An evaluation that takes long is followed by so many times as long for other work, so that
#: events are taken in and written however many series there are.
REST: Final = 3.0
#: Gauges that are older than this are absent, in seconds.
STALE_SECONDS: Final = 15.0
#: An evaluation counts as so many times its CPU time at most: a process that was stopped in the
#: middle has not worked, and must not rest for three times as long as it was stopped.
_STARVED: Final = 10.0
_TICK_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
#: So many keys of records that can't be read are told at once.
_LISTED: Final = 5

log = logging.getLogger(__name__)


def is_time(since: float, lasted: float | None, is_due: bool) -> bool:
    """Whether to evaluate, ``since`` seconds after an evaluation that ``lasted`` so long.

    ``is_due``: all shards have told more since.
    """
    if since < REST * (lasted or 0.0):
        return False
    return is_due or since >= GAUGES_SECONDS


class Joined:
    """Several evaluations as one.

    Its samples are the same object until one of the evaluations has others: there may be tens of
    thousands, and the pages keep the text that they have made of them.
    """

    def __init__(self) -> None:
        #: The time (ms) that each KPI stands for, by its id.
        self.times: dict[str, int] = {}
        self._parts: list[tuple[Sample, ...]] = []
        self._kpis: list[frozenset[str]] = []
        self._samples: tuple[Sample, ...] = ()

    def of(self, evaluations: Sequence[Evaluation]) -> Evaluation | None:
        """The evaluations as one; None where there is none."""
        parts = [evaluation.samples for evaluation in evaluations]
        if list(map(id, parts)) != list(map(id, self._parts)):
            self._parts = parts
            self._kpis = [frozenset(map(kpi_of, {sample.kpi for sample in part})) for part in parts]
            self._samples = tuple(chain.from_iterable(parts))
        self.times = {
            kpi: evaluation.at
            for evaluation, kpis in zip(evaluations, self._kpis, strict=True)
            for kpi in kpis
        }
        if not evaluations:
            return None
        return Evaluation(max(evaluation.at for evaluation in evaluations), self._samples)


class Monitor:
    """Evaluates the families that this worker owns, and holds the latest picture of the worker."""

    def __init__(
        self, settings: Settings, kafka: KafkaConfig, names: Names, owner: ShardOwner
    ) -> None:
        self.settings = settings
        self._kafka = kafka
        self._names = names
        self._owner = owner
        self._reader = ShareReader(kafka, names)
        #: By the family's number.
        self._desks: dict[int, Desk] = {}
        #: Desks that are not ours any more, until they have let go of their alerts.
        self._retired: list[Desk] = []
        #: When it was begun to follow what the group assigned last (monotonic seconds).
        self._followed_at = 0.0
        #: Whether the parts could not be read, and no family was a total since.
        self._reads_again = False
        self._joined = Joined()
        self._evaluated = Timing()
        self._evaluated_at = 0.0
        self._rules_skipped: Counter[str] = Counter()
        self._now = 0
        #: Whether it was said that the clock was set back.
        self._is_set_back = False

    def _clock(self) -> int:
        """The wall clock in ms; when it is set back, time stands still."""
        self._now = max(self._now, now_ms())
        return self._now

    @property
    def _set_back(self) -> int:
        """By how much the clock is behind the time that stands still, in ms."""
        clock = now_ms()
        return max(self._now, clock) - clock

    def _note_set_back(self) -> None:
        """Tell once that the clock was set back far, and again only after it has caught up."""
        set_back = self._set_back
        if set_back > LEAD_MS and not self._is_set_back:
            self._is_set_back = True
            log.warning(
                "the clock was set back by %s: until %s KPIs are absent and no alert rule is"
                " evaluated; if it is wrong now, set it, as events that are more than a minute"
                " ahead of it are refused; if it was ahead before, wait, or `cxkpi state rebuild`",
                about(set_back),
                rfc3339(self._now),
            )
        elif not set_back:
            self._is_set_back = False

    async def run_gauges(self) -> None:
        """Follow the families that are ours and evaluate their KPIs, for ever."""
        while True:
            self._note_set_back()
            try:
                await self._follow()
                self._note_ends()
                told = await self._reader.read() if self._desks else {}
            except SharesUnread as error:
                log.warning("the parts of KPIs can't be read now: %s", error, extra=EACH_TRY)
                await self._reader.close()
                self._retire(frozenset())
                self._reads_again = True
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            heard = self._clock()
            for number, records in told.items():
                self._take(number, records, heard)
            self._evaluate_gauges()
            if not self._desks:
                await asyncio.sleep(_TICK_SECONDS)

    def _take(self, number: int, records: list[ShareRecord], heard: int) -> None:
        family = self._desks[number].family
        known = frozenset(family.damaged)
        for key, value in records:
            family.take(key, value, heard)
        if new := family.damaged - known:
            log.warning(
                "partition %d of %s has records that can't be read, with the keys %s",
                number,
                self._names.shares,
                ", ".join(f"{key!r}" for key in islice(new, _LISTED)),
            )

    async def _follow(self) -> None:
        """Open desks for the families that the group's assignment gives to us, close the others."""
        owner = self._owner
        wanted = owner.families
        is_followed = self._is_up_to_date and wanted == self._reader.families
        if not owner.is_assigned or is_followed:
            return
        began = time.monotonic()
        self._retire(wanted)
        if wanted or self._reader.families:
            await self._reader.follow(wanted)
        for number in wanted - self._desks.keys():
            self._desks[number] = Desk(
                FAMILIES[number], self.settings, owner.total, self._kafka, self._names
            )
            self._desks[number].family.is_left = self._reads_again
        self._followed_at = began
        # Nothing is shown until they are evaluated anew, so that is due as soon as they are read.
        self._evaluated_at = 0.0

    @property
    def _is_up_to_date(self) -> bool:
        """Whether what is followed is what the group assigned last."""
        return self._followed_at >= self._owner.assigned_at

    def _retire(self, kept: frozenset[int]) -> None:
        for number in self._desks.keys() - kept:
            self._retired.append(self._desks.pop(number))

    def _note_ends(self) -> None:
        """Take for more than what was left in a log what comes once that was read to its end.

        The order of the log says so, and no time of another worker, whose clock may be behind or
        ahead.
        """
        for number, desk in self._desks.items():
            if self._reader.is_caught_up(number):
                desk.family.is_left = False

    def _evaluate_gauges(self) -> None:
        """Evaluate all families for the same time, once all have heard more or time has passed."""
        heard = [d for n, d in self._desks.items() if self._reader.is_caught_up(n)]
        since = time.monotonic() - self._evaluated_at
        if not heard or not is_time(since, self._evaluated.last, all(d.is_due for d in heard)):
            return
        now, started, worked = self._clock(), time.monotonic(), time.thread_time()
        for desk in heard:
            desk.evaluate(now)
        # A shard tells of all families at once, so it has told more of each then.
        self._reads_again = self._reads_again and all(desk.evaluation is None for desk in heard)
        self._evaluated_at = time.monotonic()
        most = _STARVED * (time.thread_time() - worked)
        self._evaluated = self._evaluated.plus(min(self._evaluated_at - started, most))

    async def run_rules(self) -> None:
        """Evaluate the rules at their times, for ever; apart from the gauges, since it may wait.

        Each family by itself: whoever takes alerts over waits for the transactions of all families
        that were left open, and each is ended by the take-over of its own family. One that has come
        back waits until its former desk has let go, since each would fence the other.
        """
        turns: dict[Desk, asyncio.Task[None]] = {}
        try:
            while True:
                for desk in [desk for desk, turn in turns.items() if turn.done()]:
                    turns.pop(desk).result()
                for desk in [desk for desk in self._retired if desk not in turns]:
                    self._retired.remove(desk)
                    self._rules_skipped[desk.topic] += desk.rules_skipped
                    turns[desk] = asyncio.create_task(desk.let_go_of_alerts())
                busy = {desk.topic for desk in (*turns, *self._retired)}
                for number, desk in self._desks.items():
                    if desk.topic not in busy:
                        turns[desk] = asyncio.create_task(self._take_turn(number, desk))
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            await cancelled(turns.values())

    async def _take_turn(self, number: int, desk: Desk) -> None:
        if number not in self._owner.families:
            await desk.let_go_of_alerts()
        elif self._set_back > LEAD_MS:
            desk.pass_over(now_ms())
        elif self._reader.is_caught_up(number):
            await desk.run_rules(self._clock())

    async def close(self) -> None:
        """Let go of the alerts' states, and of the parts."""
        self._retire(frozenset())
        # Side by side, since a broker that is gone holds up each of them.
        letting_go = [desk.let_go_of_alerts() for desk in self._retired]
        await asyncio.gather(*letting_go, self._reader.close())

    # The picture -------------------------------------------------------------------------------

    def view(self) -> WorkerView:
        """The worker at this moment; KPI series are left out where they may not be totals."""
        owner = self._owner
        counts = owner.counts
        trouble = self._trouble()
        unready = self._unready(trouble)
        shown = list(self._shown()) if trouble is None else []
        remembered: Counter[str] = Counter()
        forgotten = Counter(counts.forgotten)
        segments = [len(owned.shard.segments) for owned in owner.shards.values()]
        for owned in owner.shards.values():
            remembered.update(owned.shard.remembered())
            forgotten.update(dict.fromkeys(owned.shard.forgotten(), 0))
        skipped = self._rules_skipped.copy()
        for desk in (*self._desks.values(), *self._retired):
            skipped[desk.topic] += desk.rules_skipped
        return WorkerView(
            evaluation=self._joined.of([d.evaluation for d in shown if d.evaluation is not None]),
            evaluated_ms=dict(self._joined.times),
            outcomes=_outcomes(shown),
            last_event_ms=_last_events(shown),
            covered=self._covered(shown),
            alerts=self._alerts(shown),
            ready=unready is None,
            lag=self._lag(),
            flush=counts.flush,
            flush_failures=counts.flush_failures,
            evaluated=self._evaluated,
            rule_evaluations_skipped=from_zero(skipped),
            recovery=counts.recovery,
            shards=len(owner.shards),
            shards_recovering=max(0, owner.expected - len(owner.shards)),
            dead_letters=from_zero(counts.dead_letters),
            segments=sum(segments),
            most_segments=max(segments, default=0),
            remembered=dict(remembered),
            forgotten=dict(forgotten),
            gaps=from_zero(counts.gaps),
            damaged_shares={d.topic: len(d.family.damaged) for d in self._desks.values()},
            refused_bases=counts.refused_bases,
            without_room=counts.without_room,
        )

    def standing(self) -> Standing:
        """How the worker stands, which costs less than the whole view."""
        owner = self._owner
        unready = self.unready()
        words = unready or self._standing()
        shards = len(owner.shards)
        return Standing(unready is None, words, owner.outage, shards, owner.counts.recovery)

    def unready(self) -> str | None:
        """Why this worker is not ready; None where it is."""
        return self._unready(self._trouble())

    def _trouble(self) -> str | None:
        """Why nothing that this worker shows may be taken for a total; None where it may."""
        owner = self._owner
        if not owner.is_assigned:
            return owner.outage or owner.reason
        now = time.monotonic()
        thread = owner.thread
        beat = thread.heartbeat_at if thread is not None else 0.0
        if now - beat > self._kafka.session_timeout_ms / 2000:
            lost = f"the group has accepted no heartbeat for {now - beat:.0f} s"
            why = thread.membership.helpless_since(beat) if thread is not None else ""
            return owner.outage or lost + (f": its coordinator says {why}" if why else "")
        set_back = self._set_back
        if set_back > LEAD_MS:
            until = rfc3339(self._now)
            return f"this worker's clock was set back by {about(set_back)}: time stands at {until}"
        return None

    def _shown(self) -> Iterator[Desk]:
        """The desks whose numbers are totals, and not too old.

        Nor from before the group's latest assignment: others may have shown more meanwhile.
        """
        if not self._is_up_to_date:
            return
        for number in sorted(self._desks.keys() & self._owner.families):
            desk = self._desks[number]
            is_fresh = time.monotonic() - desk.evaluated_at <= STALE_SECONDS
            if desk.evaluation is None or not is_fresh or desk.evaluated_at < self._followed_at:
                continue
            if desk.family.missing(self._clock()) is None:
                yield desk

    def _unready(self, trouble: str | None) -> str | None:
        """Why this worker is not ready; what other workers lack does not count."""
        owner = self._owner
        if trouble is not None:
            return trouble
        if not owner.settled:
            return owner.outage or owner.reason
        for number in owner.families:
            desk = self._desks.get(number)
            is_read = self._is_up_to_date and self._reader.is_caught_up(number)
            if desk is None or not is_read:
                return f"reading the parts of {FAMILIES[number]}"
            missing = desk.family.missing(self._clock())
            if desk.evaluation is None and (missing is None or len(owner.shards) == owner.total):
                return missing or f"{FAMILIES[number]} is not evaluated yet"
        return self._ahead()

    def _ahead(self) -> str | None:
        """Which of this worker's shards no owner of a family can add up, as its time is ahead."""
        clock = self._clock()
        for number, owned in sorted(self._owner.shards.items()):
            if said := far_ahead(number, owned.shard.progress.now - clock):
                return said
        return None

    def _standing(self) -> str:
        owner = self._owner
        if not owner.shards:
            return "ready, standing by: the group gives this worker no shards"
        return f"ready: {len(owner.shards)} of {owner.total} shards"

    def _covered(self, shown: list[Desk]) -> dict[str, float]:
        """Shown by the owner of the first family, since it is the same for all."""
        desk = next((d for d in shown if d.topic == FAMILIES[0]), None)
        if desk is None or desk.evaluation is None:
            return {}
        first, at = desk.family.first(), desk.evaluation.at
        if first is None:
            return {}
        return {w.label: w.covered(first, at) for w in self.settings.windows}

    def _alerts(self, shown: list[Desk]) -> tuple[AlertGauge, ...]:
        severities = {rule.name: rule.severity for rule in self.settings.rules}
        return tuple(
            AlertGauge(
                s.rule,
                # A rule that is gone may have one, until it is told that it is over.
                severities.get(s.rule, "") if s.watched is None else s.watched.severity,
                s.labels,
                s.phase == "firing",
            )
            for desk in shown
            for s in desk.states.alerts
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


def from_zero(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by topic with all topics, since Prometheus sees no increase where a series begins."""
    return dict.fromkeys(FAMILIES, 0) | dict(counts)


def _outcomes(shown: list[Desk]) -> dict[tuple[str, str], int]:
    totals: Counter[tuple[str, str]] = Counter()
    for desk in shown:
        for beat in desk.family.beats():
            totals.update({(desk.topic, outcome): n for outcome, n in beat.outcomes.items()})
    return dict(totals)


def _last_events(shown: list[Desk]) -> dict[str, int]:
    return {desk.topic: latest for desk in shown if (latest := desk.family.latest()) is not None}
