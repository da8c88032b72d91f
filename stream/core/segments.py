"""Segments: what events' labels become, a bounded number of them.

A segment is the full set of an event's dimension values, with the currency of its amount where it
has one. Values beyond the limit of a dimension fold into ``other``, and beyond the limit of
segments those of all dimensions; currencies never do, since sums over several mean nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress, pairwise, repeat
from typing import Any, Final

import numpy as np

from stream.core.cells import MAX_ROWS
from stream.core.ends_of_time import AFTER_ALL, BEFORE_ALL
from stream.core.integers import NO_INTS, Ints, Mask, among, distinct
from stream.core.labels import MAX_ENTRIES, LabelColumn, Labels
from stream.core.packed import packed_steps, unpacked_steps
from stream.core.settings import DAY, Settings
from stream.core.table import grown
from stream.core.values import OTHER, Segment, Sighting, Values, text_bytes

#: So many segments beyond their limit may hold ``other`` in a currency, so that the sums of each
#: stay whole; about 180 are in use in the world. Amounts in further ones are in no sum.
CURRENCY_ROOM: Final = 256
#: Rows that have come to mean the same, as where a dimension was removed, are one segment; so that
#: they are bounded too, there may be so many times as many rows as ``max_segments``, or where more
#: were recovered, those and a row for each segment that there is room for.
ROWS_PER_SEGMENT: Final = 2
#: More rows than these have no number; those of ``other`` come beyond.
_MOST_ROWS: Final = MAX_ROWS - CURRENCY_ROOM - 2**MAX_ENTRIES
_LEAST: Final = 64
#: So many rows stand in a block: with labels of any text it fits into a record.
BLOCK_ROWS: Final = 2_048
#: The one block of all rows that formats up to 7 had.
FORMER_BLOCK: Final = "all"
#: A part of the changes has the text of so many bytes, and 20 bytes for each row that was accepted.
PART_BYTES: Final = 4 * 1024 * 1024
#: Labels, with the currency where there is one.
_Key = Labels | tuple[Labels, str]


def _key(labels: Labels, currency: str | None) -> _Key:
    return labels if currency is None else (labels, currency)


class Segments:
    """A shard's rows: segments by number, with the time when each was last accepted.

    Two rows may have the same segment, where a value was turned down after it had counted, or where
    what told them apart is no dimension any more.
    """

    name = "segments"

    def __init__(self, settings: Settings, values: Values) -> None:
        self._dimensions = settings.dimensions
        self._limit = settings.max_segments
        self._most_rows = min(ROWS_PER_SEGMENT * self._limit, _MOST_ROWS)
        # A row may go once nothing that it counted can still be in a window.
        self._keep_ms = settings.memory_ms + settings.cart_timeout_ms + DAY
        # Values may have lost their places after so long.
        self._stale_ms = settings.memory_ms
        self._values = values
        self.rows: list[Segment | None] = []
        #: When each row was last accepted, and whether since the last ``changes``: with room.
        self._seen: Ints = np.zeros(_LEAST, dtype=np.int64)
        self._changed: Mask = np.zeros(_LEAST, dtype=bool)
        self._free: list[int] = []
        #: No row can be freed up to this time (ms).
        self._none_over_until = BEFORE_ALL
        #: Whether a combination has found no room in this process.
        self.is_full = False
        self._index: dict[Segment, int] = {}
        self._cache: dict[_Key, int] = {}
        #: What the cache says of labels without a currency, −1 where it was not asked or does not
        #: know, by their place in the sets of the batch that was looked at last.
        self._by_number: Ints = NO_INTS
        self._sets: Sequence[Labels] = ()
        #: The cache for labels whose values or whose combination found no place, for a time.
        self._folded: dict[_Key, int] = {}
        #: Places may become free, or have to be asked for again, after this (ms).
        self._folded_until = AFTER_ALL
        self._recoveries = values.recoveries
        self._generation = values.generation
        #: Grows whenever a row gets another meaning.
        self.version = 0
        #: Rows that got another meaning since a reader last emptied this.
        self.renamed: set[int] = set()
        #: The same since the last ``changes``.
        self._unwritten: set[int] = set()
        #: Blocks that have changed since they were asked for last.
        self._touched: set[int] = set()
        values.watch(self.sightings)

    def __len__(self) -> int:
        """How many segments have a row, or several."""
        return len(self._index)

    def room(self) -> int:
        """How many more segments can have a row of their own."""
        return max(0, self._room())

    def _room(self) -> int:
        """The same; it is negative where currencies have taken more."""
        rows = len(self.rows) - len(self._free)
        return min(self._limit - len(self), self._most_rows - rows)

    def may_fill(self, segments: int, until: int) -> bool:
        """Whether what finds room may change as so many new segments come by ``until`` (ms)."""
        room = self._room()
        return room <= segments if room > 0 else self._may_free(until)

    def _may_free(self, at: int) -> bool:
        """Whether a row is over at a time (ms), which is looked up where it is not known."""
        if at <= self._none_over_until:
            return False
        used = np.ones(len(self.rows), dtype=bool)
        used[self._free] = False
        # Rows to come are seen no earlier than those that there were.
        seen = self._seen[: used.size]
        oldest = seen[used].min(initial=seen.max(initial=BEFORE_ALL))
        self._none_over_until = int(oldest) + self._keep_ms
        return at > self._none_over_until

    def _free_over(self, at: int) -> None:
        """Free rows that are over, so that room does not depend on when somebody tidies up."""
        if self._may_free(at):
            list(self.expire(at))
            self._may_free(at)

    def sightings(self) -> Iterator[Sighting]:
        """The segments and when they were last accepted."""
        seen = self._seen[: len(self.rows)].tolist()
        return ((s, t) for s, t in zip(self.rows, seen, strict=True) if s is not None)

    def close(self) -> None:
        """Let go of the shared values."""
        self._values.unwatch(self.sightings)

    def row(self, labels: Labels, currency: str | None, at: int) -> int:
        """The row of an event accepted at time ``at``."""
        if self._generation != self._values.generation:
            self.settle()
        key = _key(labels, currency)
        row = self._cache.get(key)
        if row is None and self._folded and self._folded_holds(at):
            row = self._folded.get(key)
        if row is None or at - self._seen[row] > self._stale_ms:
            row = self._find(labels, currency, at)
        self._seen[row] = at
        self._changed[row] = True
        return row

    def settle(self) -> None:
        """Look again where values count, if any has lost its place since the last look.

        Where a registry decides, rows of values that it has turned down become ``other``.
        """
        if self._generation == self._values.generation:
            return
        self._generation = self._values.generation
        self._forget_cached()
        if self._values.shared:
            for row in np.flatnonzero(self._changed).tolist():
                segment = self.rows[row]
                if segment is not None and (folded := self._values.refolded(segment)) != segment:
                    self._rename(row, folded)

    def known_rows(self, labels: LabelColumn, currencies: Mapping[int, str], until: int) -> Ints:
        """The rows of many events, up to time ``until``; ``currencies`` by place.

        −1 for those that are to be found by ``row``, in their turn.
        """
        count = len(labels)
        if self._generation != self._values.generation:
            return np.full(count, -1)
        rows = self._cached_rows(labels, currencies)
        lost = rows < 0
        if self._folded and lost.any() and self._folded_holds(until):
            places = np.flatnonzero(lost).tolist()
            unknown = (_key(labels[place], currencies.get(place)) for place in places)
            folded = np.fromiter(map(self._folded.get, unknown, repeat(-1)), np.int64, len(places))
            # What is found for the first time may take a place away that a folded value had.
            if (folded >= 0).all():
                rows[lost] = folded
        lost = (rows < 0) | (until - self._seen[rows] > self._stale_ms)
        if lost.any():
            given = (self._given(labels[place]) for place in np.flatnonzero(lost).tolist())
            if self._values.may_free(given, until):
                return np.full(count, -1)
            rows[lost] = -1
        return rows

    def _cached_rows(self, labels: LabelColumn, currencies: Mapping[int, str]) -> Ints:
        """What the cache says of many; −1 of those that it does not know."""
        numbers, sets = labels.numbers, labels.sets
        if self._sets is not sets:
            self._sets, self._by_number = sets, NO_INTS
        if (size := self._by_number.size) < len(sets):
            more = np.full(len(sets) + len(sets) // 2 - size, -1)
            self._by_number = np.concatenate((self._by_number, more))
        rows: Ints = self._by_number.take(numbers)
        lost = rows < 0
        if currencies:
            places = np.fromiter(currencies, np.int64, len(currencies))
            plain = map(sets.__getitem__, numbers[places].tolist())
            keys = zip(plain, currencies.values(), strict=True)
            rows[places] = np.fromiter(map(self._cache.get, keys, repeat(-1)), np.int64)
            lost[places] = False
        if lost.any():
            asked = distinct(numbers[lost])
            found = (self._cache.get(sets[number], -1) for number in asked.tolist())
            self._by_number[asked] = np.fromiter(found, np.int64, asked.size)
            rows[lost] = self._by_number.take(numbers[lost])
        return rows

    def _folded_holds(self, until: int) -> bool:
        """Whether what was remembered of folded labels holds; it is forgotten where it does not."""
        if until > self._folded_until or self._recoveries != self._values.recoveries:
            self._forget_folded()
            return False
        return True

    def saw(self, rows: Ints, at: Ints) -> None:
        """Note that events of ``known_rows`` were accepted at times that only move on."""
        np.maximum.at(self._seen, rows, at)
        self._changed[rows] = True

    def _given(self, labels: Labels) -> Segment:
        """The values of the dimensions."""
        return tuple(map(labels.values.get, self._dimensions))

    def _find(self, labels: Labels, currency: str | None, at: int) -> int:
        given = (*self._given(labels), currency)
        segment = self._values.fold(given, at)
        row = self._index.get(segment)
        stands_until = AFTER_ALL
        if self._room() <= 0 and (row is None or at - self._seen[row] > self._keep_ms):
            self._free_over(at)
            row = self._index.get(segment)
            if row is None and self._room() <= 0:
                self.is_full = True
                segment = self._without_room(segment)
                row = self._index.get(segment)
                stands_until = self._none_over_until
        if row is None:
            row = self._allot()
            self._rename(row, segment)
        if segment == given:
            self._remember(self._cache, labels, currency, row)
        elif at <= (until := min(stands_until, self._values.stands_until(given))):
            # A folded value may find a place later, so this is not remembered for good.
            if self._recoveries != self._values.recoveries:
                self._forget_folded()
            self._remember(self._folded, labels, currency, row)
            self._folded_until = min(self._folded_until, until)
        return row

    def placed(self, labels: Labels, row: int, at: int | None = None) -> Segment | None:
        """Where events of these labels count that have no currency; ``row`` is that of any.

        None where the row is of nothing any more. ``at``: when such an event came, if it is to find
        the room that there is by then.
        """
        segment = self.rows[row]
        if segment is None or segment[-1] is None:
            return segment
        # With the currency it may have found another place, or none.
        plain = self._values.refolded((*self._given(labels), None))
        if plain not in self._index and self._room() <= 0 and at is not None:
            self._free_over(at)
        if plain in self._index or self._room() > 0:
            return plain
        return self._without_room(plain)

    def _without_room(self, segment: Segment) -> Segment:
        """What a segment beyond the limit counts as."""
        values = tuple(None if v is None else OTHER for v in segment[:-1])
        folded = (*values, segment[-1])
        if folded in self._index or self._room() > -CURRENCY_ROOM:
            return folded
        return (*values, None)

    def _remember(
        self, cache: dict[_Key, int], labels: Labels, currency: str | None, row: int
    ) -> None:
        if len(cache) < 4 * self._limit and not labels.large:
            cache[_key(labels, currency)] = row

    def _forget_cached(self) -> None:
        self._cache.clear()
        self._by_number.fill(-1)
        self._forget_folded()

    def _forget_folded(self) -> None:
        self._folded.clear()
        self._folded_until = AFTER_ALL
        self._recoveries = self._values.recoveries

    def _allot(self) -> int:
        return self._free.pop() if self._free else self._grow()

    def _grow(self) -> int:
        self.rows.append(None)
        if len(self.rows) > self._seen.size:
            self._seen = grown(self._seen, 2 * self._seen.size)
            self._changed = grown(self._changed, self._seen.size)
        return len(self.rows) - 1

    def _rename(self, row: int, segment: Segment | None) -> None:
        former = self.rows[row]
        if former is not None and self._index.get(former) == row:
            del self._index[former]
        self.rows[row] = segment
        if segment is not None:
            self._index.setdefault(segment, row)
        self.version += 1
        self.renamed.add(row)
        self._unwritten.add(row)

    def folded(self, segment: Segment, at: int) -> Segment:
        """The segment with values that find no place replaced by ``other``."""
        return self._values.fold(segment, at)

    def changes(self) -> list[Any]:
        """The rows accepted since the last call, and the segments of those that are new."""
        # One that was freed while events of it waited is of nothing any more.
        self._changed[self._free] = False
        changed = np.flatnonzero(self._changed)
        if not changed.size:
            return []
        self._changed[:] = False
        self._touched.update(distinct(changed // BLOCK_ROWS).tolist())
        new = [row for row in sorted(self._unwritten) if self.rows[row] is not None]
        self._unwritten.clear()
        found = []
        for first, end in pairwise([0, *self._cuts(new), len(self.rows)]):
            rows = changed[slice(*np.searchsorted(changed, (first, end)))]
            named = new[bisect_left(new, first) : bisect_left(new, end)]
            found.append(self._dumped(rows, named))
        return found

    def _cuts(self, new: Sequence[int]) -> Iterator[int]:
        """The rows, in order, before which another part begins, as one has enough text."""
        room = PART_BYTES
        for row in new:
            text = text_bytes(self.rows[row] or ())
            if text > room:
                yield row
                room = PART_BYTES
            room -= text

    def touched(self) -> set[str]:
        """The blocks that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return set(map(str, touched))

    def dump(self, block: str) -> Any:
        """The rows of a block that are in use."""
        first = int(block) * BLOCK_ROWS
        some = enumerate(self.rows[first : first + BLOCK_ROWS], start=first)
        rows = [row for row, segment in some if segment is not None]
        return self._dumped(np.array(rows, dtype=np.int64), rows)

    def _dumped(self, rows: Ints, named: list[int]) -> Any:
        segments = [self.rows[row] for row in named]
        return _written(rows, self._seen[rows], np.array(named, dtype=np.int64), segments)

    def load(self, block: str, dumped: Any) -> None:
        """Put rows in place and give their values their places."""
        self._put(dumped, lambda rows: np.ones(rows.size, dtype=bool))
        if block == FORMER_BLOCK:
            # So that it can be let go of.
            self._touched.update(range(-(-len(self.rows) // BLOCK_ROWS)))

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in a part that ``changes`` gave, save for rows whose block already holds it."""
        if is_newer(FORMER_BLOCK):
            self._touched.update(self._put(change, partial(_are_newer, is_newer)))

    def _put(self, dumped: Any, chosen: Callable[[Ints], Mask]) -> set[int]:
        """Put those of some rows in place that are chosen; their blocks."""
        self._none_over_until = BEFORE_ALL
        written = dumped if _is_present(dumped) else _of_triples(dumped)
        rows, seen, named = map(unpacked_steps, written[:3])
        which = chosen(named).tolist()
        for row, segment in compress(zip(named.tolist(), written[3], strict=True), which):
            while len(self.rows) <= row:
                self._grow()
            self._rename(row, tuple(segment))
            self._unwritten.discard(row)
        which = chosen(rows)
        for row, at in zip(rows[which].tolist(), seen[which].tolist(), strict=True):
            self._seen[row] = at
            if (segment := self.rows[row]) is not None:
                self._values.keep(segment, at)
        self._free = [row for row, segment in enumerate(self.rows) if segment is None]
        return set((rows[which] // BLOCK_ROWS).tolist())

    def recovered(self, at: int) -> None:
        """The rows were loaded: values that had lost their places by ``at`` get none back."""
        # Of two rows with one segment, of which the older was free when the other got it, the older
        # may have stood in the index, and taken the segment along when it was freed again.
        self._index_anew()
        self._values.free_unused(at)
        # Rows of a former, larger limit take no room from the combinations that are left of them.
        rows = len(self.rows) - len(self._free)
        combinations = max(0, self._limit - len(self))
        self._most_rows = min(max(self._most_rows, rows + combinations), _MOST_ROWS)

    def _index_anew(self) -> None:
        """Find each segment in the row that was used last of those that have it."""
        self._index.clear()
        for row in np.argsort(-self._seen[: len(self.rows)], kind="stable").tolist():
            if (segment := self.rows[row]) is not None:
                self._index.setdefault(segment, row)

    def expire(self, at: int) -> Iterator[str]:
        """Free rows that nothing needs any more. The blocks stay."""
        old = np.flatnonzero(at - self._seen[: len(self.rows)] > self._keep_ms).tolist()
        gone = [row for row in old if self.rows[row] is not None]
        for row in gone:
            self._rename(row, None)
            self._changed[row] = False
        if gone:
            self._free += gone
            self._touched.update(row // BLOCK_ROWS for row in gone)
            self._forget_cached()
            if len(self.rows) - len(self._free) > len(self._index):
                # One that has gone may have stood for others in the index.
                self._index_anew()
        return iter(())


def _are_newer(is_newer: Callable[[str], bool], rows: Ints) -> Mask:
    """Which rows are in blocks that are older than what is said of them."""
    blocks = rows // BLOCK_ROWS
    newer = [block for block in distinct(blocks).tolist() if is_newer(str(block))]
    return among(blocks, np.array(newer, dtype=np.int64))


def _written(rows: Ints, seen: Ints, named: Ints, segments: Sequence[Segment | None]) -> Any:
    """When rows were last accepted, and the segments of some, which may be the same."""
    return [packed_steps(rows), packed_steps(seen), packed_steps(named), segments]


def _is_present(dumped: Any) -> bool:
    """Whether this was written by the present version; formats 4 and 5 had a triple for each."""
    return len(dumped) > 0 and isinstance(dumped[0][0], bytes)


def _of_triples(dumped: Sequence[tuple[int, Segment, int]]) -> Any:
    rows = np.array([row for row, _, _ in dumped], dtype=np.int64)
    seen = np.array([at for _, _, at in dumped], dtype=np.int64)
    return _written(rows, seen, rows, [segment for _, segment, _ in dumped])
