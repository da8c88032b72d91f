"""What facts add and take back, gathered until the next flush, and the windows that it goes to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np

from stream.core.cells import COUNTER_BITS, Cells, summed_over_time
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.integers import NO_INTS, Ints, Mask, distinct
from stream.core.layout import Contribution, Parts
from stream.core.packed import Packed, packed, packed_steps, unpacked, unpacked_steps
from stream.core.settings import MINUTE, SECOND, Window

#: Panes are kept this much longer than the window needs, for evaluations that lag behind.
GRACE_MS = MINUTE

#: Windows that start empty do so at multiples of this (ms), or at finer ones where panes are.
_START_STEP: Final = 5 * SECOND

#: Facts of one window alone have its place, from 1, above so many bits of the unit of time.
_UNIT_BITS: Final = 48
_UNIT_HALF: Final = 1 << (_UNIT_BITS - 1)

#: So many sums, of 30 bytes at most, go into a part of the changes.
PART_CELLS: Final = 131_072

#: Units of time, what is counted (see ``cells.pack``), and how many of it: parallel arrays.
Facts = tuple[Ints, Ints, Ints]
#: A pane, or a column of them.
_Panes = TypeVar("_Panes", int, Ints)
_NO_FACTS: Facts = (NO_INTS,) * 3


class Tally:
    """Contributions since the last ``drain``, by unit of time, row and contribution."""

    def __init__(self, windows: Sequence[Window]) -> None:
        #: The longest time of which all panes are multiples, in ms.
        self._whole_ms = reduce(math.gcd, (w.pane_ms for w in windows))
        #: The same, also of the moments that are told apart.
        self.unit_ms = self._whole_ms
        self._windows = tuple(windows)
        self._places = {w.label: place for place, w in enumerate(windows, start=1)}
        #: Windows that hold what happened from so on (ms) only, by label.
        self.starts: dict[str, int] = {}
        #: The same windows themselves.
        self._younger: list[tuple[Window, int]] = []
        self._added = _Gathered()
        self._taken = _Gathered()
        self._columns: list[Facts] = []
        #: Those of one window alone.
        self._of_windows: list[Facts] = []

    def start_at(self, starts: Mapping[str, int]) -> None:
        """Let windows hold what happened from a time (ms) on only, by label.

        What happened before each of these moments is told apart from what came later. Nothing may
        have been counted since the last ``drain``.
        """
        self.starts = dict(starts)
        self._younger = [(w, starts[w.label]) for w in self._windows if w.label in starts]
        self.unit_ms = math.gcd(self._whole_ms, *starts.values())

    def holds(self, window: Window, moment: int) -> bool:
        """Whether a window holds what happened at a moment (ms)."""
        return moment >= self.starts.get(window.label, BEFORE_ALL)

    def next_start(self, moment: int) -> int:
        """When a window can start that knows nothing of what was before ``moment`` (ms)."""
        step = math.gcd(self._whole_ms, _START_STEP)
        return -(-moment // step) * step

    def add_columns(self, times: Ints, rows: Ints, parts: Parts) -> None:
        """Count facts that happened at ``times`` (ms) in segments' rows.

        ``parts`` are what they add: positions, or one for all, and how much of it.
        """
        self._columns += _in_columns(times // self.unit_ms, rows, parts)

    def add_columns_earlier(self, times: Ints, causes: Ints, rows: Ints, parts: Parts) -> None:
        """Count facts at ``times`` (ms) of what happened later, at ``causes``.

        A window holds them that holds their causes, also where it began in between; not if they
        are so far apart that it never shows both.
        """
        self.add_columns(times, rows, parts)
        for window, start in self._younger:
            some: Mask = (times < start) & (start <= causes)
            # A division costs more than all else here, and most windows began long ago.
            if not some.any():
                continue
            panes = times // window.pane_ms
            some &= causes // window.pane_ms - panes < window.panes
            if some.any():
                units = self._units_of(window, panes[some])
                own: Parts = [
                    (positions if isinstance(positions, int) else positions[some], values[some])
                    for positions, values in parts
                ]
                self._of_windows += _in_columns(units, rows[some], own)

    def add(self, at: int, row: int, contribution: Contribution) -> None:
        """Count a fact that happened at ``at`` (ms) in a segment's row."""
        added = self._added
        added.times.append(at)
        added.rows.append(row)
        added.contributions.append(contribution)

    def add_earlier(self, at: int, cause: int, row: int, contribution: Contribution) -> None:
        """Count a fact at ``at`` (ms) of what happened later, as ``add_columns_earlier`` does."""
        self.add(at, row, contribution)
        for window, start in self._younger:
            pane = at // window.pane_ms
            if at < start <= cause and cause // window.pane_ms - pane < window.panes:
                self.add_in_pane(window, pane, row, contribution, 1)

    def take_back(self, at: int, row: int, contribution: Contribution) -> None:
        """Undo what ``add`` did with the same arguments."""
        taken = self._taken
        taken.times.append(at)
        taken.rows.append(row)
        taken.contributions.append(contribution)

    def add_in_pane(
        self, window: Window, pane: int, row: int, contribution: Contribution, n: int
    ) -> None:
        """Count n times a fact of one window alone, in a pane of it, whenever the window began."""
        unit = self._units_of(window, pane)
        for position, value in zip(contribution[0::2], contribution[1::2], strict=True):
            low = (row << COUNTER_BITS) | position
            self._of_windows.append((np.array([unit]), np.array([low]), np.array([n * value])))

    def _units_of(self, window: Window, panes: _Panes) -> _Panes:
        """The units of time of facts of one window alone."""
        return panes * window.pane_ms // self.unit_ms + (self._places[window.label] << _UNIT_BITS)

    def drain(self) -> Facts:
        """The sums since the last call, in order of time."""
        added, self._added = self._added, _Gathered()
        taken, self._taken = self._taken, _Gathered()
        facts, self._columns = self._columns, []
        of_windows, self._of_windows = self._of_windows, []
        if added.times:
            facts.append(added.counters(self.unit_ms))
        if taken.times:
            units, low, values = taken.counters(self.unit_ms)
            facts.append((units, low, -values))
        # Their units are so far from the others' that all together would take longer to sort.
        return _joined([_summed(facts), _summed(of_windows)])


