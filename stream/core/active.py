"""How many subscriptions were active at a moment, in all label sets of a shard, and in sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from stream.core.ends_of_time import BEFORE_ALL
from stream.core.label_set import Base, LabelSet, active_at, coarser, home
from stream.core.labels import Labels
from stream.core.settings import DAY, MINUTE, Settings, Window
from stream.core.values import OTHER, Segment, Values, text_bytes

#: How many entries of label sets that are due are gone through at a look, about, so that a look
#: after a restart, when all of them are due, takes no longer than others.
_ENTRIES_AT_ONCE: Final = 20_000
#: So many label sets are forgotten, or lose what came before their bases, at a look: each is a
#: record of the state and several of a share.
_SETS_AT_ONCE: Final = 5_000
#: A part of the changes has no more bytes of sets of labels and of what was counted of them than
#: this, or those of one set, so that any number of sets with labels of any text fits into records.
MOST_LABEL_BYTES: Final = 4 * 1024 * 1024
#: Bytes of a time and a number, at most.
_LONGEST_COUNT: Final = 32
#: How often all label sets are looked at, in ms; those that may have grown are at each time.
_LOOK_MS: Final = 10 * MINUTE
#: Bases that come later than this (ms, in event time) may be off by what happened in a pane.
LATE_BASE_MS: Final = DAY


#: Where events of labels count, given the row of one, and when it came where it is to find room;
#: None where that is not known any more.
Placed = Callable[[Labels, int, int | None], Segment | None]
#: Whether what finds room may change as so many new segments come by a time (ms).
MayFill = Callable[[int, int], bool]


class ActiveSums:
    """Active subscriptions by segment at windows' starts; a label set is looked at when it is new.

    So whoever keeps one of these must not change label sets, but put others in their place.
    """

    def __init__(self, unit_ms: int) -> None:
        self._unit_ms = unit_ms
        #: By window: the start, and what each label set's parts came to.
        self._known: dict[str, tuple[int, dict[bytes, tuple[list[LabelSet], Segment, int]]]] = {}

    def at_start(
        self, window: Window, at: int, sets: Mapping[bytes, list[LabelSet]]
    ) -> dict[Segment, int]:
        """What was active at the start of a window at ``at``; ``sets`` has the shards' parts."""
        start = window.start(at)
        known_start, known = self._known.get(window.label, (start, {}))
        if known_start != start:
            known = {}
        found: dict[bytes, tuple[list[LabelSet], Segment, int]] = {}
        active: dict[Segment, int] = {}
        for key, parts in sets.items():
            entry = known.get(key)
            if entry is None or entry[0] != parts:
                n = active_at(start, window.pane_ms, self._unit_ms, parts)
                entry = parts, home(parts), n
            found[key] = entry
            active[entry[1]] = active.get(entry[1], 0) + entry[2]
        self._known[window.label] = start, found
        return active


