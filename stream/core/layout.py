"""Where each counter stands: names of counters and sketches to positions in a packed key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from stream.core import quantiles
from stream.core.cells import MAX_COUNTERS
from stream.core.kpi import Counter

#: What a fact adds: positions and integers in turn (position, n, position, n, …).
Contribution = tuple[int, ...]

#: A wide counter's high part counts in units of this.
WIDE: Final = 1 << 32


class Layout:
    """Positions of counters and sketches, in the order in which the catalogue names them.

    Positions are part of the stored state: ``names`` is kept with it, so that another layout is
    noticed.
    """

    def __init__(self, counters: Iterable[Counter], sketches: Iterable[str]) -> None:
        self.counters: dict[str, Counter] = {}
        self.positions: dict[str, int] = {}
        self.sketches: dict[str, int] = {}
        position = 0
        for counter in counters:
            self.counters[counter.name] = counter
            self.positions[counter.name] = position
            position += 2 if counter.wide else 1
        #: How many positions the plain counters take; sketches follow.
        self.width = position
        for sketch in sketches:
            self.sketches[sketch] = position
            position += quantiles.BUCKETS
        if position > MAX_COUNTERS:
            raise ValueError(f"the catalogue has {position} counters; {MAX_COUNTERS} fit")
        #: How many positions there are.
        self.size = position
        self.names = tuple(self.positions.items()) + tuple(self.sketches.items())

    def owners(self, of: Mapping[str, int]) -> list[int]:
        """For each position what ``of`` says of the counter or sketch that has it."""
        owners = [0] * self.size
        starts = sorted((position, name) for name, position in self.names)
        ends = [position for position, _ in starts[1:]] + [self.size]
        for (position, name), end in zip(starts, ends, strict=True):
            owners[position:end] = [of[name]] * (end - position)
        return owners

    def contribution(self, counts: Iterable[tuple[str, int]]) -> Contribution:
        """Turn named counts into positions; for a sketch the number is the value to count."""
        parts: list[int] = []
        for name, n in counts:
            if name in self.sketches:
                parts += (self.sketches[name] + quantiles.bucket(n), 1)
            elif self.counters[name].wide:
                position = self.positions[name]
                high, low = divmod(n, WIDE)
                if high:
                    parts += (position, high)
                parts += (position + 1, low)
            elif n:
                parts += (self.positions[name], n)
        return tuple(parts)
