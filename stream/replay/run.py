"""Recorded events through the core, in event time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stream.core.alerts import Change, Closer
from stream.core.decode import occurred_at
from stream.core.evaluate import Evaluator, Share
from stream.core.event import OUTCOMES
from stream.core.series import Sample
from stream.core.settings import Settings
from stream.core.shard import Refusal, Shard
from stream.core.values import Values
from stream.replay.alerts import AlertReplay
from stream.replay.files import Batch


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was not accepted, and where it stands."""

    file: str
    line: int
    refusal: Refusal

    def row(self) -> dict[str, Any]:
        """As ``--rejects`` lists it."""
        return {
            "file": self.file,
            "line": self.line,
            "outcome": self.refusal.outcome,
            "field": self.refusal.path,
            "reason": self.refusal.reason,
        }


class Replay:
    """One run over recorded events: the very shard that a worker has, with events as the clock.

    ``at``: the time to evaluate for in ms; events after it are left out. None: the latest event's.
    ``reject`` is called with each record that was not accepted.
    """

    def __init__(
        self,
        settings: Settings,
        at: int | None = None,
        *,
        alerts: bool = False,
        reject: Callable[[Reject], None] | None = None,
    ) -> None:
        self._shard = Shard(settings, Values(settings), event_time=True, until=at)
        self._evaluator = Evaluator(settings)
        self._closer = Closer(settings)
        self._at = at
        self._alerts = AlertReplay(settings) if alerts and settings.rules else None
        self._reject = reject
        self._every = settings.evaluate_ms

    def feed(self, batch: Batch) -> None:
        """Take in records."""
        if self._alerts is None:
            self._ingest(batch, 0, len(batch.values))
        else:
            self._feed_with_alerts(batch, self._alerts)
        self._shard.settle(self._shard.progress.now)

    def _ingest(self, batch: Batch, start: int, end: int) -> None:
        for refusal in self._shard.ingest(None, batch.values[start:end]):
            if self._reject is not None:
                place = start + refusal.place
                self._reject(Reject(batch.files[place], batch.lines[place], refusal))

    def _feed_with_alerts(self, batch: Batch, alerts: AlertReplay) -> None:
        """Take in records, stopping before each that moves time past an evaluation of the rules."""
        start = 0
        edge = self._edge(alerts)
        for i, value in enumerate(batch.values):
            time = occurred_at(value)
            if time is None or (edge is not None and time <= edge):
                continue
            self._ingest(batch, start, i)
            accepted = self._shard.time_of(value)
            if accepted is not None:
                for at in alerts.evaluations_due(self._now(), accepted):
                    self._evaluate_rules(alerts, at)
            self._ingest(batch, i, i + 1)
            start, edge = i + 1, self._edge(alerts)
        self._ingest(batch, start, len(batch.values))

    def _edge(self, alerts: AlertReplay) -> int | None:
        """The next evaluation of the rules; None before the first event."""
        now = self._now()
        return None if now is None else next(iter(alerts.evaluations_due(now, now + self._every)))

    def _now(self) -> int | None:
        return None if self._shard.progress.first is None else self._shard.progress.now

    def _shares(self, at: int) -> list[Share]:
        shard = self._shard
        shard.advance(at)
        shard.fold(at)
        return [shard.share()]

    def _evaluate_rules(self, alerts: AlertReplay, at: int) -> None:
        shares = self._shares(at)
        evaluation = self._evaluator.evaluate(shares, at, alerts.wanted)
        progress = self._shard.progress
        alerts.take(evaluation, self._closer.at(shares, at), progress.clocks, progress.first)

    @property
    def alert_changes(self) -> list[Change]:
        """The changes of alerts so far, whole."""
        return [] if self._alerts is None else self._alerts.changes

    def alert_rows(self) -> list[dict[str, Any]]:
        """The changes of alerts, once all records were read."""
        if self._alerts is None:
            return []
        for at in self._alerts.evaluations_at_end(self._now()):
            self._evaluate_rules(self._alerts, at)
        return self._alerts.rows()

    def samples(self) -> list[Sample]:
        """Every KPI series that has contributions; none where nothing was accepted."""
        now = self._now()
        at = self._at if self._at is not None else now
        if at is None or now is None:
            return []
        evaluation = self._evaluator.evaluate(self._shares(at), at)
        return [
            s for s in evaluation.samples if s.value is not None or s.numerator or s.denominator
        ]

    def outcomes(self) -> dict[str, int]:
        """How many records had each outcome."""
        counts = self._shard.progress.outcomes.values()
        return {o: sum(c.get(o, 0) for c in counts) for o in OUTCOMES}
