"""Which event ids of a topic were accepted lately."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stream.core.settings import MINUTE

ID_BYTES = 8


class SeenIds:
    """Ids by digest, each with the event time at its arrival, forgotten minute by minute.

    ``clock`` is the topic's event time: the greatest ``occurred_at`` of its accepted events.
    """

    def __init__(self, topic: str, dedupe_ms: int) -> None:
        self.name = f"ids/{topic}"
        self._dedupe_ms = dedupe_ms
        self._arrived: dict[bytes, int] = {}
        self._minutes: dict[int, list[bytes]] = {}
        self._pending: dict[int, list[bytes]] = {}
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
        pending = self._pending.get(clock)
        if pending is None:
            self._pending[clock] = [key]
        else:
            pending.append(key)

    def _settle(self) -> dict[int, list[bytes]]:
        pending, self._pending = self._pending, {}
        for clock, keys in pending.items():
            self._minutes.setdefault(clock // MINUTE, []).extend(keys)
            self._touched.add(clock // MINUTE)
        return pending

    def changes(self) -> Any:
        """The ids accepted since the last call, joined, by the event time at their arrival."""
        return [(clock, b"".join(keys)) for clock, keys in self._settle().items()] or None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for minutes whose block already holds it."""
        for clock, joined in change:
            if is_newer(str(clock // MINUTE)):
                for key in _split(joined):
                    self.add(key, clock)
        self._settle()

    def touched(self) -> set[str]:
        """The minutes that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {str(minute) for minute in touched}

    def dump(self, block: str) -> Any:
        """The ids of a minute, joined, by the event time at their arrival."""
        times: dict[int, list[bytes]] = {}
        for key in self._minutes.get(int(block), ()):
            arrived = self._arrived.get(key)
            if arrived is not None and arrived // MINUTE == int(block):
                times.setdefault(arrived, []).append(key)
        return [(clock, b"".join(keys)) for clock, keys in times.items()]

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped minute in place."""
        for clock, joined in dumped:
            for key in _split(joined):
                self._arrived[key] = clock
                self._minutes.setdefault(int(block), []).append(key)

    def expire(self, clock: int) -> Iterator[str]:
        """Forget minutes that no duplicate can fall into any more; yields their blocks."""
        limit = (clock - self._dedupe_ms) // MINUTE
        for minute in [m for m in self._minutes if m < limit]:
            for key in self._minutes.pop(minute):
                if self._arrived.get(key, clock) // MINUTE <= minute:
                    del self._arrived[key]
            self._touched.discard(minute)
            yield str(minute)


def _split(joined: bytes) -> Iterator[bytes]:
    return (joined[i : i + ID_BYTES] for i in range(0, len(joined), ID_BYTES))
