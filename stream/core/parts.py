"""What one life of a shard has told of a KPI family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stream.core.cells import COUNTER_BITS, summed
from stream.core.contents import Contents
from stream.core.evaluate import Share
from stream.core.groups import Key, Rollup
from stream.core.health import HealthSums
from stream.core.integers import NO_INTS, Ints
from stream.core.label_set import Base, LabelSet
from stream.core.net import Net, Piece
from stream.core.settings import Settings, Window
from stream.core.sharing import ROWS, Beat, ShareRecord
from stream.core.tally import GRACE_MS, Tally
from stream.core.values import Segment

#: (row, counter) keys and values.
_Cells = tuple[Ints, Ints]


class PaneSums:
    """The panes of one window, and the sum of those asked for last, brought up to date by pane.

    A pane may come in several parts.
    """

    def __init__(self) -> None:
        self.panes: dict[tuple[int, int], _Cells] = {}
        self._summed: dict[tuple[int, int], _Cells] = {}
        self._sum: _Cells = (NO_INTS, NO_INTS)

    def between(self, first: int, last: int) -> _Cells:
        """Keys and values of the panes ``first`` to ``last``, summed."""
        wanted = {part: cells for part, cells in self.panes.items() if first <= part[0] <= last}
        gone = [cells for pane, cells in self._summed.items() if wanted.get(pane) is not cells]
        new = [cells for pane, cells in wanted.items() if self._summed.get(pane) is not cells]
        if len(gone) + len(new) > len(wanted):
            self._sum, gone, new = (NO_INTS, NO_INTS), [], list(wanted.values())
        if gone or new:
            keys, values = self._sum
            self._sum = summed(
                np.concatenate([keys, *(k for k, _ in new), *(k for k, _ in gone)]),
                np.concatenate([values, *(v for _, v in new), *(-v for _, v in gone)]),
            )
        self._summed = wanted
        return self._sum


class _Told:
    """What was told of a label set: the set without its counts, and pieces of those by number."""

    def __init__(self) -> None:
        self.head: tuple[bytes, Segment, int, dict[int, Base]] | None = None
        self.pieces: dict[int, Piece] = {}

    def label_set(self) -> tuple[bytes, LabelSet] | None:
        """A new one each time, since none may change; pieces that are the same are shared."""
        if self.head is None:
            return None
        key, segment, since, bases = self.head
        net = Net(sorted(self.pieces.values(), key=lambda piece: piece.start))
        return key, LabelSet(segment, since, net, bases)


class Part:
    """What one life of a shard has told of a family."""

    def __init__(self, life: str, settings: Settings) -> None:
        self.life = life
        self.beat: Beat | None = None
        #: Whether that was left in a log that may have lost what came after it.
        self.is_left = False
        #: Until when (ms) nothing may be asked of it, since it was far ahead: while it waits for
        #: its time, it tells nothing more of the health of panes that are over by that.
        self.unsettled_to = 0
        self.rows: list[Segment | None] = []
        self._active: dict[bytes, LabelSet] = {}
        self._told: dict[str, _Told] = {}
        #: Of which label sets something was told since the sum was last asked for.
        self._renewed: set[str] = set()
        #: By window, slot and part: the pane, and for each rollup its series.
        self._health: dict[tuple[str, str, int], tuple[int, list[Any]]] = {}
        self._settings = settings
        self._windows = {w.label: w for w in settings.windows}
        self._panes = {w.label: PaneSums() for w in settings.windows}
        #: The pane of each slot and part.
        self._slots: dict[tuple[str, str, int], int] = {}
        self._labels: dict[str, bytes] = {}
        self._unit_ms = Tally(settings.windows).unit_ms
        #: The highest row that a pane has told something of.
        self._row = -1
        self._contents = Contents()

    @property
    def is_cut(self) -> bool:
        """Whether the log has not all that was told, as where it was made anew meanwhile."""
        return self.beat is not None and self.beat.mark != self._contents.mark

    @property
    def lacks_rows(self) -> bool:
        """Whether something is counted in rows that were not told."""
        return self._row >= len(self.rows)

    def share(self) -> Share:
        """What it contributes to the totals."""
        for name in self._renewed:
            self._renew(name)
        self._renewed.clear()
        return Share(self, self.rows, self._active, self)

    def between(self, window: str, first: int, last: int) -> tuple[Ints, Ints]:
        """(row, counter) keys and values of a window's panes ``first`` to ``last``."""
        return self._panes[window].between(first, last)

    def sums(
        self, window: Window, at: int, rollup: Rollup, find: Callable[[Key], int], series: Ints
    ) -> HealthSums:
        """The sums of health scores for a rollup in a window at time ``at``."""
        pane, place = at // window.pane_ms, self._settings.rollups.index(rollup)
        told = [told for (label, *_), told in self._health.items() if label == window.label]
        # Where the pane was not told (yet), the one before it is the best that is known.
        known = max((t[0] for t in told if t[0] <= pane), default=None)
        rows = [row for of, rollups in told if of == known for row in rollups[place]]
        numbers = [find(tuple(key)) for key, *_ in rows]
        columns = list(zip(*(rest for _, *rest in rows), strict=True)) or [(), (), ()]
        return HealthSums(*(np.array(c, dtype=np.int64) for c in (numbers, *columns)))

    def take(self, record: ShareRecord, kind: str, place: Sequence[Any], data: Any) -> None:
        """Take in a record that was ``checked``; no data: what it held is gone."""
        self._contents.note(*record)
        if kind == "rows":
            self._take_rows(place[0], data or [])
        elif kind == "pane" and place[0] in self._panes:
            self._take_pane(place[0], place[1], place[2], data)
        elif kind == "active":
            self._take_head(place[0], data)
        elif kind == "piece":
            self._take_piece(place[0], place[1], data)
        elif kind == "health" and place[0] in self._panes:
            self._take_health(place[0], place[1], place[2], data)

    def _take_rows(self, block: int, rows: Sequence[Segment | None]) -> None:
        first = block * ROWS
        self.rows.extend([None] * (first + len(rows) - len(self.rows)))
        self.rows[first : first + len(rows)] = rows

    def _take_pane(self, label: str, slot: str, part: int, data: Any) -> None:
        panes = self._panes[label].panes
        former = self._slots.pop((label, slot, part), None)
        if former is not None:
            panes.pop((former, part), None)
        if data is not None:
            pane, keys, values = data
            panes[pane, part] = keys, values
            if keys.size:
                self._row = max(self._row, int(keys.max()) >> COUNTER_BITS)
            self._slots[label, slot, part] = pane

    def _take_health(self, label: str, slot: str, part: int, data: Any) -> None:
        if data is None:
            self._health.pop((label, slot, part), None)
        else:
            self._health[label, slot, part] = data

    def _take_head(self, name: str, data: Any) -> None:
        told = self._told.setdefault(name, _Told())
        told.head = None
        if data is not None:
            key, segment, since, bases = data
            by_unit = {base[0] // self._unit_ms: base for base in bases}
            told.head = key, segment, since, by_unit
        self._renewed.add(name)

    def _take_piece(self, name: str, number: int, piece: Piece | None) -> None:
        pieces = self._told.setdefault(name, _Told()).pieces
        if piece is None:
            pieces.pop(number, None)
        else:
            pieces[number] = piece
        self._renewed.add(name)

    def _renew(self, name: str) -> None:
        """Put a label set as it was told last in the place of what it was before."""
        told = self._told[name]
        former = self._labels.pop(name, None)
        if former is not None:
            self._active.pop(former, None)
        found = told.label_set()
        if found is not None:
            self._labels[name], self._active[found[0]] = found[0], found[1]
        elif not told.pieces:
            del self._told[name]

    def expire(self, at: int) -> None:
        """Forget the panes that no window needs at ``at``."""
        for label, sums in self._panes.items():
            first = self._windows[label].first_pane(at - GRACE_MS)
            for part in [p for p in sums.panes if p[0] < first]:
                del sums.panes[part]
