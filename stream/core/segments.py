"""Segments: what events' labels become, a bounded number of them.

A segment is the full set of an event's dimension values, with the currency of its amount where it
has one. Values beyond the limit of a dimension fold into ``other``; currencies never do, since sums
over several of them mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from stream.core.labels import Labels
from stream.core.settings import DAY, Settings

OTHER: Final = "other"

#: Values in the order of the dimensions (None: no such label), then the currency.
Segment = tuple[str | None, ...]
#: (segment, time when it was last accepted)
Sighting = tuple[Segment, int]


class Values:
    """The values that have a place of their own, per dimension; one decision for all shards.

    The values accepted first are kept. One that was not accepted again for the settings' memory
    frees its place.
    """

    def __init__(self, settings: Settings) -> None:
        self.dimensions = settings.dimensions
        self.generation = 0
        self._limit = settings.max_values_per_dimension
        self._memory_ms = settings.memory_ms
        self._kept: list[set[str]] = [set() for _ in self.dimensions]
        self._recheck_at = [0] * len(self.dimensions)
        self._sources: list[Callable[[], Iterable[Sighting]]] = []
        #: Where subscriptions with a full set of labels count, by the labels' key: whichever shard
        #: sees a set first decides for all.
        self.homes: dict[bytes, Segment] = {}

    def watch(self, sightings: Callable[[], Iterable[Sighting]]) -> None:
        """Register a shard's segments, whose last times tell which values are still in use."""
        self._sources.append(sightings)

    def unwatch(self, sightings: Callable[[], Iterable[Sighting]]) -> None:
        """Forget a shard that is gone."""
        self._sources = [s for s in self._sources if s is not sightings]

    def keep(self, segment: Segment) -> None:
        """Give the values of a recovered segment their places."""
        for kept, value in zip(self._kept, segment, strict=False):
            if value is not None and value != OTHER:
                kept.add(value)

    def free_unused(self, at: int) -> None:
        """Take their places from values that were not accepted for longer than the memory."""
        for dimension, kept in enumerate(self._kept):
            if kept:
                self._free(dimension, at)

    def fold(self, segment: Segment, at: int) -> Segment:
        """The segment with values that find no place replaced by ``other``."""
        folded = tuple(
            value if value is None or value == OTHER or self._admits(i, value, at) else OTHER
            for i, value in enumerate(segment[: len(self.dimensions)])
        )
        return (*folded, *segment[len(self.dimensions) :])

    def _admits(self, dimension: int, value: str, at: int) -> bool:
        kept = self._kept[dimension]
        if value in kept:
            return True
        if len(kept) >= self._limit and at > self._recheck_at[dimension]:
            self._free(dimension, at)
        if len(kept) >= self._limit:
            return False
        kept.add(value)
        return True

    def _free(self, dimension: int, at: int) -> None:
        last: dict[str, int] = {}
        for sightings in self._sources:
            for segment, seen in sightings():
                value = segment[dimension]
                if value is not None:
                    last[value] = max(seen, last.get(value, seen))
        kept = self._kept[dimension]
        stale = {v for v in kept if at - last.get(v, 0) > self._memory_ms}
        if stale:
            kept -= stale
            self.generation += 1
        oldest = min((last[v] for v in kept), default=at)
        self._recheck_at[dimension] = oldest + self._memory_ms


class Segments:
    """A shard's rows: segments by number, with the time when each was last accepted."""

    name = "segments"
    _BLOCK = "all"

    def __init__(self, settings: Settings, values: Values) -> None:
        self._dimensions = settings.dimensions
        self._limit = settings.max_segments
        # A row may go once nothing that it counted can still be in a window.
        self._keep_ms = settings.memory_ms + settings.cart_timeout_ms + DAY
        self._values = values
        self.rows: list[Segment | None] = []
        self._seen: list[int] = []
        self._index: dict[Segment, int] = {}
        self._cache: dict[tuple[Labels, str | None], int] = {}
        self._generation = values.generation
        self._changed: set[int] = set()
        self._touched = False
        #: Grows whenever a row gets another meaning.
        self.version = 0
        values.watch(self.sightings)

    def sightings(self) -> Iterator[Sighting]:
        """The segments and when they were last accepted."""
        return ((s, t) for s, t in zip(self.rows, self._seen, strict=True) if s is not None)

    def close(self) -> None:
        """Let go of the shared values."""
        self._values.unwatch(self.sightings)

    def row(self, labels: Labels, currency: str | None, at: int) -> int:
        """The row of an event accepted at time ``at``."""
        if self._generation != self._values.generation:
            self._cache.clear()
            self._generation = self._values.generation
        row = self._cache.get((labels, currency))
        if row is None:
            row = self._find(labels, currency, at)
        self._seen[row] = at
        self._changed.add(row)
        return row

    def _find(self, labels: Labels, currency: str | None, at: int) -> int:
        given = (*(labels.values.get(d) for d in self._dimensions), currency)
        segment = self._values.fold(given, at)
        row = self._index.get(segment)
        if row is None and len(self._index) >= self._limit:
            segment = tuple(None if v is None else OTHER for v in segment)
            row = self._index.get(segment)
        if row is None:
            row = self._allot(segment)
        # A folded value may find a place later, so only what stands as sent is remembered.
        if segment == given and len(self._cache) < 4 * self._limit:
            self._cache[labels, currency] = row
        return row

    def _allot(self, segment: Segment) -> int:
        row = self.rows.index(None) if len(self._index) < len(self.rows) else len(self.rows)
        if row == len(self.rows):
            self.rows.append(None)
            self._seen.append(0)
        self.rows[row] = segment
        self._index[segment] = row
        self.version += 1
        return row

    def changes(self) -> Any:
        """The rows accepted since the last call."""
        changed, self._changed = self._changed, set()
        self._touched = self._touched or bool(changed)
        return [(r, self.rows[r], self._seen[r]) for r in changed] or None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, unless the block already holds it."""
        if is_newer(self._BLOCK):
            self.load(self._BLOCK, change)
            self._touched = True

    def touched(self) -> set[str]:
        """The one block, where a row was accepted since the last call."""
        touched, self._touched = self._touched, False
        return {self._BLOCK} if touched else set()

    def dump(self, block: str) -> Any:
        """All rows."""
        return [(r, s, self._seen[r]) for r, s in enumerate(self.rows) if s is not None]

    def load(self, block: str, dumped: Any) -> None:
        """Put rows in place and give their values their places."""
        for row, segment, seen in dumped:
            while len(self.rows) <= row:
                self.rows.append(None)
                self._seen.append(0)
            former = self.rows[row]
            if former is not None:
                self._index.pop(former, None)
            self.rows[row] = tuple(segment)
            self._seen[row] = seen
            self._index[tuple(segment)] = row
            self._values.keep(tuple(segment))
        self.version += 1

    def recovered(self, at: int) -> None:
        """The rows were loaded: values that had lost their places by ``at`` get none back."""
        self._values.free_unused(at)

    def expire(self, at: int) -> Iterator[str]:
        """Free rows that nothing needs any more. The block stays."""
        for row, segment in enumerate(self.rows):
            if segment is not None and at - self._seen[row] > self._keep_ms:
                self.rows[row] = None
                del self._index[segment]
                self._touched = True
                self._cache.clear()
                self._changed.discard(row)
                self.version += 1
        return iter(())
