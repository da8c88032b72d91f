"""What rules make of the generated days, each beside the plain rule of many a Prometheus."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import Final

import numpy as np

from bench.alert_days import Block, Hit, Series
from bench.alert_series import ONE_HOUR, STEP, STEPS_A_DAY, part
from stream.backtest.judge import flaps
from stream.backtest.rerun import Alert, limits, rerun, with_data
from stream.core.bounds import Z
from stream.core.settings import HOUR, MINUTE, Rule

#: The thresholds: fixed, and as a factor of the usual value over 24 h.
LIMIT: Final = 0.15
FACTOR: Final = 1.25
#: Thresholds and waits that the plain rule is tried with.
PLAIN_LIMITS: Final = (0.15, 0.16, 0.17, 0.18, 0.20, 0.22, 0.25, 0.30)
PLAIN_WAITS: Final = tuple(MINUTE * n for n in (0, 1, 2, 5, 10, 15, 20, 30))

_THRESHOLD: Final = Rule("threshold", "cart_abandonment", "1h", above=LIMIT)
_SURE: Final = replace(_THRESHOLD, significant=True)
_SPIKE: Final = replace(_THRESHOLD, above=None, baseline="24h", factor=FACTOR)
#: Without bounds, without a number of samples, silent where there is no value, each minute.
_PLAIN: Final = replace(_THRESHOLD, min_samples=0, on_no_data="resolve")


@dataclass(frozen=True, slots=True)
class Contender:
    """A rule and how often it is evaluated, in ms."""

    name: str
    rule: Rule
    every: int = STEP


RECOMMENDED: Final = Contender(
    "`significant`, `for` 5m, `keep_firing_for` 1h",
    replace(_SURE, for_ms=5 * MINUTE, keep_firing_for_ms=HOUR),
)
SURE: Final = Contender("`significant`", _SURE)
OURS: Final = (
    Contender("threshold", _THRESHOLD),
    Contender("threshold, `for` 5m", replace(_THRESHOLD, for_ms=5 * MINUTE)),
    SURE,
    Contender("`significant`, `for` 1m", replace(_SURE, for_ms=MINUTE)),
    RECOMMENDED,
    Contender("spike", _SPIKE),
    Contender(
        "spike, `for` 5m, `keep_firing_for` 1h",
        replace(_SPIKE, for_ms=5 * MINUTE, keep_firing_for_ms=HOUR),
    ),
)
PLAIN: Final = tuple(
    Contender(
        f"plain > {limit:g}, for {wait // MINUTE}m",
        replace(_PLAIN, above=limit, for_ms=wait),
        MINUTE,
    )
    for limit, wait in itertools.product(PLAIN_LIMITS, PLAIN_WAITS)
)


@dataclass(frozen=True, slots=True)
class Pair:
    """An incident in one series that has events of it. Times in ms after its start.

    ``clears``: when the interval that is expected without chance is beyond the rule's threshold,
    None where it never is up to the incident's end. ``margin``: how far beyond it gets, in standard
    errors. ``found``: when the rule fired, up to one window after the end.
    """

    hit: Hit
    region: str | None
    clears: int | None
    margin: float
    found: int | None
    #: Whether the rule was firing when the incident began: it has found nothing then.
    was_firing: bool

    @property
    def in_time(self) -> bool:
        """Whether it was found within one window after it was clear."""
        if self.clears is None or self.found is None:
            return False
        return self.found <= self.clears + ONE_HOUR.size_ms

    @property
    def key(self) -> tuple[int, str | None]:
        """What tells it from all others."""
        return id(self.hit), self.region


@dataclass(slots=True)
class Score:
    """What a rule has made so far; ``days`` are days of one series.

    ``inside``: where the true rate is two standard errors inside the threshold.
    """

    contender: Contender
    days: float = 0.0
    false: int = 0
    inside_days: float = 0.0
    inside_false: int = 0
    false_by_region: dict[str, int] = field(default_factory=dict)
    flaps: int = 0
    pairs: list[Pair] = field(default_factory=list)

    def take(self, block: Block) -> None:
        """Run the rule over some days."""
        for series in block.series:
            self._take(block, series)

    def _take(self, block: Block, series: Series) -> None:
        rule, every = self.contender.rule, self.contender.every
        alerts = rerun(rule, part(series.seen, slice(None, None, every // STEP)))
        inside = _inside(rule, series) & ~series.is_hit
        self.days += block.days
        self.inside_days += float(inside.sum()) / STEPS_A_DAY
        self.flaps += len(flaps(alerts, ONE_HOUR.size_ms))
        for alert in alerts:
            place = int(np.searchsorted(series.seen.at, alert.fired_at))
            if not series.is_hit[place]:
                self.false += 1
                self.inside_false += bool(inside[place])
                name = series.region or "total"
                self.false_by_region[name] = self.false_by_region.get(name, 0) + 1
        self.pairs += [_pair(rule, hit, series, alerts) for hit in block.hits
                       if hit.affects(series.region)]  # fmt: skip

    @property
    def clear_pairs(self) -> list[Pair]:
        """The incidents and series whose expected interval clears the threshold."""
        return [p for p in self.pairs if p.clears is not None]

    @property
    def delay(self) -> float | None:
        """Median time from the start to firing, of clear ones that were found, in ms."""
        found = [p.found for p in self.clear_pairs if p.found is not None]
        return median(found) if found else None

    @property
    def false_a_day(self) -> float:
        """False alerts a day over all series together."""
        return self.false / self.days * len({p.region for p in self.pairs})

    @property
    def inside_per_30_days(self) -> float:
        """False alerts for each 30 days of a series that is two standard errors inside."""
        return 30 * self.inside_false / self.inside_days if self.inside_days else 0.0


def scores(days: Iterable[Block], contenders: Sequence[Contender]) -> dict[str, Score]:
    """Run all rules over all days; by name."""
    found = {c.name: Score(c) for c in contenders}
    for block in days:
        for score in found.values():
            score.take(block)
    return found


def best_plain(found: Mapping[str, Score], ours: Score) -> tuple[Score, float] | None:
    """The plain rule with the fewest false alerts that is no slower and misses no more than ours.

    Both are compared on the incidents and series that are clear for ours. In its favour the plain
    rule has found at once what began while it was firing. With its mean delay in ms on those that
    both have found; None where no plain rule keeps up.
    """
    clear = {p.key: p for p in ours.clear_pairs}
    best: tuple[Score, float] | None = None
    for contender in PLAIN:
        plain = found[contender.name]
        mine = {p.key: 0 if p.was_firing else p.found for p in plain.pairs if p.key in clear}
        both = [
            (other, p.found)
            for key, p in clear.items()
            if (other := mine.get(key)) is not None and p.found is not None
        ]
        missed = sum(found_at is None for found_at in mine.values())
        if not both or missed > sum(p.found is None for p in clear.values()):
            continue
        delay = fmean(a for a, _ in both)
        if delay <= fmean(b for _, b in both) and (best is None or plain.false < best[0].false):
            best = plain, delay
    return best


def _inside(rule: Rule, series: Series) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the true rate is two standard errors of the window's events inside the threshold."""
    p, n = series.expected.value, series.expected.denominator
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = p + 2 * np.sqrt(p * (1 - p) / n) <= limits(rule, series.expected)
    return np.asarray(inside, dtype=np.bool_)


def _pair(rule: Rule, hit: Hit, series: Series, alerts: Sequence[Alert]) -> Pair:
    expected = series.expected
    beyond = expected.lower - limits(rule, expected)
    during = (expected.at >= hit.start) & (expected.at <= hit.end)
    clear = (beyond > 0) & with_data(rule, expected) & during
    first = int(np.argmax(clear))
    margins = beyond[clear] * (2 * Z) / (expected.upper - expected.lower)[clear]
    fired = [a.fired_at for a in alerts if hit.start <= a.fired_at <= hit.end + ONE_HOUR.size_ms]
    return Pair(
        hit,
        series.region,
        int(expected.at[first]) - hit.start if clear[first] else None,
        float(margins.max()) if clear[first] else 0.0,
        min(fired) - hit.start if fired else None,
        any(a.fired_at < hit.start < a.lasts_until(int(expected.at[-1])) for a in alerts),
    )
