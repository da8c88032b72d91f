"""How far a shard has come: positions, clocks, and how many records had which outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from stream.core.ends_of_time import BEFORE_ALL
from stream.core.event import Outcome

_BLOCK: Final = "all"


class Progress:
    """A store of the state that is small, so it is kept as one absolute record."""

    name = "progress"

    def __init__(self) -> None:
        #: Next offset to read, by topic.
        self.positions: dict[str, int] = {}
        #: The greatest ``occurred_at`` of accepted events, by topic.
        self.clocks: dict[str, int] = {}
        self.outcomes: dict[str, dict[Outcome, int]] = {}
        #: Records that were gone from the source before they were read, by topic.
        self.gaps: dict[str, int] = {}
        #: Records before these positions had their dead letters written by a state that was
        #: replaced by this one, by topic.
        self.buried: dict[str, int] = {}
        #: The earliest ``occurred_at`` ever accepted.
        self.first: int | None = None
        #: The latest time that the shard has seen.
        self.now = BEFORE_ALL
        self._last: Any = None
        self._touched = False

    def count(self, topic: str, outcome: Outcome, n: int = 1) -> None:
        """Count records of an outcome."""
        outcomes = self.outcomes.setdefault(topic, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + n

    def _all(self) -> Any:
        return [
            dict(self.positions),
            dict(self.clocks),
            {topic: dict(counts) for topic, counts in self.outcomes.items()},
            dict(self.gaps),
            dict(self.buried),
            self.first,
            self.now,
        ]

    def changes(self) -> list[Any]:
        """Everything, where positions or counts have moved since the last call."""
        now = self._all()
        if self._last is not None and now[:-1] == self._last[:-1]:
            return []
        self._last = now
        self._touched = True
        return [now]

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, unless the block already holds it."""
        if is_newer(_BLOCK):
            self.load(_BLOCK, change)
            self._touched = True

    def touched(self) -> set[str]:
        """The one block, where anything moved since the last call."""
        touched, self._touched = self._touched, False
        return {_BLOCK} if touched else set()

    def dump(self, block: str) -> Any:
        """Everything."""
        return self._all()

    def load(self, block: str, dumped: Any) -> None:
        """Put a dump in place."""
        self.positions, self.clocks, self.outcomes, self.gaps, *rest = dumped
        self.buried, self.first, self.now = rest
        self._last = self._all()

    def expire(self, at: int) -> Iterator[str]:
        """Nothing of it expires."""
        return iter(())