class ActiveStore:
    """All label sets of a shard: a store of the state with a block per label set.

    ``values`` folds values of dimensions; all shards of a process share it. ``placed`` says of
    labels and a row where their events count: there a label set goes, as values get and lose
    places. ``may_fill`` says whether that may change by the room that there is.
    """

    name = "active"

    def __init__(
        self,
        settings: Settings,
        unit_ms: int,
        values: Values,
        placed: Placed | None = None,
        may_fill: MayFill | None = None,
    ) -> None:
        self._settings = settings
        self._unit_ms = unit_ms
        self._values = values
        self._placed = placed
        self._may_fill = may_fill
        # A place that a label set lost or got in between has taken longer than this to change.
        self._told_again_ms = settings.memory_ms
        self._generation = values.generation
        self.sets: dict[bytes, LabelSet] = {}
        #: Bases that found no room among ``max_segments`` label sets, since whoever tells of them
        #: last set this to 0.
        self.refused_bases = 0
        #: The same of starts and cancellations, which are in a sum that no base ever replaces.
        self.without_room = 0
        #: Label sets that have changed since a reader last emptied this.
        self.renewed: set[bytes] = set()
        self._arrivals = 0
        #: The latest time of a start, a cancellation or a base.
        self._latest = BEFORE_ALL
        self._pending: dict[bytes, tuple[list[tuple[int, int]], list[Base]]] = {}
        self._touched: set[bytes] = set()
        #: Those that may have grown since they were looked at last.
        self._counted: set[bytes] = set()
        self._look_at = 0

    def may_move(self, labels: Labels, row: int, until: int, *, alone: bool) -> bool:
        """Whether an event of a row by ``until`` (ms) may change where its label set counts.

        Then its events must be counted in their order. ``row`` is −1 where it is not known yet;
        ``alone``: it is the only one, and there is room for its label set.
        """
        found = self.sets.get(labels.key)
        if row < 0:
            return True
        if found is None:
            return not alone or self._place(labels, row) is None
        if until >= found.since + self._told_again_ms:
            return True
        return self._place(labels, row) != found.segment

    def may_fill(self, segments: int, until: int) -> bool:
        """Whether so many new segments by ``until`` (ms) may change what ``placed`` says."""
        return self._may_fill is not None and self._may_fill(segments, until)

    def has_room(self, more: int) -> bool:
        """Whether so many label sets can come and each be counted as itself."""
        return len(self.sets) + more <= self._settings.max_segments

    def knows(self, labels: Labels) -> bool:
        """Whether events of these labels have been counted."""
        return labels.key in self.sets

    def _place(self, labels: Labels, row: int | None, at: int | None = None) -> Segment | None:
        return None if row is None or self._placed is None else self._placed(labels, row, at)

    def _set(self, labels: Labels, at: int, row: int | None) -> tuple[bytes, LabelSet]:
        found = self.sets.get(labels.key)
        segment = self._place(labels, row, at)
        if found is not None:
            if segment is not None:
                found.go_to(segment, at, self._told_again_ms)
            return labels.key, found
        key = labels.key
        if segment is None:
            given = (*(labels.values.get(d) for d in self._settings.dimensions), None)
            segment = self._values.fold(given, at)
        if len(self.sets) >= self._settings.max_segments:
            # Without a base of its own, a label set only adds to its segment's sum. A base that
            # another shard takes, or this one later, can't say which part of the sum it replaces.
            key = repr(segment).encode()
            if key not in self.sets and len(self.sets) >= 2 * self._settings.max_segments:
                segment = tuple(None if v is None else OTHER for v in segment)
                key = repr(segment).encode()
        if key not in self.sets:
            self.sets[key] = LabelSet(segment, at)
        return key, self.sets[key]

    def count(self, labels: Labels, occurred: int, n: int, at: int, row: int | None = None) -> None:
        """Count n starts (−n: cancellations) at ``occurred``; ``at`` is the time of arrival.

        ``row`` is that of the event; it may be left out where the label set is known and can't
        move.
        """
        key, found = self._set(labels, at, row)
        if key != labels.key:
            self.without_room += abs(n)
        self.renewed.add(key)
        self._latest = max(self._latest, occurred)
        found.count(occurred // self._unit_ms, n)
        self._pending.setdefault(key, ([], []))[0].append((occurred // self._unit_ms, n))

    def set_base(
        self, labels: Labels, occurred: int, active: int, at: int, row: int | None = None
    ) -> None:
        """Take the number of active subscriptions at ``occurred``; otherwise as ``count``."""
        key, found = self._set(labels, at, row)
        if key != labels.key:
            self.refused_bases += 1
            return
        self._arrivals += 1
        self.renewed.add(key)
        self._latest = max(self._latest, occurred)
        base = (occurred, self._arrivals, active)
        found.set_base(occurred // self._unit_ms, base)
        self._pending.setdefault(key, ([], []))[1].append(base)

    def settle(self) -> None:
        """What the registry of values has turned down since the last look counts as other."""
        if self._generation == self._values.generation:
            return
        self._generation = self._values.generation
        if self._values.shared:
            for key in self._pending:
                self.sets[key].segment = self._values.refolded(self.sets[key].segment)

    def placed_anew(self) -> None:
        """The segments of label sets are others than in the log: they go with the next changes."""
        for key in self.sets:
            self._pending.setdefault(key, ([], []))

    def changes(self) -> list[Any]:
        """What was counted and which bases came since the last call."""
        self.settle()
        pending, self._pending = self._pending, {}
        self._touched.update(pending)
        self._counted.update(pending)
        parts: list[list[Any]] = []
        room = 0
        for key, (counts, bases) in pending.items():
            found = self.sets[key]
            text = len(key) + text_bytes(found.segment)
            size = text + _LONGEST_COUNT * (len(counts) + len(bases))
            if not parts or size > room:
                parts.append([])
                room = MOST_LABEL_BYTES
            parts[-1].append((key, found.segment, found.since, counts, bases))
            room -= size
        return parts

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in a part that ``changes`` gave, save for label sets whose block has it already."""
        for key, segment, since, counts, bases in change:
            if is_newer(key.hex()):
                found = self.sets.setdefault(key, LabelSet(tuple(segment), since))
                found.segment, found.since = tuple(segment), since
                for unit, n in counts:
                    found.count(unit, n)
                for base in bases:
                    found.set_base(base[0] // self._unit_ms, tuple(base))
                self._note((unit for unit, _ in counts), bases)
                self._touched.add(key)
                self._counted.add(key)

    def _note(self, units: Iterable[int], bases: Iterable[Base]) -> None:
        """What was counted and which bases there are, up to when and how many so far."""
        times = [unit * self._unit_ms for unit in units]
        for occurred, arrival, _ in bases:
            self._arrivals = max(self._arrivals, arrival)
            times.append(occurred // self._unit_ms * self._unit_ms)
        self._latest = max([self._latest, *times])

    def touched(self) -> set[str]:
        """The label sets that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {key.hex() for key in touched}

    def dump(self, block: str) -> Any:
        """A label set."""
        key = bytes.fromhex(block)
        return [key, *self.sets[key].dump()]

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped label set in place."""
        key, *rest = dumped
        found = self.sets[key] = LabelSet.load(rest, self._unit_ms)
        latest = found.net.latest
        self._note([] if latest is None else [latest], found.bases.values())

    def expire(self, at: int) -> Iterator[str]:
        """Forget what no window needs any more; yields the label sets of which nothing is left."""
        counted, self._counted = self._counted, set()
        if at >= self._look_at:
            self._look_at = at + _LOOK_MS
            self._forget_before_bases(at)
            self._make_due_coarser(at)
            yield from self._forget_over(at)
        settled = min(at, self._latest) - LATE_BASE_MS
        for key in sorted(counted | self._pending.keys()):
            if key in self.sets and self.sets[key].has_grown:
                self._make_coarser(key, settled, at)

    def _renewed(self, key: bytes) -> None:
        self._touched.add(key)
        self.renewed.add(key)

    def _oldest(self, at: int) -> int:
        """Where the longest window starts."""
        return min(window.start(at) for window in self._settings.windows)

    def _forget_before_bases(self, at: int) -> None:
        """Drop what came before the bases that windows start from."""
        oldest = self._oldest(at)
        renewed = 0
        for key, found in self.sets.items():
            if renewed >= _SETS_AT_ONCE:
                self._look_at = at
                return
            if (
                found.bases
                and len(found) > 1
                and found.forget_before(oldest, self._unit_ms, self._settings.windows)
            ):
                self._renewed(key)
                renewed += 1

    def _make_due_coarser(self, at: int) -> None:
        """Make those coarser that are due, or at the next time where these are many."""
        # What was settled when the day began: the same whenever that is noticed.
        settled = min(at // DAY * DAY, self._latest) - LATE_BASE_MS
        over = (self._oldest(at) - LATE_BASE_MS) // self._unit_ms
        entries = 0
        for key, found in self.sets.items():
            if found.is_due(at, over):
                if entries >= _ENTRIES_AT_ONCE:
                    self._look_at = at
                    return
                entries += len(found)
                self._make_coarser(key, settled, at)

    def _make_coarser(self, key: bytes, settled: int, at: int) -> None:
        needed = coarser(self.sets[key], self._settings.windows, settled)
        if self.sets[key].coarsen(needed, self._unit_ms, at):
            self._renewed(key)

    def _forget_over(self, at: int) -> Iterator[str]:
        """Forget those of which nothing is left, where there are many; yields their blocks."""
        # What cancels out here may still tell what came before a base of another shard, and after.
        if len(self.sets) <= self._settings.max_segments // 2:
            return
        before = at - 2 * self._settings.memory_ms
        over = [
            key
            for key, found in self.sets.items()
            if key not in self._pending and found.is_over(before, self._unit_ms)
        ]
        if len(over) > _SETS_AT_ONCE:
            self._look_at = at
        for key in over[:_SETS_AT_ONCE]:
            del self.sets[key]
            self._touched.discard(key)
            self.renewed.add(key)
            yield key.hex()
