"""Series of a rollup: which segments add to which series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np

from stream.core.integers import Ints
from stream.core.series import LabelPairs, Sample
from stream.core.settings import Window
from stream.core.values import Segment

Rollup = tuple[str, ...]
#: What tells the series of a rollup apart: a value for each of its labels.
Key = tuple[str, ...]


class Groups:
    """The series of a rollup, numbered as they are met.

    ``extra`` names labels of a KPI beyond those of the rollup, such as the currency.
    """

    def __init__(self, dimensions: Sequence[str], rollup: Rollup, extra: Rollup = ()) -> None:
        names = (*dimensions, "currency")
        self._label_names = (*rollup, *extra)
        self._places = [names.index(name) for name in self._label_names]
        self.keys: list[Key] = []
        self.labels: list[LabelPairs] = []
        self._index: dict[Key, int] = {}
        if not self._label_names:
            # The total has a series before anything was counted.
            self.find(())

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, key: Key) -> int:
        """The number of a series."""
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = len(self.keys)
            self.keys.append(key)
            self.labels.append(tuple(sorted(zip(self._label_names, key, strict=True))))
        return found

    def of(self, segment: Segment) -> int:
        """The series that a segment adds to, −1 where it lacks a label."""
        key = []
        for place in self._places:
            value = segment[place]
            if value is None:
                return -1
            key.append(value)
        return self.find(tuple(key))

    def numbers(self, segments: Iterable[Segment | None]) -> Ints:
        """The series of each segment, −1 where there is none."""
        return np.array([-1 if s is None else self.of(s) for s in segments], dtype=np.int64)


class SeriesColumn:
    """The series of some rollups in some windows, one after another as a column has them.

    A column holds window after window, and of each window rollup after rollup. ``numbers`` has for
    each rollup the series of each segment, −1 where there is none.
    """

    def __init__(
        self, windows: Sequence[Window], groups: Sequence[Groups], numbers: Sequence[Ints]
    ) -> None:
        self.groups = groups
        #: Where the rollups begin within a window, and where the last one ends.
        self.starts = [0, *accumulate(map(len, groups))]
        #: How many series a window has.
        self.height = self.starts[-1]
        #: For each rollup the place of each segment within a window, ``height`` for none.
        self.of_segments = [
            np.where(series < 0, self.height, series + start)
            for series, start in zip(numbers, self.starts[:-1], strict=True)
        ]
        labels = [each for some in groups for each in some.labels]
        #: The labels and the window of each series.
        self.labels = labels * len(windows)
        self.windows = [w.label for w in windows for _ in labels]

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, samples: list[Sample], window: int) -> list[list[Sample]]:
        """The samples of each rollup in a window, of one sample for each series."""
        first = window * self.height
        return [samples[first + a : first + b] for a, b in pairwise(self.starts)]
