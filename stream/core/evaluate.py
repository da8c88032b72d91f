"""From shards' counters to samples: windows, rollups, KPIs and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core import bounds, quantiles
from stream.core.active import LabelSet, active_at
from stream.core.catalogue import KPIS, LAYOUT
from stream.core.cells import COUNTER_BITS, COUNTER_MASK, ROW_MASK, Ints, summed
from stream.core.formulas import divided
from stream.core.kpi import Column, Columns, Kpi
from stream.core.layout import WIDE
from stream.core.segments import Segment
from stream.core.series import Evaluation, Labels, Sample
from stream.core.settings import DAY, Settings, Window
from stream.core.signals import LatestSignals, SignalTable, health_columns
from stream.core.tally import Tally, WindowStore
from stream.core.topics import signal

Rollup = tuple[str, ...]

#: The KPIs that need customers' signals.
_OF_SIGNALS = frozenset(k.id for k in KPIS.values() if k.topic == signal.NAME)


@dataclass(frozen=True)
class Share:
    """What one shard contributes to the totals."""

    windows: WindowStore
    rows: Sequence[Segment | None]
    active: Mapping[bytes, LabelSet]
    signals: SignalTable


@dataclass(frozen=True)
class Wanted:
    """Which KPIs to evaluate in a window, and for which rollups. The default is all."""

    kpis: frozenset[str] = frozenset(KPIS)
    rollups: frozenset[Rollup] | None = None


class _Groups:
    """The series of a rollup: which segments add to which series."""

    def __init__(self, settings: Settings, rollup: Rollup, extra: Rollup) -> None:
        self._names = (*settings.dimensions, "currency")
        self._places = [self._names.index(name) for name in (*rollup, *extra)]
        self._label_names = (*rollup, *extra)
        self.labels: list[Labels] = []
        self._index: dict[tuple[str | None, ...], int] = {}
        if not self._label_names:
            # The total has a series before anything was counted.
            self._find(())

    def _find(self, values: tuple[str | None, ...]) -> int:
        found = self._index.get(values)
        if found is None:
            found = self._index[values] = len(self.labels)
            named = zip(self._label_names, values, strict=True)
            self.labels.append(tuple(sorted((n, v) for n, v in named if v is not None)))
        return found

    def of(self, segment: Segment) -> int:
        """The series that a segment adds to, −1 where it lacks a label."""
        values = tuple(segment[p] for p in self._places)
        return -1 if None in values else self._find(values)


class Evaluator:
    """Evaluates KPIs over the sum of shares. It keeps no state between calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._unit_ms = Tally(settings.windows).unit_ms

    def evaluate(
        self, shares: Sequence[Share], at: int, wanted: Mapping[str, Wanted] | None = None
    ) -> Evaluation:
        """All samples at time ``at``; ``wanted`` by window label narrows them down.

        Raises:
            CounterOverflow: a sum has left the range of 64-bit integers.
        """
        segments, maps = _merged_segments(shares)
        samples: list[Sample] = []
        for window in self.settings.windows:
            want = Wanted() if wanted is None else wanted.get(window.label)
            if want is None:
                continue
            keys, values = _window_sums(shares, maps, window, at)
            active = self._active(shares, window, at)
            signals = [
                share.signals.within(window, at, numbers)
                for share, numbers in zip(shares, maps, strict=True)
                if want.kpis & _OF_SIGNALS
            ]
            view = _WindowView(window, segments, keys, values, active, signals)
            for rollup in self.settings.rollups:
                if want.rollups is None or rollup in want.rollups:
                    totals = _Totals(self.settings, view, rollup)
                    samples += totals.samples(want.kpis)
        return Evaluation(at, tuple(samples))

    def _active(self, shares: Sequence[Share], window: Window, at: int) -> dict[Segment, int]:
        """Active subscriptions at the window's start, by segment."""
        sets: dict[bytes, list[LabelSet]] = {}
        for share in shares:
            for key, found in share.active.items():
                sets.setdefault(key, []).append(found)
        start = window.start(at)
        active: dict[Segment, int] = {}
        for parts in sets.values():
            n = active_at(start, window.pane_ms, self._unit_ms, parts)
            active[parts[0].segment] = active.get(parts[0].segment, 0) + n
        return active


