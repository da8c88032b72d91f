"""Which event ids of a topic were accepted lately."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from stream.core.settings import MINUTE

ID_BYTES = 8


class _Arrivals:
    """Ids in the order of their arrival, joined, and the event time at each arrival."""

    __slots__ = ("clocks", "ids")

    def __init__(self, clocks: Iterable[int] = (), ids: bytes = b"") -> None:
        self.clocks = array("q", clocks)
        self.ids = bytearray(ids)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        ids = bytes(self.ids)
        places = range(0, len(ids), ID_BYTES)
        return zip((ids[i : i + ID_BYTES] for i in places), self.clocks, strict=True)

    def extend(self, clocks: Iterable[int], ids: bytes) -> None:
        """Add later arrivals."""
        self.clocks.extend(clocks)
        self.ids += ids

    def dump(self) -> Any:
        """As plain data."""
        return [self.clocks.tobytes(), bytes(self.ids)]

    @classmethod
    def load(cls, dumped: Any) -> _Arrivals:
        """What ``dump`` gave."""
        clocks, ids = dumped
        arrivals = cls(ids=ids)
        arrivals.clocks.frombytes(clocks)
        return arrivals


class SeenIds:
    """Ids by digest, each with the event time at its arrival, forgotten minute by minute.

    ``clock`` is the topic's event time: the greatest ``occurred_at`` of its accepted events.
    """

    def __init__(self, topic: str, dedupe_ms: int) -> None:
        self.name = f"ids/{topic}"
        self._dedupe_ms = dedupe_ms
        self._arrived: dict[bytes, int] = {}
        self._minutes: dict[int, _Arrivals] = {}
        self._new_ids: list[bytes] = []
        self._new_clocks: list[int] = []
        self._touched: set[int] = set()

    def __len__(self) -> int:
        return len(self._arrived)

    def has(self, key: bytes, clock: int) -> bool:
        """Whether the id was accepted and event time has not moved on by more than ``dedupe``."""
        arrived = self._arrived.get(key)
        return arrived is not None and clock - arrived <= self._dedupe_ms

    def add(self, key: bytes, clock: int) -> None:
        """Remember an accepted id."""
        self._arrived[key] = clock
        self._new_ids.append(key)
        self._new_clocks.append(clock)

    def _settle(self) -> _Arrivals:
        """File what has arrived since the last call by its minute."""
        clocks, ids = self._new_clocks, b"".join(self._new_ids)
        self._new_clocks, self._new_ids = [], []
        first = 0
        # Event time only moves on, so a minute's arrivals follow each other.
        for minute, some in groupby(clock // MINUTE for clock in clocks):
            end = first + sum(1 for _ in some)
            self._minute(minute).extend(clocks[first:end], ids[first * ID_BYTES : end * ID_BYTES])
            self._touched.add(minute)
            first = end
        return _Arrivals(clocks, ids)

    def _minute(self, minute: int) -> _Arrivals:
        found = self._minutes.get(minute)
        if found is None:
            found = self._minutes[minute] = _Arrivals()
        return found

    def changes(self) -> Any:
        """The ids accepted since the last call and the event time at their arrival."""
        return self._settle().dump() if self._new_ids else None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for minutes whose block already holds it."""
        for key, clock in _Arrivals.load(change):
            # A block that was read before may know of a later arrival.
            if is_newer(str(clock // MINUTE)) and self._arrived.get(key, clock) <= clock:
                self.add(key, clock)
        self._settle()

    def touched(self) -> set[str]:
        """The minutes that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {str(minute) for minute in touched}

    def dump(self, block: str) -> Any:
        """The ids of a minute and the event time at their arrival."""
        return self._minute(int(block)).dump()

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped minute in place."""
        arrivals = self._minutes[int(block)] = _Arrivals.load(dumped)
        for key, clock in arrivals:
            # An id that came again after its time stands in two minutes; the later one counts.
            self._arrived[key] = max(clock, self._arrived.get(key, clock))

    def expire(self, clock: int) -> Iterator[str]:
        """Forget minutes that no duplicate can fall into any more; yields their blocks."""
        limit = (clock - self._dedupe_ms) // MINUTE
        for minute in [m for m in self._minutes if m < limit]:
            for key, arrived in self._minutes.pop(minute):
                if self._arrived.get(key) == arrived:
                    del self._arrived[key]
            self._touched.discard(minute)
            yield str(minute)
