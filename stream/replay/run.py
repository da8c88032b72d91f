"""Recorded events through the core, in event time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from stream.core.alerts import Change, Closer
from stream.core.evaluate import Evaluator, Share
from stream.core.event import OUTCOMES
from stream.core.head import occurred_at
from stream.core.series import Evaluation, Sample
from stream.core.settings import Settings
from stream.core.shard import Refusal, Shard
from stream.core.values import OTHER, Values
from stream.replay.alerts import AlertReplay, row
from stream.replay.files import Batch
from stream.replay.timeline import TimeLine, TooManyPoints, has_data


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not accepted, and where it stands."""

    file: str
    line: int
    refusal: Refusal

    def row(self) -> dict[str, Any]:
        """As ``--rejects`` lists it."""
        return {
            # A name may be of bytes that are no UTF-8.
            "file": self.file.encode(errors="surrogateescape").decode(errors="replace"),
            "line": self.line,
            "outcome": self.refusal.outcome,
            "field": self.refusal.path,
            "reason": self.refusal.reason,
        }


class Replay:
    """One run over recorded events: the very shard that a worker has, with events as the clock.

    ``at``: the time to evaluate for in ms; events after it are left out. None: the latest event's.
    ``reject`` is called with each record that was not accepted, ``watch`` with each evaluation of
    the rules.
    """

    def __init__(
        self,
        settings: Settings,
        at: int | None = None,
        *,
        alerts: bool = False,
        line: TimeLine | None = None,
        reject: Callable[[Reject], None] | None = None,
        watch: Callable[[Evaluation], None] | None = None,
    ) -> None:
        if alerts and line is not None:
            raise ValueError("a run makes a time line or changes of alerts, not both")
        self._shard = Shard(settings, Values(settings), event_time=True, until=at)
        self._most_segments = settings.max_segments
        self.evaluator = Evaluator(settings)
        self._closer = Closer(settings)
        #: As it was asked for.
        self.at: Final = at
        wanted = alerts and settings.rules
        self._alerts = AlertReplay(settings, watch=watch) if wanted else None
        self._line = line
        self._reject = reject
        self._every = settings.evaluate_ms if line is None else line.every_ms

    def feed(self, batch: Batch) -> None:
        """Take in records.

        Raises:
            TooManyPoints: of the time line, before the record that would make them.
        """
        if self._alerts is None and self._line is None:
            self._ingest(batch, 0, len(batch.values))
        else:
            self._feed_with_evaluations(batch)
        self._shard.settle(self._shard.progress.now)

    def _ingest(self, batch: Batch, start: int, end: int) -> None:
        for refusal in self._shard.ingest(None, batch.values[start:end]):
            if self._reject is not None:
                place = start + refusal.place
                self._reject(Reject(batch.files[place], batch.lines[place], refusal))

    def _feed_with_evaluations(self, batch: Batch) -> None:
        """Take in records, stopping before each that moves time past an evaluation."""
        start = 0
        edge = self._edge()
        for i, value in enumerate(batch.values):
            time = occurred_at(value)
            if time is None or (edge is not None and time <= edge):
                continue
            self._ingest(batch, start, i)
            accepted = self._shard.time_of(value)
            if accepted is not None:
                try:
                    self._evaluate_before(accepted)
                except TooManyPoints as error:
                    place = f"{batch.files[i]}: line {batch.lines[i]}"
                    raise TooManyPoints(f"{place}: {error}") from None
            self._ingest(batch, i, i + 1)
            start, edge = i + 1, self._edge()
        self._ingest(batch, start, len(batch.values))

    def _edge(self) -> int | None:
        """The next evaluation; None before the first event."""
        now = self.now
        return None if now is None else -(-now // self._every) * self._every

    @property
    def now(self) -> int | None:
        """How far event time has come, in ms; None before the first accepted event."""
        return None if self._shard.progress.first is None else self._shard.progress.now

    def _evaluate_before(self, t: int) -> None:
        """Make the evaluations that come before event time moves to ``t``."""
        now = self.now
        if self._alerts is not None:
            for at in self._alerts.evaluations_due(now, t):
                self._evaluate_rules(self._alerts, at)
        if self._line is not None:
            for at in self._line.evaluations_due(now, t):
                self._line.take(self._evaluate(at))
            self._line.stand_still(now, t)

    def shares(self, at: int) -> list[Share]:
        """What was counted, for an evaluation at ``at`` (ms), which must not go back."""
        shard = self._shard
        shard.advance(at)
        shard.fold(at)
        return [shard.share()]

    def _evaluate(self, at: int) -> Evaluation:
        return self.evaluator.evaluate(self.shares(at), at)

    def _evaluate_rules(self, alerts: AlertReplay, at: int) -> None:
        shares = self.shares(at)
        evaluation = self.evaluator.evaluate(shares, at, alerts.wanted)
        progress = self._shard.progress
        alerts.take(evaluation, self._closer.at(shares, at), progress.clocks, progress.first)

    def finish_alerts(self) -> list[Change]:
        """The changes of alerts, whole, once all records were read."""
        if self._alerts is None:
            return []
        for at in self._alerts.evaluations_at_end(self.now):
            self._evaluate_rules(self._alerts, at)
        return self._alerts.changes

    def alert_rows(self) -> list[dict[str, Any]]:
        """The changes of alerts as they are printed, once all records were read."""
        return [row(change) for change in self.finish_alerts()]

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the greatest time of an accepted event in ms; None before one."""
        first, now = self._shard.progress.first, self.now
        return None if first is None or now is None else (first, now)

    @property
    def end(self) -> int | None:
        """The time to evaluate for in ms; None where nothing was accepted."""
        return self.at if self.at is not None and self.now is not None else self.now

    def finish_line(self) -> None:
        """Make the rest of the time line, once all records were read.

        Raises:
            TooManyPoints: up to the end there are too many.
        """
        if self._line is not None and self.end is not None:
            self._evaluate_before(self.end)
            self._line.take(self._evaluate(self.end))

    def evaluation(self) -> Evaluation | None:
        """All series at the end; None where nothing was accepted."""
        return None if self.end is None else self._evaluate(self.end)

    def samples(self) -> list[Sample]:
        """Every KPI series that has contributions; none where nothing was accepted."""
        evaluation = self.evaluation()
        return [] if evaluation is None else [s for s in evaluation.samples if has_data(s)]

    def limits_reached(self) -> list[str]:
        """What the settings' limits have kept from being counted apart, or at all, in words."""
        limit, found = self._most_segments, []
        if self._shard.segments.is_full:
            found.append(
                f"max_segments: there were more than {limit:,} combinations of values; further ones"
                f" count as {OTHER} in every dimension"
            )
        if bases := self._shard.active.refused_bases:
            found.append(
                f"max_segments: there were more than {limit:,} sets of labels; {bases:,} bases of"
                " further ones are not counted"
            )
        return found

    def outcomes(self, topic: str | None = None) -> dict[str, int]:
        """How many records, of all topics or of one, had each outcome.

        What can't be read as an event is ``invalid`` and of topic ``""``.
        """
        by_topic = self._shard.progress.outcomes
        counts = list(by_topic.values()) if topic is None else [by_topic.get(topic, {})]
        return {o: sum(c.get(o, 0) for c in counts) for o in OUTCOMES}
