"""From shards' counters to samples: windows, rollups, KPIs and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.core import bounds, quantiles
from stream.core.active import ActiveSums, LabelSet
from stream.core.catalogue import KPIS, LAYOUT, TOPICS
from stream.core.cells import COUNTER_BITS, COUNTER_MASK, ROW_MASK, Ints, summed
from stream.core.formulas import divided
from stream.core.groups import Groups, Rollup
from stream.core.health import Health, health_columns
from stream.core.kpi import DERIVED, Column, Columns, Counter, Kpi
from stream.core.layout import WIDE
from stream.core.series import Evaluation, Sample
from stream.core.settings import DAY, Settings, Window
from stream.core.tally import Tally
from stream.core.topics import signal
from stream.core.values import Segment


class Panes(Protocol):
    """The counters of some panes."""

    def between(self, window: str, first: int, last: int) -> tuple[Ints, Ints]:
        """(row, counter) keys and values of a window's panes ``first`` to ``last``, unsummed.

        Bits above those of row and counter mean nothing.
        """


@dataclass(frozen=True)
class Share:
    """What one shard contributes to the totals, of all KPIs or of some."""

    panes: Panes
    rows: Sequence[Segment | None]
    active: Mapping[bytes, LabelSet]
    health: Health


@dataclass(frozen=True)
class Wanted:
    """Which KPIs to evaluate in a window, and for which rollups. The default is all."""

    kpis: frozenset[str] = frozenset(KPIS)
    rollups: frozenset[Rollup] | None = None


@dataclass(frozen=True)
class Inputs:
    """A series of a KPI, and the sums of all columns of its topic, of which it is made."""

    sample: Sample
    columns: Mapping[str, float]


class _Picture:
    """The segments of all shares at an evaluation, and which series they add to."""

    def __init__(self, settings: Settings, shares: Sequence[Share]) -> None:
        self.settings = settings
        self.shares = shares
        index: dict[Segment, int] = {}
        #: For each share the number of the segment of each of its rows (−1: no segment).
        self.maps: list[Ints] = []
        for share in shares:
            numbers = [-1 if s is None else index.setdefault(s, len(index)) for s in share.rows]
            self.maps.append(np.array(numbers, dtype=np.int64))
        self._segments = list(index)
        self._groups: dict[tuple[Rollup, Rollup], tuple[Groups, Ints]] = {}

    def groups(self, rollup: Rollup, extra: Rollup) -> tuple[Groups, Ints]:
        """The series of a rollup, and the one of each segment; the last entry (−1) is for none."""
        found = self._groups.get((rollup, extra))
        if found is None:
            groups = Groups(self.settings.dimensions, rollup, extra)
            found = groups, np.append(groups.numbers(self._segments), -1)
            self._groups[rollup, extra] = found
        return found

    def sums(self, window: Window, at: int) -> tuple[Ints, Ints]:
        """(segment, counter) cells summed over the window's panes and over all shares."""
        first, last = window.first_pane(at), at // window.pane_ms
        keys: list[Ints] = [np.empty(0, dtype=np.int64)]
        values: list[Ints] = [np.empty(0, dtype=np.int64)]
        for share, numbers in zip(self.shares, self.maps, strict=True):
            k, v = share.panes.between(window.label, first, last)
            if k.size:
                keys.append(
                    (numbers[(k >> COUNTER_BITS) & ROW_MASK] << COUNTER_BITS) | (k & COUNTER_MASK)
                )
                values.append(v)
        return summed(np.concatenate(keys), np.concatenate(values))