def _in_columns(units: Ints, rows: Ints, parts: Parts) -> Iterator[Facts]:
    """Facts of which each adds all of ``parts``, save for what is zero of these."""
    low = rows << COUNTER_BITS
    for positions, values in parts:
        some = values != 0
        if some.all():
            yield units, low | positions, values
        elif some.any():
            where = positions if isinstance(positions, int) else positions[some]
            yield units[some], low[some] | where, values[some]


def dumped_cells(low: Ints, values: Ints) -> list[Packed]:
    """Cells of a pane, in order, as they are written."""
    return [packed_steps(low), packed(values)]


def cells_of(dumped: Sequence[Any]) -> tuple[Ints, Ints]:
    """What a pane was dumped from."""
    low, values = dumped
    if isinstance(low, bytes):
        # Formats 4 and 5.
        keys = np.frombuffer(low, dtype=np.uint32).astype(np.int64)
        return keys, np.frombuffer(values, dtype=np.int64)
    return unpacked_steps(low), unpacked(values)


def _joined(facts: Sequence[Facts]) -> Facts:
    units, low, values = (np.concatenate(part) for part in zip(*facts, strict=True))
    return units, low, values


def _summed(facts: Sequence[Facts]) -> Facts:
    return summed_over_time(*_joined(facts)) if facts else _NO_FACTS


def _by_window(facts: Facts) -> dict[int, Facts]:
    """Facts of all windows, by 0, and those of one window alone, by its place from 1."""
    tagged, low, values = facts
    places = (tagged + _UNIT_HALF) >> _UNIT_BITS
    if not places.any():
        return {0: facts}
    found = {}
    for place in distinct(places).tolist():
        some = places == place
        found[place] = tagged[some] - (place << _UNIT_BITS), low[some], values[some]
    return found


def _by_moment(facts: Facts) -> tuple[Ints, Ints | slice, Ints, Ints]:
    """Units of time among which the facts' are, and which of them each fact has.

    What depends on time alone is the same for all facts of a moment, and these are mostly fewer.
    """
    units, low, values = facts
    if not units.size or (span := int(units.max() - (first := units.min())) + 1) > units.size:
        return units, slice(None), low, values
    return np.arange(first, first + span), units - first, low, values


