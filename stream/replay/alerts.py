"""Alert rules over recorded events: when they are evaluated, and the changes that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from stream.core.alerts import AlertStates, Change, Look, RuleSet, evaluate, wanted, with_input
from stream.core.alerts.overflow import longest_wait_ms
from stream.core.evaluate import Wanted
from stream.core.series import Evaluation
from stream.core.settings import SECOND, Settings

_NO_TIMES: Final = range(0)
_NO_EVENTS: Mapping[str, int] = {}


class AlertReplay:
    """Runs the rules by event time, from the first event to the last.

    Before event time moves on, ask ``evaluations_due`` and hand an evaluation for each of these
    times to ``take``; after the last record, do the same with ``evaluations_at_end``. An evaluation
    at T then sees the records that were read before the first one later than T. ``watch`` is called
    with each evaluation before the rules are.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        watch: Callable[[Evaluation], None] | None = None,
    ) -> None:
        self._settings = settings
        self._rules = RuleSet.of(settings)
        self._states = AlertStates()
        self._wanted = wanted(settings.rules, settings.rollups)
        self._settled_after = _settled_after(settings)
        self.changes: list[Change] = []
        self._watch = watch

    @property
    def wanted(self) -> dict[str, Wanted]:
        """What the rules need of an evaluation, by window label; at least that."""
        return self._wanted

    def evaluations_due(self, previous: int | None, t: int) -> range:
        """The times at which to evaluate before event time moves from ``previous`` to ``t`` (ms).

        ``previous`` is None before the first event. In a gap so long that nothing can change any
        more, the evaluations that would be the same for ever are left out.
        """
        if previous is None or not self._settings.rules:
            return _NO_TIMES
        return self._multiples(previous, min(t, previous + self._settled_after))

    def evaluations_at_end(self, last: int | None) -> range:
        """The time at which to evaluate after the last record; ``last`` is its event time (ms)."""
        if last is None or not self._settings.rules:
            return _NO_TIMES
        return self._multiples(last, last + 1)

    def take(
        self,
        evaluation: Evaluation,
        look: Look,
        latest: Mapping[str, int] = _NO_EVENTS,
        first: int | None = None,
    ) -> None:
        """Run the rules over an evaluation that was due.

        ``look`` gives what changes say beyond their samples. ``latest`` is the greatest
        ``occurred_at`` (ms) by topic, ``first`` the earliest ever, for rules that miss input.
        """
        now = evaluation.at
        evaluation = with_input(evaluation, self._settings.rules, latest, first)
        if self._watch is not None:
            self._watch(evaluation)
        self._states, changes = evaluate(self._rules, self._states, evaluation, now, look)
        self.changes.extend(changes)

    def rows(self) -> list[dict[str, Any]]:
        """All changes so far, in order of time, rule and labels."""
        return [row(change) for change in self.changes]

    def _multiples(self, start: int, stop: int) -> range:
        every = self._settings.evaluate_ms
        return range(-(-start // every) * every, stop, every)


def row(change: Change) -> dict[str, Any]:
    """A change as ``replay`` prints it."""
    return {
        "at": change.changed_at,
        "rule": change.rule,
        "severity": change.severity,
        "kpi": change.kpi,
        "window": change.window,
        "labels": change.labels,
        "from": change.from_,
        "to": change.to,
        "value": change.value,
        "lower": change.lower,
        "upper": change.upper,
        "numerator": change.numerator,
        "denominator": change.denominator,
        "threshold": change.threshold,
    }


def _settled_after(settings: Settings) -> int:
    """How long after the latest event every alert has come to rest, in ms.

    Without events, a value moves only as carts time out, panes leave the longest window and topics
    become silent for too long; from then on ``for`` and ``keep_firing_for`` of a rule and of its
    alert on the number of series bring every alert where it stays.
    """
    moving = settings.cart_timeout_ms + max(w.size_ms + w.pane_ms for w in settings.windows)
    silent = max((round((r.above or 0) * SECOND) for r in settings.rules if r.topic), default=0)
    moving = max(moving, silent)
    waiting = max((longest_wait_ms(rule) for rule in settings.rules), default=0)
    return moving + waiting + 3 * settings.evaluate_ms
