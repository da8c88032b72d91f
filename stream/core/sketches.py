"""From the cells of sketches to samples: the quantiles of a KPI for all windows and series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from stream.core import quantiles
from stream.core.catalogue import LAYOUT
from stream.core.cells import COUNTER_BITS, COUNTER_MASK, summed
from stream.core.groups import SeriesColumn
from stream.core.integers import Ints
from stream.core.kpi import Kpi
from stream.core.series import Sample, quantile_id
from stream.core.settings import Window

#: Numbers of series, buckets and counts, sorted.
Sketched = tuple[Ints, Ints, Ints]


def sketched(sketch: str, series: SeriesColumn, keys: Ints, values: Ints) -> Sketched:
    """The sketch of each series in one window, from its (segment, counter) cells, unsummed."""
    base = LAYOUT.sketches[sketch]
    counters = keys & COUNTER_MASK
    kept = (counters >= base) & (counters < base + quantiles.BUCKETS)
    keys, values = summed(keys[kept], values[kept])
    segments, buckets = keys >> COUNTER_BITS, (keys & COUNTER_MASK) - base
    found = []
    for of_segments in series.of_segments:
        places = of_segments[segments]
        inside = places < series.height
        of_rollup = (places[inside] << COUNTER_BITS) | buckets[inside]
        found.append(summed(of_rollup, values[inside]))
    keys, values = (np.concatenate(part) for part in zip(*found, strict=True))
    return keys >> COUNTER_BITS, keys & COUNTER_MASK, values


def quantile_samples(
    kpi: Kpi, series: SeriesColumn, windows: Sequence[Window], sketches: Sequence[Sketched]
) -> Iterator[list[list[list[Sample]]]]:
    """The samples of each quantile of a KPI, by window and rollup; a sketch for each window."""
    for q in quantiles.QUANTILES:
        name, text = quantile_id(kpi.id), str(q)
        labels = [
            tuple(sorted((*each, ("quantile", text)))) for each in series.labels[: series.height]
        ]
        found = []
        for window, sketch in zip(windows, sketches, strict=True):
            places, values = quantiles.quantiles(*sketch, q)
            samples = [
                Sample(name, window.label, labels[place], value / kpi.sketch_scale)
                for place, value in zip(places.tolist(), values.tolist(), strict=True)
            ]
            edges = np.searchsorted(places, series.starts).tolist()
            found.append([samples[a:b] for a, b in pairwise(edges)])
        yield found
