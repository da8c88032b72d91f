"""The samples that the rules see, recorded in one read: columns of floats, bounded."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.alerts import PreparedRule, RuleSample, needed
from stream.core.alerts.exact import UNSCALED
from stream.core.errors import StopError
from stream.core.integers import Ints
from stream.core.kpi import Column
from stream.core.series import Evaluation, LabelPairs, Sample, rollup_of
from stream.core.settings import Settings

#: Three weeks of a dozen series every five seconds. A sample is five floats, and as many again when
#: they are laid out for the rules, so these are half a gigabyte.
MOST_SAMPLES: Final = 5_000_000
_NAN: Final = math.nan


class TooMuch(StopError):
    """The recording has no room for more samples; the message says what to do."""


class Baseline(NamedTuple):
    """What a spike's baseline was, in columns like a track's, and what it is scaled by."""

    value: Column
    numerator: Column
    denominator: Column
    scale: Fraction

    def sample(self, place: int) -> Sample:
        """The sample of the baseline at ``place``, of which no more is asked than its numbers."""
        value, numerator, denominator = (_number(column[place]) for column in self[:3])
        return Sample("", "", (), value, None, None, numerator, denominator)

    def since(self, first: int) -> Baseline:
        """That from evaluation number ``first`` on."""
        value, numerator, denominator = (column[first:] for column in self[:3])
        return Baseline(value, numerator, denominator, self.scale)


@dataclass(frozen=True, slots=True)
class Track:
    """What a rule saw of one series: parallel columns, one entry for each evaluation.

    ``at`` is ms since the epoch, ascending. NaN is what is absent; where ``value`` is, the
    evaluation had no sample of the series, or one without value. ``covered`` is the part of the
    rule's longest window that data covered, never NaN. ``baseline`` is what ``usual`` was made of,
    where that is known.
    """

    labels: LabelPairs
    at: Ints
    value: Column
    lower: Column
    upper: Column
    numerator: Column
    denominator: Column
    usual: Column
    covered: Column
    baseline: Baseline | None = None

    def sample(self, place: int) -> RuleSample:
        """What ``step`` is given for the evaluation at ``place``."""
        return RuleSample(
            _number(self.value[place]),
            _number(self.lower[place]),
            _number(self.upper[place]),
            _number(self.numerator[place]),
            _number(self.denominator[place]),
            _number(self.usual[place]),
            float(self.covered[place]),
            None if self.baseline is None else self.baseline.sample(place),
            UNSCALED if self.baseline is None else self.baseline.scale,
        )


def since(track: Track, at: int) -> Track:
    """The evaluations of a track from ``at`` (ms) on."""
    first = int(np.searchsorted(track.at, at))
    return Track(
        track.labels,
        track.at[first:],
        track.value[first:],
        track.lower[first:],
        track.upper[first:],
        track.numerator[first:],
        track.denominator[first:],
        track.usual[first:],
        track.covered[first:],
        None if track.baseline is None else track.baseline.since(first),
    )


class _Columns:
    """The samples of one series from evaluation number ``first`` on."""

    __slots__ = ("columns", "first")

    def __init__(self, first: int) -> None:
        self.first = first
        self.columns = tuple(array("d") for _ in range(5))

    def __len__(self) -> int:
        return len(self.columns[0])

    def put(self, place: int, sample: Sample) -> None:
        """Keep the sample of evaluation number ``place``."""
        missing = place - self.first - len(self)
        numbers = (
            *(sample.value, sample.lower, sample.upper),
            *(sample.numerator, sample.denominator),
        )
        for column, number in zip(self.columns, numbers, strict=True):
            if missing:
                column.extend([_NAN] * missing)
            column.append(_NAN if number is None else number)

    def padded(self, n: int) -> list[Column]:
        """The columns over all ``n`` evaluations."""
        columns = []
        for column in self.columns:
            whole = np.full(n, _NAN)
            whole[self.first : self.first + len(column)] = np.frombuffer(column)
            columns.append(whole)
        return columns


class Recording:
    """Keeps what ``take`` is handed of the series that the rules of ``settings`` are decided by.

    ``most`` bounds it: so many samples, one for each series and evaluation. They take about 45
    bytes each while they are gathered, and twice that once they are laid out for a rule.
    """

    def __init__(self, settings: Settings, most: int = MOST_SAMPLES) -> None:
        rules = settings.rules
        own = {(rule.kpi, rule.window, tuple(sorted(rule.by))) for rule in rules}
        self._needed = needed(rules) | own
        self._times = array("q")
        #: The first event ever counted up to each evaluation; NaN before one.
        self._firsts = array("d")
        self._series: dict[tuple[str, str, LabelPairs], _Columns] = {}
        self._most = most

    def take(self, evaluation: Evaluation) -> None:
        """Keep an evaluation.

        Raises:
            TooMuch: there is no room for it.
        """
        place = len(self._times)
        self._times.append(evaluation.at)
        self._firsts.append(_NAN if evaluation.first is None else evaluation.first)
        for sample in evaluation.samples:
            if (sample.kpi, sample.window, rollup_of(sample.labels)) in self._needed:
                key = sample.kpi, sample.window, sample.labels
                columns = self._series.get(key)
                if columns is None:
                    columns = self._series[key] = _Columns(place)
                columns.put(place, sample)
        # Laid out, a series has an entry for every evaluation, however short it was there.
        if len(self._series) * len(self._times) > self._most:
            raise TooMuch(
                f"more than {self._most:,} samples of the rules' series: name fewer rules with"
                " --rule, give fewer events, or raise --max-samples"
            )

    @property
    def times(self) -> Ints:
        """All evaluations, in ms since the epoch."""
        return np.array(self._times, dtype=np.int64)

    def tracks(self, prepared: PreparedRule) -> list[Track]:
        """What the rule saw of each of its series, in order of their labels."""
        rule, times = prepared.rule, self.times
        covered = self._covered(prepared)
        tracks = []
        for (kpi, window, labels), columns in sorted(self._series.items(), key=_by_key):
            if (kpi, window, rollup_of(labels)) == (rule.kpi, rule.window, prepared.by):
                value, lower, upper, numerator, denominator = columns.padded(len(times))
                baseline, usual = self._baseline(prepared, labels), np.full(len(times), _NAN)
                if baseline is not None:
                    usual = baseline.value * float(baseline.scale)
                numbers = value, lower, upper, numerator, denominator
                tracks.append(Track(labels, times, *numbers, usual, covered, baseline))
        return tracks

    def _covered(self, prepared: PreparedRule) -> Column:
        """As ``Window.covered`` has it, at each evaluation."""
        if prepared.longest is None:
            return np.ones(len(self._times))
        parts = (self.times - np.array(self._firsts)) / prepared.longest.size_ms
        covered: Column = np.nan_to_num(np.clip(parts, 0.0, 1.0), nan=0.0)
        return covered

    def _baseline(self, prepared: PreparedRule, labels: LabelPairs) -> Baseline | None:
        rule = prepared.rule
        found = self._series.get((rule.kpi, rule.baseline or "", labels))
        if rule.baseline is None or found is None:
            return None
        value, _, _, numerator, denominator = found.padded(len(self._times))
        return Baseline(value, numerator, denominator, prepared.usual_scale)


def _by_key(item: tuple[tuple[str, str, LabelPairs], _Columns]) -> tuple[str, str, LabelPairs]:
    return item[0]


def _number(value: NDArray[np.float64] | np.float64) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