class Evaluator:
    """Evaluates KPIs over the sum of shares. It keeps no state between calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._unit_ms = Tally(settings.windows).unit_ms

    def active_sums(self) -> ActiveSums:
        """What ``evaluate`` can keep of subscriptions, for one sequence of times."""
        return ActiveSums(self._unit_ms)

    def evaluate(
        self,
        shares: Sequence[Share],
        at: int,
        wanted: Mapping[str, Wanted] | None = None,
        kept: ActiveSums | None = None,
    ) -> Evaluation:
        """All samples at time ``at``; ``wanted`` by window label narrows them down.

        ``kept`` saves looking at label sets again that were there the last time, unchanged.

        Raises:
            CounterOverflow: a sum has left the range of 64-bit integers.
        """
        picture = _Picture(self.settings, shares)
        sums, sets = kept or self.active_sums(), _label_sets(shares)
        samples: list[Sample] = []
        for window in self.settings.windows:
            want = Wanted() if wanted is None else wanted.get(window.label)
            if want is None:
                continue
            view = _view(picture, window, at, sums.at_start(window, at, sets), want.kpis)
            for rollup in self.settings.rollups:
                if want.rollups is None or rollup in want.rollups:
                    samples += _Totals(view, rollup).samples(want.kpis)
        return Evaluation(at, tuple(samples))

    def inputs(
        self, shares: Sequence[Share], at: int, window: Window, rollup: Rollup, kpi: Kpi
    ) -> list[Inputs]:
        """All series of one KPI, window and rollup at time ``at``, with what they are made of.

        The rollup may be any set of the dimensions, whether the settings keep it or not.

        Raises:
            CounterOverflow: a sum has left the range of 64-bit integers.
        """
        active: Mapping[Segment, int] = {}
        if any(term.column == "active" for term in kpi.terms):
            active = self.active_sums().at_start(window, at, _label_sets(shares))
        view = _view(_Picture(self.settings, shares), window, at, active, frozenset({kpi.id}))
        return _Totals(view, rollup).inputs(kpi)


def _label_sets(shares: Sequence[Share]) -> dict[bytes, list[LabelSet]]:
    """The parts of each label set."""
    sets: dict[bytes, list[LabelSet]] = {}
    for share in shares:
        for key, found in share.active.items():
            sets.setdefault(key, []).append(found)
    return sets


@dataclass(frozen=True)
class _WindowView:
    """A window at a moment: the cells summed over shards, and what is no sum of cells."""

    picture: _Picture
    window: Window
    at: int
    #: (segment, counter) cells.
    keys: Ints
    values: Ints
    active: Mapping[Segment, int]
    #: The counters that the wanted KPIs can ask for.
    counters: Mapping[str, Counter]


def _view(
    picture: _Picture, window: Window, at: int, active: Mapping[Segment, int], kpis: frozenset[str]
) -> _WindowView:
    keys, values = picture.sums(window, at)
    return _WindowView(picture, window, at, keys, values, active, _counters_of(kpis))


@cache
def _counters_of(kpis: frozenset[str]) -> Mapping[str, Counter]:
    """The counters of the topics that feed some KPIs."""
    topics = {KPIS[kpi].topic for kpi in kpis}
    return {c.name: c for name, topic in TOPICS.items() if name in topics for c in topic.counters}


class _Totals:
    """The sums of one window and rollup, and the samples that follow from them."""

    def __init__(self, view: _WindowView, rollup: Rollup) -> None:
        self._view = view
        self._rollup = rollup
        self._by_extra: dict[Rollup, tuple[Groups, dict[str, Column], Ints, Ints]] = {}
        self._health: dict[str, Column] | None = None

    def _sums(self, extra: Rollup) -> tuple[Groups, dict[str, Column], Ints, Ints]:
        """Series, columns, and the sorted (series, counter) cells of this rollup and ``extra``."""
        found = self._by_extra.get(extra)
        if found is None:
            found = self._by_extra[extra] = self._add_up(extra)
        return found

    def _add_up(self, extra: Rollup) -> tuple[Groups, dict[str, Column], Ints, Ints]:
        view = self._view
        groups, numbers = view.picture.groups(self._rollup, extra)
        keys, values = view.keys, view.values
        if keys.size:
            series = numbers[keys >> COUNTER_BITS]
            kept = series >= 0
            keys, values = summed(
                (series[kept] << COUNTER_BITS) | (keys[kept] & COUNTER_MASK), values[kept]
            )
        # Whatever is met first here gets its number before columns are made.
        active = [(groups.of(segment), n) for segment, n in view.active.items() if not extra]
        columns: dict[str, Column] = {}
        if not extra:
            columns["active"] = _added_up(active, len(groups))
        plain = _matrix(keys, values, len(groups))
        for name, counter in view.counters.items():
            position = LAYOUT.positions[name]
            column = plain[:, position].astype(np.float64)
            if counter.wide:
                column = column * WIDE + plain[:, position + 1]
            columns[name] = column / counter.scale if counter.scale != 1 else column
        if extra:
            self._take_from_parents(groups, columns)
        columns["window_days"] = np.full(len(groups), view.window.size_ms / DAY)
        return groups, columns, keys, values

    def _take_from_parents(self, groups: Groups, columns: dict[str, Column]) -> None:
        """Counters without the extra label are those of the rollup's own series."""
        parents, parent_columns, _, _ = self._sums(())
        own = np.array([parents.find(key[: len(self._rollup)]) for key in groups.keys], np.int64)
        for name, column in parent_columns.items():
            if name not in LAYOUT.counters or not LAYOUT.counters[name].labels:
                columns[name] = column[own]

    def _of_customers(self) -> tuple[Groups, dict[str, Column]]:
        """Series and columns of the health scores."""
        picture = self._view.picture
        groups, numbers = picture.groups(self._rollup, ())
        if self._health is None:
            window, at = self._view.window, self._view.at
            parts = [
                share.health.sums(window, at, self._rollup, groups.find, numbers[of_rows])
                for share, of_rows in zip(picture.shares, picture.maps, strict=True)
            ]
            self._health = health_columns(parts, len(groups))
        return groups, self._health

    def samples(self, kpis: frozenset[str]) -> Iterator[Sample]:
        """The samples of the named KPIs."""
        for kpi in KPIS.values():
            if kpi.id in kpis:
                yield from self._samples_of(kpi)

    def _columns_of(self, kpi: Kpi) -> tuple[Groups, dict[str, Column], Ints, Ints]:
        """Series, columns and cells that a KPI is made of."""
        if kpi.topic == signal.NAME:
            none = np.empty(0, dtype=np.int64)
            return *self._of_customers(), none, none
        return self._sums(kpi.labels)

    def _samples_of(self, kpi: Kpi) -> Iterator[Sample]:
        groups, columns, keys, values = self._columns_of(kpi)
        yield from self._of_columns(kpi, groups, columns)
        if kpi.sketch:
            yield from self._quantiles(kpi, groups, keys, values)

    def _of_columns(
        self, kpi: Kpi, groups: Groups, columns: Mapping[str, Column]
    ) -> Iterator[Sample]:
        value, lower, upper, numerator, denominator = evaluated(kpi, columns)
        n = len(next(iter(columns.values())))
        parts = (_cells(c, n) for c in (value, lower, upper, numerator, denominator))
        for labels, v, lo, hi, num, den in zip(groups.labels[:n], *parts, strict=True):
            yield Sample(kpi.id, self._view.window.label, labels, v, lo, hi, num, den)

    def inputs(self, kpi: Kpi) -> list[Inputs]:
        """The series of a KPI, with the sums of the columns."""
        groups, columns, _, _ = self._columns_of(kpi)
        return [
            Inputs(sample, {name: float(column[number]) for name, column in columns.items()})
            for number, sample in enumerate(self._of_columns(kpi, groups, columns))
        ]

    def _quantiles(self, kpi: Kpi, groups: Groups, keys: Ints, values: Ints) -> Iterator[Sample]:
        base = LAYOUT.sketches[kpi.sketch or ""]
        counters = keys & COUNTER_MASK
        kept = (counters >= base) & (counters < base + quantiles.BUCKETS)
        series, buckets, counts = keys[kept] >> COUNTER_BITS, counters[kept] - base, values[kept]
        for q in quantiles.QUANTILES:
            found = quantiles.quantiles(series, buckets, counts, q)
            for number, value in zip(*(column.tolist() for column in found), strict=True):
                named = tuple(sorted((*groups.labels[number], ("quantile", str(q)))))
                yield Sample(
                    f"{kpi.id}_quantile",
                    self._view.window.label,
                    named,
                    value / kpi.sketch_scale,
                )


def _added_up(numbers: Sequence[tuple[int, int]], n: int) -> Column:
    column = np.zeros(n)
    for number, amount in numbers:
        if number >= 0:
            column[number] += amount
    return column


def _matrix(keys: Ints, values: Ints, height: int) -> NDArray[np.int64]:
    """The plain counters as a table, a row per series."""
    matrix = np.zeros((height, LAYOUT.width), dtype=np.int64)
    counters = keys & COUNTER_MASK
    plain = counters < LAYOUT.width
    matrix[keys[plain] >> COUNTER_BITS, counters[plain]] = values[plain]
    return matrix


def worked(kpi: Kpi, columns: Mapping[str, float]) -> tuple[float | None, ...]:
    """Value, lower and upper bound of one series with these numbers; columns left out are 0."""
    names = {*DERIVED, *(c.name for c in TOPICS[kpi.topic].counters)}
    full = {name: np.array([float(columns.get(name, 0.0))]) for name in names}
    value, lower, upper, _, _ = evaluated(kpi, full)
    return tuple(_cells(column, 1)[0] for column in (value, lower, upper))


def evaluated(
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