def _merged_segments(shares: Sequence[Share]) -> tuple[list[Segment], list[Ints]]:
    """All segments once, and for each share the number of each of its rows (−1: no segment)."""
    index: dict[Segment, int] = {}
    maps = []
    for share in shares:
        numbers = [-1 if s is None else index.setdefault(s, len(index)) for s in share.rows]
        maps.append(np.array(numbers, dtype=np.int64))
    return list(index), maps


def _window_sums(
    shares: Sequence[Share], maps: Sequence[Ints], window: Window, at: int
) -> tuple[Ints, Ints]:
    """(segment, counter) cells summed over the window's panes and over all shares."""
    first, last = window.first_pane(at), at // window.pane_ms
    keys: list[Ints] = [np.empty(0, dtype=np.int64)]
    values: list[Ints] = [np.empty(0, dtype=np.int64)]
    for share, numbers in zip(shares, maps, strict=True):
        k, v = share.windows.cells[window.label].between(first, last)
        if k.size:
            keys.append(
                (numbers[(k >> COUNTER_BITS) & ROW_MASK] << COUNTER_BITS) | (k & COUNTER_MASK)
            )
            values.append(v)
    return summed(np.concatenate(keys), np.concatenate(values))


@dataclass(frozen=True)
class _WindowView:
    """A window at a moment: the cells summed over shards, and what is no sum of cells."""

    window: Window
    segments: Sequence[Segment]
    #: (segment, counter) cells.
    keys: Ints
    values: Ints
    active: Mapping[Segment, int]
    signals: Sequence[LatestSignals]


