"""Which event ids of a topic were accepted lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.core.integers import (
    NO_INTS,
    Ints,
    Mask,
    among,
    come_again,
    distinct,
    starts_of_runs,
)
from stream.core.settings import MINUTE
from stream.core.table import ABSENT, NO_KEY, Index, grown

#: The arrival of an id that is not known: long before ``BEFORE_ALL``, where clocks begin.
NEVER: Final = -(1 << 62)
_LEAST: Final = 1024
#: So many ids, of 16 bytes, go into a part of the changes.
PART_IDS: Final = 131_072
#: How much longer than what is in use the arrays are made.
_ROOM: Final = 5 / 4
#: Times from here to there after the base fit into 32 bits; or any.
_SHORTEST: Final = -(1 << 31)
_LONGEST: Final = (1 << 31) - 1
_ENDLESS: Final = 1 << 62


class SeenIds:
    """Ids by digest, each with the event time at its arrival, forgotten minute by minute.

    They stand in order of arrival, so that a minute is a range or a few. ``clock`` is the topic's
    event time: the greatest ``occurred_at`` of its accepted events.
    """

    def __init__(self, topic: str, dedupe_ms: int) -> None:
        self.topic = topic
        self.name = f"ids/{topic}"
        self._dedupe_ms = dedupe_ms
        self._index = Index()
        self._keys: Ints = np.zeros(_LEAST, dtype=np.int64)
        #: Times since ``_base``, in 32 bits as long as they are no further apart.
        self._clocks: NDArray[Any] = np.zeros(_LEAST, dtype=np.int32)
        self._base = 0
        self._longest = _LONGEST
        self._top = 0
        self._count = 0
        #: Where a minute's ids stand: [first, end) of each range.
        self.minutes: dict[int, list[tuple[int, int]]] = {}
        self._new: list[tuple[Ints, Ints]] = []
        self._touched: set[int] = set()

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """The bytes that the ids take."""
        return self._index.nbytes + self._keys.nbytes + self._clocks.nbytes

    def arrivals(self, keys: Ints) -> Ints:
        """The event time at the arrival of each id, ``NEVER`` where it is not remembered."""
        slots = self._index.find(self._keys, keys)
        return np.where(slots == ABSENT, NEVER, self._clocks[slots] + np.int64(self._base))

    def is_repeat(self, arrived: int, clock: int) -> bool:
        """Whether event time has not moved on by more than ``dedupe`` since an arrival."""
        return clock - arrived <= self._dedupe_ms

    def add(self, keys: Ints, clocks: Ints, may_repeat: Mask | None = None) -> None:
        """Remember accepted ids. Event time, and so ``clocks``, only moves on.

        ``may_repeat``: which may be known or come twice; None: any.
        """
        if not keys.size:
            return
        # Where events are sparse, most are forgotten before the last of a batch has come.
        kept = int(np.searchsorted(clocks, self._forgotten_before(int(clocks[-1])) * MINUTE))
        keys, clocks = keys[kept:], clocks[kept:]
        self._new.append((keys, clocks))
        self._file(keys, clocks, None if may_repeat is None else may_repeat[kept:])

    def _forgotten_before(self, clock: int) -> int:
        """The first minute that a duplicate can still fall into."""
        return (clock - self._dedupe_ms) // MINUTE

    def _file(self, keys: Ints, clocks: Ints, may_repeat: Mask | None = None) -> None:
        """Put ids in order of time behind the others."""
        if may_repeat is None:
            keys = self._without_older(keys)
        elif may_repeat.any():
            keys = keys.copy()
            keys[may_repeat] = self._without_older(keys[may_repeat])
        self._make_room(clocks)
        first, end = self._top, self._top + keys.size
        self._keys[first:end], self._clocks[first:end] = keys, clocks - self._base
        self._top = end
        known = keys != NO_KEY
        self._index.insert(keys[known], np.arange(first, end)[known])
        self._count += int(known.sum())
        minutes = clocks // MINUTE
        starts = np.flatnonzero(np.diff(minutes, prepend=minutes[0] - 1)).tolist()
        for start, stop in zip(starts, [*starts[1:], keys.size], strict=True):
            minute = int(minutes[start])
            ranges = self.minutes.setdefault(minute, [])
            if ranges and ranges[-1][1] == first + start:
                ranges[-1] = (ranges[-1][0], first + stop)
            else:
                ranges.append((first + start, first + stop))
            self._touched.add(minute)

    def _without_older(self, keys: Ints) -> Ints:
        """The keys, ``NO_KEY`` where one comes again behind; of those known the place is freed.

        An id that comes again after its time stands in one minute only, the latest.
        """
        slots = self._index.find(self._keys, keys)
        known = slots[slots != ABSENT]
        if known.size:
            self._count -= distinct(known).size
            self._keys[known] = NO_KEY
        twice = np.flatnonzero(among(keys, come_again(keys)))
        if twice.size:
            order = twice[np.argsort(keys[twice], kind="stable")]
            keys = keys.copy()
            keys[order[:-1][~starts_of_runs(keys[order])[1:]]] = NO_KEY
        return keys

    def _make_room(self, clocks: Ints) -> None:
        """See that there is room behind the others, and that the times can be held."""
        end = self._top + clocks.size
        span = int(clocks.min()) - self._base, int(clocks.max()) - self._base
        if end > self._keys.size or not _SHORTEST <= span[0] <= span[1] <= self._longest:
            self._close_gaps(clocks)
        if not self._index.has_room(clocks.size):
            self._index.rebuild(self._keys, np.flatnonzero(self._keys[: self._top]), clocks.size)

    def _close_gaps(self, clocks: Ints) -> None:
        """Move up what is remembered to where forgotten minutes were, with room for more ids."""
        kept = []
        end = 0
        for minute in sorted(self.minutes):
            places = np.concatenate([np.arange(a, b) for a, b in self.minutes[minute]] or [NO_INTS])
            places = places[self._keys[places] != NO_KEY]
            kept.append(places)
            self.minutes[minute] = [(end, end + places.size)]
            end += places.size
        order = np.concatenate(kept or [NO_INTS])
        times = self._clocks[order] + np.int64(self._base)
        first, last = (f(np.concatenate((times, clocks))) for f in (np.min, np.max))
        self._base = int(first)
        is_short = last - first <= _LONGEST
        self._longest = _LONGEST if is_short else _ENDLESS
        size = max(_LEAST, int((end + clocks.size) * _ROOM))
        moved = np.zeros(self._keys.size, dtype=np.int64)
        moved[order] = np.arange(end)
        self._index.move(moved)
        self._keys = grown(self._keys[order], size)
        offsets = (times - self._base).astype(np.int32 if is_short else np.int64)
        self._clocks = grown(offsets, size)
        self._top = end

    def changes(self) -> list[Any]:
        """The ids accepted since the last call and the event time at their arrival."""
        if not self._new:
            return []
        keys, clocks = map(np.concatenate, zip(*self._new, strict=True))
        self._new = []
        starts = range(0, keys.size, PART_IDS)
        return [[column[a : a + PART_IDS].tobytes() for column in (clocks, keys)] for a in starts]

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for minutes whose block already holds it."""
        clocks, keys = (np.frombuffer(part, dtype=np.int64) for part in change)
        minutes = clocks // MINUTE
        for minute in distinct(minutes).tolist():
            if is_newer(str(minute)):
                some = minutes == minute
                self._take_in(keys[some], clocks[some])

    def _take_in(self, keys: Ints, clocks: Ints) -> None:
        """File ids that were read, unless a later arrival is known."""
        newer = self.arrivals(keys) <= clocks
        if newer.any():
            self._file(keys[newer], clocks[newer])

    def touched(self) -> set[str]:
        """The minutes that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {str(minute) for minute in touched}

    def dump(self, block: str) -> Any:
        """The ids of a minute and the event time at their arrival."""
        ranges = self.minutes.get(int(block), [])
        keys = np.concatenate([self._keys[a:b] for a, b in ranges]) if ranges else NO_INTS
        offsets = np.concatenate([self._clocks[a:b] for a, b in ranges]) if ranges else NO_INTS
        known = keys != NO_KEY
        clocks = offsets[known] + np.int64(self._base)
        return [clocks.tobytes(), keys[known].tobytes()]

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped minute in place."""
        clocks, keys = (np.frombuffer(part, dtype=np.int64) for part in dumped)
        self.minutes.setdefault(int(block), [])
        self._take_in(keys, clocks)
        self._touched.discard(int(block))

    def expire(self, clock: int) -> Iterator[str]:
        """Forget minutes that no duplicate can fall into any more; yields their blocks."""
        limit = self._forgotten_before(clock)
        for minute in [m for m in self.minutes if m < limit]:
            for first, end in self.minutes.pop(minute):
                self._count -= int(np.count_nonzero(self._keys[first:end]))
                self._keys[first:end] = NO_KEY
            self._touched.discard(minute)
            yield str(minute)
