"""What facts add and take back, gathered until the next flush, and the windows that it goes to."""

from __future__ import annotations

import math
from collections import Counter as Multiset
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from stream.core.cells import LOW_MASK, Cells, Ints, pack, summed_by_time
from stream.core.layout import Contribution
from stream.core.settings import MINUTE, Window

#: Panes are kept this much longer than the window needs, for evaluations that lag behind.
GRACE_MS = MINUTE

#: Units of time, what is counted (see ``cells.pack``), and how many of it: parallel arrays.
Facts = tuple[Ints, Ints, Ints]


class Tally:
    """Contributions since the last ``drain``, by unit of time, row and contribution.

    Equal contributions are counted, not added one by one: a chunk has few different ones.
    """

    def __init__(self, windows: Sequence[Window]) -> None:
        #: The longest time of which all panes are multiples, in ms.
        self.unit_ms = reduce(math.gcd, (w.pane_ms for w in windows))
        self._added: list[tuple[int, int, Contribution]] = []
        self._taken: list[tuple[int, int, Contribution]] = []

    def add(self, at: int, row: int, contribution: Contribution) -> None:
        """Count a fact that happened at ``at`` (ms) in a segment's row."""
        self._added.append((at // self.unit_ms, row, contribution))

    def take_back(self, at: int, row: int, contribution: Contribution) -> None:
        """Undo what ``add`` did with the same arguments."""
        self._taken.append((at // self.unit_ms, row, contribution))

    def drain(self) -> Facts:
        """The sums since the last call, in order of time."""
        facts = Multiset(self._added)
        facts.subtract(self._taken)
        self._added, self._taken = [], []
        units: list[int] = []
        low: list[int] = []
        values: list[int] = []
        for (unit, row, contribution), times in facts.items():
            if times:
                parts = iter(contribution)
                for position in parts:
                    units.append(unit)
                    low.append(pack(row, position))
                    values.append(next(parts) * times)
        return summed_by_time(*(np.array(part, dtype=np.int64) for part in (units, low, values)))


class WindowStore:
    """The panes of all windows: a store of the state whose blocks are panes."""

    name = "panes"

    def __init__(self, windows: Sequence[Window], tally: Tally) -> None:
        self.windows = tuple(windows)
        self.cells = {w.label: Cells() for w in windows}
        #: Grows with every change, so that readers know when to look again.
        self.version = 0
        self._tally = tally
        self._touched: set[str] = set()
        self._pending: list[Facts] = []

    def fold(self, at: int) -> None:
        """Take what the tally holds into the panes that are still in a window at ``at``."""
        facts = self._tally.drain()
        if facts[0].size:
            self._pending.append(facts)
            self._add(facts, at, None)

    def _add(self, facts: Facts, at: int, is_newer: Callable[[str], bool] | None) -> None:
        units, low, values = facts
        self.version += 1
        for window in self.windows:
            panes = units * self._tally.unit_ms // window.pane_ms
            kept = panes >= window.first_pane(at - GRACE_MS)
            if is_newer is not None:
                for pane in np.unique(panes[kept]).tolist():
                    if not is_newer(f"{window.label}/{pane}"):
                        kept &= panes != pane
            self.cells[window.label].add(panes[kept], low[kept], values[kept])
            self._touched.update(f"{window.label}/{p}" for p in np.unique(panes[kept]).tolist())

    def changes(self) -> Any:
        """Everything folded since the last call, as bytes of times, keys and values."""
        if not self._pending:
            return None
        parts = [np.concatenate(part) for part in zip(*self._pending, strict=True)]
        self._pending = []
        return [part.tobytes() for part in summed_by_time(*parts)]

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for panes whose block already holds it."""
        units, low, values = (np.frombuffer(part, dtype=np.int64) for part in change)
        self._add((units, low, values), at, is_newer)

    def touched(self) -> set[str]:
        """The blocks that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def dump(self, block: str) -> Any:
        """A pane as bytes of its keys (without the pane) and values."""
        label, pane = block.rsplit("/", 1)
        keys, values = self.cells[label].between(int(pane), int(pane))
        return [(keys & LOW_MASK).astype(np.uint32).tobytes(), values.tobytes()]

    def load(self, block: str, dumped: Any) -> None:
        """Put a pane's dumped cells in place; panes of windows that are no more are left out."""
        label, pane = block.rsplit("/", 1)
        if label in self.cells:
            low = np.frombuffer(dumped[0], dtype=np.uint32).astype(np.int64)
            values = np.frombuffer(dumped[1], dtype=np.int64)
            self.cells[label].replace_slot(int(pane), low, values)
            self.version += 1

    def expire(self, at: int) -> Iterator[str]:
        """Forget the panes that no window needs at ``at``; yields their blocks."""
        for window in self.windows:
            for pane in self.cells[window.label].drop_before(window.first_pane(at - GRACE_MS)):
                self.version += 1
                yield f"{window.label}/{pane}"