class _Totals:
    """The sums of one window and rollup, and the samples that follow from them."""

    def __init__(self, settings: Settings, view: _WindowView, rollup: Rollup) -> None:
        self._settings = settings
        self._view = view
        self._rollup = rollup
        self._by_extra: dict[Rollup, tuple[_Groups, dict[str, Column], Ints, Ints]] = {}

    def _sums(self, extra: Rollup) -> tuple[_Groups, dict[str, Column], Ints, Ints]:
        """Series, columns, and the sorted (series, counter) cells of this rollup and ``extra``."""
        found = self._by_extra.get(extra)
        if found is None:
            found = self._by_extra[extra] = self._add_up(extra)
        return found

    def _add_up(self, extra: Rollup) -> tuple[_Groups, dict[str, Column], Ints, Ints]:
        groups = _Groups(self._settings, self._rollup, extra)
        numbers = np.array([groups.of(s) for s in self._view.segments], dtype=np.int64)
        keys, values = self._view.keys, self._view.values
        if keys.size:
            series = numbers[keys >> COUNTER_BITS]
            kept = series >= 0
            keys, values = summed(
                (series[kept] << COUNTER_BITS) | (keys[kept] & COUNTER_MASK), values[kept]
            )
        columns: dict[str, Column] = {}
        if not extra:
            columns["active"] = self._active_column(groups)
            # What belongs to no segment (−1) belongs to no series, as the last entry says.
            series = np.append(numbers, -1)
            columns |= health_columns(self._view.signals, series, len(groups.labels))
        plain = _matrix(keys, values, len(groups.labels))
        for name, counter in LAYOUT.counters.items():
            position = LAYOUT.positions[name]
            column = plain[:, position].astype(np.float64)
            if counter.wide:
                column = column * WIDE + plain[:, position + 1]
            columns[name] = column / counter.scale if counter.scale != 1 else column
        if extra:
            self._take_from_parents(groups, columns)
        columns["window_days"] = np.full(len(groups.labels), self._view.window.size_ms / DAY)
        return groups, columns, keys, values

    def _active_column(self, groups: _Groups) -> Column:
        numbers = [(groups.of(segment), n) for segment, n in self._view.active.items()]
        column = np.zeros(len(groups.labels))
        for number, n in numbers:
            if number >= 0:
                column[number] += n
        return column

    def _take_from_parents(self, groups: _Groups, columns: dict[str, Column]) -> None:
        """Counters without the extra label are those of the rollup's own series."""
        parents, parent_columns, _, _ = self._sums(())
        index = {labels: i for i, labels in enumerate(parents.labels)}
        own = np.array(
            [index[tuple(p for p in labels if p[0] in self._rollup)] for labels in groups.labels],
            dtype=np.int64,
        )
        for name, column in parent_columns.items():
            if name not in LAYOUT.counters or not LAYOUT.counters[name].labels:
                columns[name] = column[own]

    def samples(self, kpis: frozenset[str]) -> Iterator[Sample]:
        """The samples of the named KPIs."""
        for kpi in KPIS.values():
            if kpi.id in kpis:
                yield from self._samples_of(kpi)

    def _samples_of(self, kpi: Kpi) -> Iterator[Sample]:
        groups, columns, keys, values = self._sums(kpi.labels)
        value, lower, upper, numerator, denominator = _evaluated(kpi, columns)
        n = len(groups.labels)
        parts = (_cells(c, n) for c in (value, lower, upper, numerator, denominator))
        for labels, v, lo, hi, num, den in zip(groups.labels, *parts, strict=True):
            yield Sample(kpi.id, self._view.window.label, labels, v, lo, hi, num, den)
        if kpi.sketch:
            yield from self._quantiles(kpi, groups, keys, values)

    def _quantiles(self, kpi: Kpi, groups: _Groups, keys: Ints, values: Ints) -> Iterator[Sample]:
        base = LAYOUT.sketches[kpi.sketch or ""]
        for number, labels in enumerate(groups.labels):
            first = (number << COUNTER_BITS) | base
            low, high = np.searchsorted(keys, (first, first + quantiles.BUCKETS))
            for q in quantiles.QUANTILES:
                found = quantiles.quantile(keys[low:high] - first, values[low:high], q)
                if found is not None:
                    named = tuple(sorted((*labels, ("quantile", str(q)))))
                    yield Sample(
                        f"{kpi.id}_quantile",
                        self._view.window.label,
                        named,
                        found / kpi.sketch_scale,
                    )


def _matrix(keys: Ints, values: Ints, height: int) -> NDArray[np.int64]:
    """The plain counters as a table, a row per series."""
    matrix = np.zeros((height, LAYOUT.width), dtype=np.int64)
    counters = keys & COUNTER_MASK
    plain = counters < LAYOUT.width
    matrix[keys[plain] >> COUNTER_BITS, counters[plain]] = values[plain]
    return matrix


def _evaluated(
    kpi: Kpi, columns: Columns
) -> tuple[Column, Column | None, Column | None, Column | None, Column | None]:
    """Value, lower and upper bound, numerator and denominator; NaN or None where absent."""
    if kpi.value is not None:
        return kpi.value(columns), None, None, None, None
    if kpi.numerator is None or kpi.denominator is None:
        raise TypeError(f"{kpi.id} has neither a value nor a numerator and denominator")
    numerator, denominator = kpi.numerator(columns), kpi.denominator(columns)
    value = kpi.scale * divided(numerator, denominator)
    lower = upper = None
    if kpi.bounds == "wilson":
        lower, upper = bounds.wilson(numerator, denominator)
    elif kpi.bounds == "nps":
        lower, upper = bounds.adjusted_wald(
            columns["nps_promoters"], columns["nps_detractors"], denominator
        )
    return value, lower, upper, numerator, denominator


def _cells(column: Column | None, n: int) -> list[float | None]:
    """A column's n numbers, None for NaN or where there is no column."""
    return [None] * n if column is None else [None if x != x else x for x in column.tolist()]
