"""From shards' counters to samples: windows, rollups, KPIs and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.core.active import ActiveSums
from stream.core.catalogue import KPIS, LAYOUT, TOPICS, UNITS
from stream.core.cells import COUNTER_BITS, COUNTER_MASK, ROW_MASK, add_at
from stream.core.formulas import ROOM, roomy, times
from stream.core.groups import Groups, Rollup, SeriesColumn
from stream.core.health import Health, HealthSums, health_columns
from stream.core.integers import NO_INTS, Ints
from stream.core.kpi import Columns, Counter, Kpi, Whole
from stream.core.label_set import LabelSet
from stream.core.layout import WIDE
from stream.core.series import Evaluation, Sample
from stream.core.settings import Settings, Window
from stream.core.sketches import quantile_samples, sketched
from stream.core.tally import Tally
from stream.core.values import Segment
from stream.core.worked import cells, evaluated


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

    def allows(self, rollup: Rollup) -> bool:
        """Whether a rollup is wanted."""
        return self.rollups is None or rollup in self.rollups


@dataclass(frozen=True)
class Inputs:
    """A series of a KPI, and the sums of all columns of its topic, of which it is made."""

    sample: Sample
    columns: Mapping[str, float]


class _Picture:
    """The segments of all shares at an evaluation, and which series they add to."""

    def __init__(
        self, settings: Settings, shares: Sequence[Share], active: Sequence[Mapping[Segment, int]]
    ) -> None:
        self.settings = settings
        self.shares = shares
        #: The number of each segment.
        self.index: dict[Segment, int] = {}
        #: For each share the number of the segment of each of its rows (−1: no segment).
        self.maps: list[Ints] = []
        index = self.index
        for share in shares:
            numbers = [-1 if s is None else index.setdefault(s, len(index)) for s in share.rows]
            self.maps.append(np.array(numbers, dtype=np.int64))
        for segment in chain.from_iterable(active):
            index.setdefault(segment, len(index))
        self._groups: dict[tuple[Rollup, Rollup], tuple[Groups, Ints]] = {}

    def groups(self, rollup: Rollup, extra: Rollup) -> tuple[Groups, Ints]:
        """The series of a rollup, and the one of each segment; the last entry (−1) is for none."""
        found = self._groups.get((rollup, extra))
        if found is None:
            groups = Groups(self.settings.dimensions, rollup, extra)
            found = groups, np.append(groups.numbers(self.index), -1)
            self._groups[rollup, extra] = found
        return found

    def cells(self, window: Window, at: int) -> tuple[Ints, Ints]:
        """(segment, counter) cells of the window's panes in all shares, unsummed."""
        first, last = window.first_pane(at), at // window.pane_ms
        keys, values = [NO_INTS], [NO_INTS]
        for share, numbers in zip(self.shares, self.maps, strict=True):
            k, v = share.panes.between(window.label, first, last)
            if k.size:
                keys.append(
                    (numbers[(k >> COUNTER_BITS) & ROW_MASK] << COUNTER_BITS) | (k & COUNTER_MASK)
                )
                values.append(v)
        return np.concatenate(keys), np.concatenate(values)


class Evaluator:
    """Evaluates KPIs over the sum of shares. It keeps no state between calls.

    ``counted`` are the windows that the shards count for, where those of the settings are others:
    label sets count in units of time that all of them share.
    """

    def __init__(self, settings: Settings, counted: Sequence[Window] = ()) -> None:
        self.settings = settings
        self._unit_ms = Tally(counted or settings.windows).unit_ms

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
        sums, sets = kept or self.active_sums(), _label_sets(shares)
        windows: dict[Wanted, list[Window]] = {}
        for window in self.settings.windows:
            want = Wanted() if wanted is None else wanted.get(window.label)
            if want is not None:
                windows.setdefault(want, []).append(window)
        active = {
            window.label: sums.at_start(window, at, sets)
            for window in chain.from_iterable(windows.values())
        }
        picture = _Picture(self.settings, shares, list(active.values()))
        found: dict[str, list[Sample]] = {}
        for want, some in windows.items():
            rollups = [r for r in self.settings.rollups if want.allows(r)]
            if rollups:
                totals = _Totals(picture, at, some, rollups, want.kpis, active)
                found |= totals.samples(want.kpis)
        samples = chain.from_iterable(found.get(w.label, ()) for w in self.settings.windows)
        return Evaluation(at, tuple(samples))

    def inputs(
        self, shares: Sequence[Share], at: int, window: Window, rollup: Rollup, kpi: Kpi
    ) -> list[Inputs]:
        """All series of one KPI, window and rollup at time ``at``, with what they are made of.

        The rollup may be any set of the dimensions, whether the settings keep it or not.

        Raises:
            CounterOverflow: a sum has left the range of 64-bit integers.
        """
        active: dict[str, dict[Segment, int]] = {window.label: {}}
        if any(term.column == "active" for term in kpi.terms):
            sums = self.active_sums()
            active[window.label] = sums.at_start(window, at, _label_sets(shares))
        picture = _Picture(self.settings, shares, list(active.values()))
        totals = _Totals(picture, at, [window], [rollup], frozenset({kpi.id}), active)
        return totals.inputs(kpi)


