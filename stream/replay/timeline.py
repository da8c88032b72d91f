"""A time line: every KPI series at every multiple of a duration in event time, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from stream.core.errors import StopError
from stream.core.series import Evaluation, Sample
from stream.core.settings import Settings
from stream.core.timestamps import format_ms

#: So many points in time a time line has at most: a year of half minutes, and some.
MOST_POINTS: Final = 1_200_000

#: Takes the series at a time (ms). Series without contributions are left out.
Take = Callable[[int, Sequence[Sample]], None]

_NO_TIMES: Final = range(0)


class TooManyPoints(StopError):
    """The time line would have more points than is reasonable; the message says between when."""


class TimeLine:
    """Says when to evaluate, and hands on what was found, in order of time.

    As with rules, the evaluation at T sees the records that were read before the first one later
    than T: before event time moves on, ask ``evaluations_due`` and hand each evaluation to
    ``take``, then call ``stand_still``. After the last record hand an evaluation to ``take`` too.
    """

    def __init__(self, settings: Settings, every_ms: int, take: Take) -> None:
        self.every_ms = every_ms
        #: How many points in time there are so far.
        self.points = 0
        self._hand_on = take
        self._latest: Sequence[Sample] = ()
        # Without events a value moves only as carts time out and panes leave the longest window.
        longest = max(w.size_ms + w.pane_ms for w in settings.windows)
        self._settled_after = settings.cart_timeout_ms + longest

    def next_point(self, now: int) -> int:
        """The first multiple of the duration that is not before ``now`` (ms)."""
        return -(-now // self.every_ms) * self.every_ms

    def evaluations_due(self, previous: int | None, t: int) -> range:
        """The times at which to evaluate before event time moves from ``previous`` to ``t`` (ms).

        ``previous`` is None before the first event. The points of a gap at which nothing can have
        changed any more are left to ``stand_still``.

        Raises:
            TooManyPoints: there are more than ``MOST_POINTS`` up to ``t``.
        """
        if previous is None:
            return _NO_TIMES
        points = range(self.next_point(previous), t, self.every_ms)
        self.points += len(points)
        if self.points > MOST_POINTS:
            raise TooManyPoints(
                f"the time line has more than {MOST_POINTS:,} points: time goes from"
                f" {format_ms(previous)} to {format_ms(t)} here; choose a longer duration"
            )
        return points[: self._moving(points, previous)]

    def take(self, evaluation: Evaluation) -> None:
        """Hand on an evaluation that was due."""
        self._latest = [s for s in evaluation.samples if has_data(s)]
        self._hand_on(evaluation.at, self._latest)

    def stand_still(self, previous: int | None, t: int) -> None:
        """Repeat what was found last for the points up to ``t`` at which nothing has changed."""
        if previous is not None:
            points = range(self.next_point(previous), t, self.every_ms)
            for at in points[self._moving(points, previous) :]:
                self._hand_on(at, self._latest)

    def _moving(self, points: range, previous: int) -> int:
        """How many of the points after an event come before everything is settled, and one more.

        The last one of them is evaluated when everything is settled, so it can be repeated.
        """
        settled = self.next_point(previous + self._settled_after)
        return len(range(points.start, min(points.stop, settled + 1), self.every_ms))


def has_data(sample: Sample) -> bool:
    """Whether a series has a contribution; those without may be left out."""
    return sample.value is not None or bool(sample.numerator) or bool(sample.denominator)