class _Gathered:
    """Facts as three parallel lists, which cost less than a list of tuples."""

    __slots__ = ("contributions", "rows", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.rows: list[int] = []
        self.contributions: list[Contribution] = []

    def counters(self, unit_ms: int) -> Facts:
        """All that they add, counter by counter, not summed."""
        units = np.array(self.times, dtype=np.int64) // unit_ms
        rows = np.array(self.rows, dtype=np.int64)
        lengths = np.fromiter(map(len, self.contributions), dtype=np.int64, count=len(rows))
        parts = np.fromiter(
            chain.from_iterable(self.contributions), dtype=np.int64, count=int(lengths.sum())
        )
        counters = lengths // 2
        low = (np.repeat(rows, counters) << COUNTER_BITS) | parts[0::2]
        return np.repeat(units, counters), low, parts[1::2]


class WindowStore:
    """The panes of all windows: a store of the state whose blocks are panes."""

    name = "panes"

    def __init__(self, windows: Sequence[Window], tally: Tally) -> None:
        self.windows = tuple(windows)
        self.cells = {w.label: Cells() for w in windows}
        self._tally = tally
        #: Panes that have changed since a reader last emptied this.
        self.renewed: set[str] = set()
        self._touched: set[str] = set()
        self._pending: list[Facts] = []

    @property
    def starts(self) -> dict[str, int]:
        """Windows that were added to a state later hold what happened from so on (ms), by label."""
        return self._tally.starts

    def start_at(self, starts: Mapping[str, int]) -> None:
        """Let windows hold what happened from a time (ms) on only, by label.

        Whatever the other windows are or become, the same events are before that time: it is told
        apart from what is around it.
        """
        self._tally.start_at(starts)

    def between(self, window: str, first: int, last: int) -> tuple[Ints, Ints]:
        """(row, counter) keys and values of a window's panes ``first`` to ``last``, unsummed."""
        return self.cells[window].between(first, last)

    def pane(self, window: str, pane: int) -> tuple[Ints, Ints]:
        """What is counted in a pane (see ``cells.pack``), in order; to be read at once."""
        return self.cells[window].slot(pane)

    def fold(self, at: int) -> None:
        """Take what the tally holds into the panes that are still in a window at ``at``."""
        facts = self._tally.drain()
        if facts[0].size:
            self._pending.append(facts)
            self._add(facts, at, None)

    def _add(self, facts: Facts, at: int, is_newer: Callable[[str], bool] | None) -> None:
        """Add facts, those of one window alone and the others each as ``drain`` has sorted them."""
        parts = {place: _by_moment(some) for place, some in _by_window(facts).items()}
        for place, window in enumerate(self.windows, start=1):
            changed: set[int] = set()
            for of, (moments, which, low, values) in parts.items():
                if of not in (0, place):
                    continue
                times = moments * self._tally.unit_ms
                panes = times // window.pane_ms
                kept = self._kept(window, panes, at, is_newer)
                if not of and window.label in self.starts:
                    # Facts of one window alone are made for what it holds, wherever they stand.
                    kept &= times >= self.starts[window.label]
                slots = panes[which]
                if not kept.all():
                    some = kept[which]
                    slots, low, values = slots[some], low[some], values[some]
                changed.update(self.cells[window.label].add(slots, low, values))
            blocks = {f"{window.label}/{pane}" for pane in changed}
            self._touched.update(blocks)
            self.renewed.update(blocks)

    def _kept(
        self, window: Window, panes: Ints, at: int, is_newer: Callable[[str], bool] | None
    ) -> Mask:
        """In which panes facts count in the window."""
        kept: Mask = panes >= window.first_pane(at - GRACE_MS)
        if is_newer is not None:
            for pane in distinct(panes[kept]).tolist():
                if not is_newer(f"{window.label}/{pane}"):
                    kept &= panes != pane
        return kept

    def changes(self) -> list[Any]:
        """Everything folded since the last call: units of time, keys and values."""
        if not self._pending:
            return []
        pending, self._pending = self._pending, []
        facts = pending[0] if len(pending) == 1 else _summed(pending)
        found = []
        for start in range(0, facts[0].size, PART_CELLS):
            units, low, values = (column[start : start + PART_CELLS] for column in facts)
            found.append([packed_steps(units), packed_steps(low), packed(values)])
        return found

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for panes whose block already holds it."""
        if isinstance(change[0], bytes):
            # Formats 4 and 5; and earlier versions wrote them in another order.
            facts: Facts = summed_over_time(*(np.frombuffer(part, np.int64) for part in change))
        else:
            units, low, values = change
            facts = unpacked_steps(units), unpacked_steps(low), unpacked(values)
        self._add(facts, at, is_newer)

    def touched(self) -> set[str]:
        """The blocks that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return touched

    def dump(self, block: str) -> Any:
        """A pane's keys (without the pane) and values."""
        label, pane = block.rsplit("/", 1)
        return dumped_cells(*self.pane(label, int(pane)))

    def load(self, block: str, dumped: Any) -> None:
        """Put a pane's dumped cells in place; panes of windows that are no more are left out."""
        label, pane = block.rsplit("/", 1)
        if label in self.cells:
            self.cells[label].replace_slot(int(pane), *cells_of(dumped))

    def expire(self, at: int) -> Iterator[str]:
        """Forget the panes that no window needs at ``at``; yields their blocks."""
        for window in self.windows:
            for pane in self.cells[window.label].drop_before(window.first_pane(at - GRACE_MS)):
                self.renewed.add(f"{window.label}/{pane}")
                yield f"{window.label}/{pane}"
