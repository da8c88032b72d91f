"""Generated counts as the samples that rules see: the core's windows, formulas and bounds.

Counts are drawn for steps of five seconds, Poisson events of which a binomial part is bad. What a
worker makes of events on the way (decoding, duplicates, entities, shards) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.backtest.recording import Track
from stream.core.bounds import wilson
from stream.core.formulas import divided
from stream.core.integers import Ints
from stream.core.kpi import Column
from stream.core.series import LabelPairs
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Window

STEP: Final = 5 * SECOND
STEPS_A_DAY: Final = DAY // STEP
#: A Monday, so that a day is one of the calendar.
EPOCH: Final = 1_767_571_200_000

FIVE_MINUTES: Final = Window("5m", 5 * MINUTE, 5 * SECOND)
ONE_HOUR: Final = Window("1h", HOUR, MINUTE)
ONE_DAY: Final = Window("24h", DAY, 10 * MINUTE)


@dataclass(frozen=True, slots=True)
class Counts:
    """Events and bad ones of a series, a number for each step."""

    n: NDArray[np.float64]
    bad: NDArray[np.float64]

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.n + other.n, self.bad + other.bad)


def drawn(
    rng: np.random.Generator, events_a_step: Column, rate: Column | float, shape: int
) -> Counts:
    """Counts by chance for ``shape`` steps."""
    n = rng.poisson(events_a_step, shape)
    return Counts(n.astype(float), rng.binomial(n, rate).astype(float))


def windowed(of_steps: Column, window: Window) -> Column:
    """Sums over the window at the end of each step; entry 0 is the time before the first.

    The evaluation at the end of step i sees all that happened before, and its window is that of the
    core: the newest panes, the one that holds this time included.
    """
    total = np.concatenate(([0.0], np.cumsum(of_steps)))
    at = np.arange(len(total), dtype=np.int64) * STEP
    first = np.maximum(0, (at // window.pane_ms - window.panes + 1) * window.pane_ms) // STEP
    return total - total[first]


def times(steps: int, start: int = EPOCH) -> Ints:
    """The times of the entries of ``windowed``."""
    return start + np.arange(steps + 1, dtype=np.int64) * STEP


def track(
    labels: LabelPairs, at: Ints, counts: Counts, window: Window, usual: Window | None = None
) -> Track:
    """What a rule on a window, and on a baseline where there is one, sees of these counts."""
    n, bad = windowed(counts.n, window), windowed(counts.bad, window)
    lower, upper = wilson(bad, n)
    baseline = np.full(len(n), np.nan)
    if usual is not None:
        baseline = divided(windowed(counts.bad, usual), windowed(counts.n, usual))
    # The rules that are compared don't ask how much of a window is covered.
    covered = np.ones(len(n))
    return Track(labels, at, divided(bad, n), lower, upper, bad, n, baseline, covered)


def part(whole: Track, places: slice) -> Track:
    """Some of the evaluations of a track."""
    columns = (whole.at, whole.value, whole.lower, whole.upper)
    more = (whole.numerator, whole.denominator, whole.usual, whole.covered)
    return Track(whole.labels, *(c[places] for c in (*columns, *more)))
