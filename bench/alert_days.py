"""Days of a company with and without incidents, as the tracks that rules see.

Every second day has one incident: each size, as a step or a ramp, by day or at night, everywhere or
in one region, down to one that has few events.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bench.alert_series import EPOCH, ONE_DAY, ONE_HOUR, STEP, STEPS_A_DAY, Counts, part, times
from bench.alert_series import drawn as by_chance
from bench.alert_series import track as seen
from stream.backtest.recording import Track
from stream.core.integers import Ints
from stream.core.kpi import Column
from stream.core.settings import DAY, HOUR, MINUTE

#: The bad share on a usual day.
RATE: Final = 0.12
#: Events a minute at the peak, at 15:00; the part of it that comes at 3:00.
PEAK: Final = 60.0
NIGHT: Final = 0.05
#: Regions and their share of the events.
SHARES: Final = {"large": 0.60, "medium": 0.30, "small": 0.08, "tiny": 0.02}
SIZES: Final = (1.5, 2.0, 4.0)
Shape = Literal["step", "ramp"]
SHAPES: Final[tuple[Shape, ...]] = ("step", "ramp")
SCOPES: Final = (None, "large", "small", "tiny")
LASTS: Final = 2 * HOUR
RAMP: Final = 30 * MINUTE
#: Days that are drawn at once, after one that only the baseline sees.
BLOCK: Final = 10
#: Goes through all kinds of incident in an order that mixes them.
_STRIDE: Final = 11


@dataclass(frozen=True, slots=True)
class Hit:
    """An incident, in one region or in all; times are ms since the epoch."""

    size: float
    shape: Shape
    at_night: bool
    region: str | None
    start: int

    @property
    def end(self) -> int:
        """The first millisecond after it."""
        return self.start + LASTS

    def affects(self, region: str | None) -> bool:
        """Whether a series has events of it; None is the total."""
        return None in {self.region, region} or self.region == region

    def factor(self, at: Ints) -> Column:
        """What the bad share is multiplied by, at each time."""
        inside = (at >= self.start) & (at < self.end)
        risen = np.clip((at - self.start) / RAMP, 0, 1) if self.shape == "ramp" else 1.0
        return np.where(inside, 1 + (self.size - 1) * risen, 1.0)


@dataclass(frozen=True, slots=True)
class Series:
    """A series over some days: what was seen, and what would be seen without chance."""

    region: str | None
    seen: Track
    expected: Track
    #: Where an incident is, or is still in the window.
    is_hit: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some days in a row: the total, the regions, and the incidents."""

    days: int
    series: Sequence[Series]
    hits: Sequence[Hit]


def blocks(seed: int, days: int) -> Iterator[Block]:
    """``days`` days, some at a time; the same for the same seed."""
    kinds = list(itertools.product(SIZES, SHAPES, (False, True), SCOPES))
    for number, first in enumerate(range(0, days, BLOCK)):
        rng = np.random.default_rng([seed, number])
        length = min(BLOCK, days - first)
        hits = [
            _hit(rng, kinds[(first + day) // 2 * _STRIDE % len(kinds)], day)
            for day in range(length)
            if (first + day) % 2
        ]
        yield _block(rng, length, hits)


def _hit(rng: np.random.Generator, kind: tuple[float, Shape, bool, str | None], day: int) -> Hit:
    size, shape, at_night, region = kind
    earliest, latest = (0, 4 * HOUR) if at_night else (10 * HOUR, 17 * HOUR)
    moment = int(rng.integers(earliest // STEP, latest // STEP)) * STEP
    return Hit(size, shape, at_night, region, EPOCH + (day + 1) * DAY + moment)


def _block(rng: np.random.Generator, days: int, hits: Sequence[Hit]) -> Block:
    steps = (days + 1) * STEPS_A_DAY
    at = times(steps)
    begin = at[:-1]
    traffic = PEAK * STEP / MINUTE * _profile((begin - EPOCH) / HOUR)
    counted: dict[str | None, tuple[Counts, Counts]] = {}
    for region, share in SHARES.items():
        rate = np.full(steps, RATE)
        for hit in hits:
            if hit.affects(region):
                rate *= hit.factor(begin)
        n = traffic * share
        counted[region] = by_chance(rng, n, rate, steps), Counts(n, n * rate)
    parts = list(counted.values())
    total = parts[0]
    for part_of_it in parts[1:]:
        total = total[0] + part_of_it[0], total[1] + part_of_it[1]
    counted[None] = total
    # A rule is run on the days alone; what came before is there for the windows.
    kept = slice(STEPS_A_DAY + 1, None)
    return Block(
        days,
        [
            Series(
                region,
                part(seen(_labels(region), at, drawn, ONE_HOUR, ONE_DAY), kept),
                part(seen(_labels(region), at, expected, ONE_HOUR, ONE_DAY), kept),
                _hit_at(hits, region, at[kept]),
            )
            for region, (drawn, expected) in counted.items()
        ],
        hits,
    )


def _labels(region: str | None) -> tuple[tuple[str, str], ...]:
    return () if region is None else (("region", region),)


def _hit_at(hits: Sequence[Hit], region: str | None, at: Ints) -> NDArray[np.bool_]:
    where = np.zeros(len(at), dtype=np.bool_)
    for hit in hits:
        if hit.affects(region):
            where |= (at >= hit.start) & (at <= hit.end + ONE_HOUR.size_ms)
    return where


def _profile(hours: Column) -> Column:
    """The traffic at an hour as a part of that at the peak."""
    return NIGHT + (1 - NIGHT) * np.sin(np.pi * (hours - 3) / 24) ** 2