def _label_sets(shares: Sequence[Share]) -> dict[bytes, list[LabelSet]]:
    """The parts of each label set."""
    sets: dict[bytes, list[LabelSet]] = {}
    for share in shares:
        for key, found in share.active.items():
            sets.setdefault(key, []).append(found)
    return sets


@cache
def _counters_of(kpis: frozenset[str]) -> tuple[Counter, ...]:
    """The counters of the topics that feed some KPIs."""
    topics = {KPIS[kpi].topic for kpi in kpis}
    return tuple(c for name, topic in TOPICS.items() if name in topics for c in topic.counters)


class _Totals:
    """The sums of some windows and rollups, and the samples that follow from them.

    All series stand in one column, so that a KPI's formula is worked out once.
    """

    def __init__(
        self,
        picture: _Picture,
        at: int,
        windows: Sequence[Window],
        rollups: Sequence[Rollup],
        kpis: frozenset[str],
        active: Mapping[str, Mapping[Segment, int]],
    ) -> None:
        self._picture = picture
        self._at = at
        self._windows = windows
        self._rollups = rollups
        self._active = [active[window.label] for window in windows]
        #: The counters that the wanted KPIs can ask for.
        self._counters = _counters_of(kpis)
        #: (segment, counter) cells by window.
        self._cells = [picture.cells(window, at) for window in windows]
        self._by_extra: dict[Rollup, tuple[SeriesColumn, dict[str, Whole]]] = {}
        self._health: tuple[SeriesColumn, dict[str, Whole]] | None = None

    def _series(self, extra: Rollup) -> SeriesColumn:
        found = [self._picture.groups(rollup, extra) for rollup in self._rollups]
        return SeriesColumn(self._windows, *zip(*found, strict=True))

    def _sums(self, extra: Rollup) -> tuple[SeriesColumn, dict[str, Whole]]:
        """Series and columns of the rollups and ``extra``."""
        found = self._by_extra.get(extra)
        if found is None:
            found = self._by_extra[extra] = self._add_up(extra)
        return found

    def _add_up(self, extra: Rollup) -> tuple[SeriesColumn, dict[str, Whole]]:
        series = self._series(extra)
        columns: dict[str, Whole] = {}
        if not extra:
            columns["active"] = self._active_column(series)
        # Counters without the extra label are those of the rollup's own series.
        own = [c for c in self._counters if not extra or c.labels]
        plain = self._added_up(series)
        for counter in own:
            column = roomy(plain[LAYOUT.positions[counter.name]])
            if counter.wide:
                column = times(roomy(plain[LAYOUT.highs[counter.name]]), WIDE) + column
            columns[counter.name] = column
        if extra:
            parents, of_parents = self._sums(())
            places = self._places_of_parents(series, parents)
            columns = {name: column[places] for name, column in of_parents.items()} | columns
        else:
            lengths = np.array([window.size_ms for window in self._windows], dtype=np.int64)
            columns["window_days"] = np.repeat(lengths, series.height)
        return series, columns

    def _added_up(self, series: SeriesColumn) -> NDArray[np.int64]:
        """The sums of the plain counters: a row per counter, a column per series."""
        height = series.height + 1
        sums = np.zeros((len(self._windows), LAYOUT.width, height), dtype=np.int64)
        for of_window, (keys, values) in zip(sums, self._cells, strict=True):
            counters = keys & COUNTER_MASK
            plain = counters < LAYOUT.width
            segments, counters, values = keys[plain] >> COUNTER_BITS, counters[plain], values[plain]
            for places in series.of_segments:
                add_at(of_window.reshape(-1), places[segments] + counters * height, values)
        # What belongs to no series stands behind the others.
        return sums[:, :, :-1].transpose(1, 0, 2).reshape(LAYOUT.width, -1)

    def _active_column(self, series: SeriesColumn) -> Whole:
        most = max(sum(map(abs, active.values())) for active in self._active)
        numbers = np.int64 if most < ROOM else object
        column = np.zeros((len(self._windows), series.height + 1), dtype=numbers)
        for of_window, active in zip(column, self._active, strict=True):
            segments = np.array([self._picture.index[s] for s in active], dtype=np.int64)
            amounts = np.array(list(active.values()), dtype=numbers)
            for places in series.of_segments:
                np.add.at(of_window, places[segments], amounts)
        return column[:, :-1].reshape(-1)

    def _places_of_parents(self, series: SeriesColumn, parents: SeriesColumn) -> Ints:
        """For each series that of the same rollup without the extra label."""
        places = [
            start + of_parent.find(key[: len(rollup)])
            for rollup, groups, of_parent, start in zip(
                self._rollups, series.groups, parents.groups, parents.starts[:-1], strict=True
            )
            for key in groups.keys
        ]
        firsts = np.arange(len(self._windows)) * parents.height
        return (firsts[:, None] + np.array(places, dtype=np.int64)).reshape(-1)

    def _of_customers(self) -> tuple[SeriesColumn, dict[str, Whole]]:
        """Series and columns of the health scores."""
        if self._health is None:
            found = list(self._health_sums())
            # They may have found series that no row has.
            series = self._series(())
            moved = [
                sums._replace(series=sums.series + number * series.height + series.starts[place])
                for number, place, sums in found
            ]
            self._health = series, health_columns(moved, len(series))
        return self._health

    def _health_sums(self) -> Iterator[tuple[int, int, HealthSums]]:
        """The sums of all shares, with the places of their window and rollup."""
        picture = self._picture
        for number, window in enumerate(self._windows):
            for place, rollup in enumerate(self._rollups):
                groups, numbers = picture.groups(rollup, ())
                for share, rows in zip(picture.shares, picture.maps, strict=True):
                    health = share.health
                    sums = health.sums(window, self._at, rollup, groups.find, numbers[rows])
                    yield number, place, sums

    def _of(self, kpi: Kpi) -> tuple[SeriesColumn, dict[str, Whole]]:
        """Series and columns that a KPI is made of."""
        return self._of_customers() if kpi.is_per_customer else self._sums(kpi.labels)

    def samples(self, kpis: frozenset[str]) -> dict[str, list[Sample]]:
        """The samples of the named KPIs by window."""
        of_kpis = [
            part
            for kpi in KPIS.values()
            if kpi.id in kpis
            for part in (self._values(kpi), *self._quantiles(kpi))
        ]
        return {
            window.label: [
                sample
                for rollup in zip(*(part[number] for part in of_kpis), strict=True)
                for sample in chain.from_iterable(rollup)
            ]
            for number, window in enumerate(self._windows)
        }

    def _values(self, kpi: Kpi) -> list[list[list[Sample]]]:
        """The samples of a KPI, by window and rollup."""
        series, columns = self._of(kpi)
        samples = _samples(kpi, series, columns)
        return [series.split(samples, number) for number in range(len(self._windows))]

    def inputs(self, kpi: Kpi) -> list[Inputs]:
        """The series of a KPI, with the sums of the columns."""
        series, columns = self._of(kpi)
        return [
            Inputs(sample, {name: float(c[number]) / UNITS[name] for name, c in columns.items()})
            for number, sample in enumerate(_samples(kpi, series, columns))
        ]

    def _quantiles(self, kpi: Kpi) -> Iterator[list[list[list[Sample]]]]:
        """The samples of each quantile of a KPI, by window and rollup."""
        if not kpi.sketch:
            return
        series, _ = self._sums(kpi.labels)
        sketches = [sketched(kpi.sketch, series, *cells) for cells in self._cells]
        yield from quantile_samples(kpi, series, self._windows, sketches)


def _samples(kpi: Kpi, series: SeriesColumn, columns: Columns) -> list[Sample]:
    n = len(series)
    parts = (cells(column, n) for column in evaluated(kpi, columns))
    return list(map(Sample, repeat(kpi.id), series.windows, series.labels, *parts))
