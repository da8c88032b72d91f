"""Where each counter stands: names of counters and sketches to positions in a packed key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from stream.core import quantiles
from stream.core.cells import MAX_COUNTERS
from stream.core.integers import Ints
from stream.core.kpi import Counter

#: What a fact adds: positions and integers in turn (position, n, position, n, …).
Contribution = tuple[int, ...]

#: What many facts add: a position, or one for each fact, and how much of it for each.
Parts = list[tuple[int | Ints, Ints]]

#: A wide counter's high part counts in units of this.
_WIDE_BITS: Final = 32
WIDE: Final = 1 << _WIDE_BITS
#: What follows a counter's name in that of its high part, where that has a place of its own.
_HIGH: Final = ".high"


class Layout:
    """Positions of counters and sketches.

    Positions are part of the stored state and must not move from release to release. So counters
    stand in the order of their ``since``, then in that of the catalogue, and sketches fill the end
    of the range, the first one last. ``places`` is kept with the state.
    """

    def __init__(self, counters: Iterable[Counter], sketches: Iterable[str]) -> None:
        self.counters: dict[str, Counter] = {}
        #: Where each counter stands; of a wide one that is its low part.
        self.positions: dict[str, int] = {}
        #: Where the high part of each wide counter stands.
        self.highs: dict[str, int] = {}
        self.sketches: dict[str, int] = {}
        position = 0
        counters = tuple(counters)
        for since in sorted({release for c in counters for release in (c.since, c.wide_since)}):
            for counter in counters:
                if counter.wide and (counter.wide_since or counter.since) == since:
                    self.highs[counter.name] = position
                    position += 1
                if counter.since == since:
                    self.counters[counter.name] = counter
                    self.positions[counter.name] = position
                    position += 1
        #: How many positions the plain counters take.
        self.width = position
        end = MAX_COUNTERS
        for sketch in sketches:
            end -= quantiles.BUCKETS
            self.sketches[sketch] = end
        if position > end:
            raise ValueError(f"the catalogue has more counters than the {MAX_COUNTERS} that fit")
        #: Positions are below this; some may belong to nothing.
        self.size = MAX_COUNTERS

    @property
    def places(self) -> dict[str, tuple[int, int, float]]:
        """Of each counter and sketch its position, how many it takes, and its scale or error.

        A high part that came later has an entry of its own.
        """
        counters: dict[str, tuple[int, int, float]] = {}
        for name, counter in self.counters.items():
            low, high = self.positions[name], self.highs.get(name)
            if high is None or counter.wide_since:
                counters[name] = (low, 1, float(counter.scale))
            else:
                counters[name] = (high, 2, float(counter.scale))
            if high is not None and counter.wide_since:
                counters[name + _HIGH] = (high, 1, float(counter.scale))
        sketches = {
            name: (position, quantiles.BUCKETS, quantiles.RELATIVE_ERROR)
            for name, position in self.sketches.items()
        }
        return counters | sketches

    def owners(self, of: Mapping[str, int]) -> list[int]:
        """For each position what ``of`` says of the counter or sketch that has it."""
        owners = [0] * self.size
        for name, (position, length, _) in self.places.items():
            owners[position : position + length] = [of[name.removesuffix(_HIGH)]] * length
        return owners

    def contribution(self, counts: Iterable[tuple[str, int]]) -> Contribution:
        """Turn named counts into positions; for a sketch the number is the value to count."""
        parts: list[int] = []
        for name, n in counts:
            if name in self.sketches:
                parts += (self.sketches[name] + quantiles.bucket(n), 1)
            elif name in self.highs:
                high, low = divmod(n, WIDE)
                if high:
                    parts += (self.highs[name], high)
                if low:
                    parts += (self.positions[name], low)
            elif n:
                parts += (self.positions[name], n)
        return tuple(parts)

    def parts(self, counts: Iterable[tuple[str, Ints]]) -> Parts:
        """``contribution`` of many facts: a column for each named count."""
        parts: Parts = []
        for name, n in counts:
            if name in self.sketches:
                positions = self.sketches[name] + quantiles.buckets(n)
                parts.append((positions, np.ones(n.size, dtype=np.int64)))
            elif name in self.highs:
                parts.append((self.highs[name], n >> _WIDE_BITS))
                parts.append((self.positions[name], n & (WIDE - 1)))
            else:
                parts.append((self.positions[name], n))
        return parts
