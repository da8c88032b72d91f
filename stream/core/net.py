"""Counts by unit of time, in pieces: what has not changed is neither looked at nor told again.

A piece that is over counts by its total; only those at the edges of a span are looked into. Where
events come at a steady rate only the newest piece changes, and whatever is made of the others
stays.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, chain
from typing import Any, Final

from stream.core.ends_of_time import BEFORE_ALL

#: So many units are in a piece when another is begun. A larger one costs more each time that it is
#: told, more pieces cost more to keep; with half or twice as many it comes to about the same.
FULL: Final = 256


class Piece:
    """The counts of a span of time: from ``start`` on, up to where the next piece begins.

    Whoever reads ``total`` or ``before`` in pieces that others hold too must not change them.
    """

    __slots__ = ("_sums", "_units", "by_unit", "renewed", "start", "total")

    def __init__(self, start: int, by_unit: dict[int, int]) -> None:
        self.start = start
        self.by_unit = by_unit
        self.total = sum(by_unit.values())
        #: Whether it has changed, or has another place, since a reader last set this to False.
        self.renewed = True
        self._units: list[int] | None = None
        self._sums: list[int] = []

    def __len__(self) -> int:
        return len(self.by_unit)

    def count(self, unit: int, n: int) -> None:
        """Add n in a unit."""
        self.by_unit[unit] = self.by_unit.get(unit, 0) + n
        self.total += n
        self.renewed, self._units = True, None

    def before(self, unit: int) -> int:
        """The sum of the units before ``unit``."""
        if self._units is None:
            self._units = sorted(self.by_unit)
            self._sums = [0, *accumulate(map(self.by_unit.__getitem__, self._units))]
        return self._sums[bisect_left(self._units, unit)]

    def dump(self) -> Any:
        """As plain data; units count from the first one, since small numbers are short."""
        first = min(self.by_unit, default=0)
        units = [unit - first for unit in self.by_unit]
        return [self.start, first, units, list(self.by_unit.values())]

    @classmethod
    def load(cls, dumped: Any) -> Piece:
        """What ``dump`` gave."""
        start, first, units, counts = dumped
        return cls(start, {first + u: n for u, n in zip(units, counts, strict=True)})

    def halves(self) -> list[Piece]:
        """Two in its place, with half of the units each."""
        units = sorted(self.by_unit)
        middle = units[len(units) // 2]
        return [
            Piece(self.start, {u: self.by_unit[u] for u in units if u < middle}),
            Piece(middle, {u: self.by_unit[u] for u in units if u >= middle}),
        ]


class Net:
    """A number for each unit of time, zero where nothing was counted.

    ``pieces`` are in order of time, and the first one that is counted in begins before all units.
    Where some are missing, as where not all was told yet, their units count as zero.
    """

    __slots__ = ("_starts", "_totals", "pieces")

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces = list(pieces)
        self._starts = [piece.start for piece in self.pieces]
        #: The sums of the pieces before each.
        self._totals: list[int] | None = None

    @classmethod
    def of(cls, counts: Iterable[tuple[int, int]]) -> Net:
        """The sums of (unit, n)."""
        by_unit: dict[int, int] = {}
        for unit, n in counts:
            by_unit[unit] = by_unit.get(unit, 0) + n
        return cls(_cut(by_unit))

    def __len__(self) -> int:
        """How many units it holds."""
        return sum(map(len, self.pieces))

    def items(self) -> list[tuple[int, int]]:
        """(unit, n) of the units it holds."""
        return list(chain.from_iterable(piece.by_unit.items() for piece in self.pieces))

    @property
    def total(self) -> int:
        """The sum of all units."""
        return sum(piece.total for piece in self.pieces)

    @property
    def latest(self) -> int | None:
        """The last unit it holds, if any."""
        return next((max(p.by_unit) for p in reversed(self.pieces) if p.by_unit), None)

    def count(self, unit: int, n: int) -> None:
        """Add n in a unit."""
        place = bisect_right(self._starts, unit) - 1
        if place < 0:
            self._put([Piece(BEFORE_ALL, {}), *self.pieces])
            place = 0
        piece = self.pieces[place]
        if len(piece.by_unit) >= FULL and unit not in piece.by_unit:
            piece = self._with_room(place, unit)
        piece.count(unit, n)
        self._totals = None

    def _with_room(self, place: int, unit: int) -> Piece:
        """Where a unit that a full piece lacks is counted."""
        piece = self.pieces[place]
        if place == len(self.pieces) - 1 and unit > max(piece.by_unit):
            self._put([*self.pieces, Piece(unit, {})])
        elif len(piece) >= 2 * FULL:
            self._put([*self.pieces[:place], *piece.halves(), *self.pieces[place + 1 :]])
        return self.pieces[bisect_right(self._starts, unit) - 1]

    def between(self, first: int, end: int) -> int:
        """The sum of the units from ``first`` to before ``end``."""
        return self._before(end) - self._before(first)

    def _before(self, unit: int) -> int:
        place = bisect_right(self._starts, unit) - 1
        if place < 0:
            return 0
        if self._totals is None:
            self._totals = list(accumulate((piece.total for piece in self.pieces), initial=0))
        return self._totals[place] + self.pieces[place].before(unit)

    def forget_before(self, unit: int) -> bool:
        """Drop the units before ``unit``; whether there were any."""
        place = bisect_right(self._starts, unit) - 1
        if place < 0:
            return False
        kept = {u: n for u, n in self.pieces[place].by_unit.items() if u >= unit}
        if len(kept) == sum(map(len, self.pieces[: place + 1])):
            return False
        self._put([Piece(BEFORE_ALL, kept), *self.pieces[place + 1 :]])
        return True

    def join(self, joined: Callable[[int], int], end: int) -> bool:
        """Count units in others, none of which is later; whether anything has changed.

        Units from ``end`` on stay as they are, so pieces that begin there are not looked into.
        """
        place = bisect_left(self._starts, end)
        former: dict[int, int] = {}
        for piece in self.pieces[:place]:
            former |= piece.by_unit
        found: dict[int, int] = {}
        for unit, n in former.items():
            other = joined(unit) if unit < end else unit
            found[other] = found.get(other, 0) + n
        found = {unit: n for unit, n in found.items() if n}
        if found == former:
            return False
        # The first piece begins before all units, even where nothing is left in it.
        first = _cut(found) or [Piece(BEFORE_ALL, {})]
        self._put([*first, *self.pieces[place:]])
        return True

    def _put(self, pieces: list[Piece]) -> None:
        """Put pieces in the place of those there are; one whose place is another now is renewed."""
        for place, piece in enumerate(pieces):
            if place >= len(self.pieces) or self.pieces[place] is not piece:
                piece.renewed = True
        self.pieces = pieces
        self._starts = [piece.start for piece in pieces]
        self._totals = None


def _cut(by_unit: Mapping[int, int]) -> list[Piece]:
    """Full pieces, and one more for the rest."""
    units = sorted(by_unit)
    return [
        Piece(units[at] if at else BEFORE_ALL, {u: by_unit[u] for u in units[at : at + FULL]})
        for at in range(0, len(units), FULL)
    ]
