"""How many subscriptions were active at a moment, per full set of labels.

Starts and cancellations are counted by unit of time; bases say how many were active at a moment.
Which base counts depends on the window's panes, so a base keeps its time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from stream.core.labels import Labels
from stream.core.net import Net
from stream.core.settings import DAY, Settings, Window
from stream.core.tally import GRACE_MS
from stream.core.values import OTHER, Segment, Values

#: (occurred_at in ms, order of arrival, active subscriptions)
Base = tuple[int, int, int]
#: Which times windows tell apart: (time, ms), the earliest first, where what is older than the time
#: is only needed by multiples of so many ms; and single moments.
Needed = tuple[Sequence[tuple[int, int]], Sequence[int]]

_OPEN_END: Final = 1 << 60
#: A label set with fewer entries is not worth making coarser before a day has passed.
_FEW: Final = 512
#: One with no more entries than this never is.
_HANDFUL: Final = 8
#: How many entries of such label sets are gone through at a look at most, so that a look after a
#: restart, when all of them are due, takes no longer than others.
_ENTRIES_AT_ONCE: Final = 20_000
#: Bases that come later than this (ms, in event time) may be off by what happened in a pane.
LATE_BASE_MS: Final = DAY


class LabelSet:
    """Starts, cancellations and bases of the subscriptions with one set of labels.

    ``since`` is when it was seen first (ms): of several shards that know it, the first one says
    which ``segment`` it counts in.
    """

    __slots__ = ("_coarse", "_coarse_day", "bases", "net", "rebased", "segment", "since")

    def __init__(
        self,
        segment: Segment,
        since: int = 0,
        net: Net | None = None,
        bases: dict[int, Base] | None = None,
    ) -> None:
        self.segment = segment
        self.since = since
        #: Started minus cancelled, by unit of time.
        self.net = net or Net()
        #: The latest base of each unit of time.
        self.bases = bases if bases is not None else {}
        #: Whether bases have changed since a reader last set this to False.
        self.rebased = True
        #: How many entries were left when it was made coarser.
        self._coarse = 0
        #: The day on which that was; not kept in dumps.
        self._coarse_day = -_OPEN_END

    def __len__(self) -> int:
        return len(self.net) + len(self.bases)

    def count(self, unit: int, n: int) -> None:
        """Add n starts (or −n cancellations) in a unit of time."""
        self.net.count(unit, n)

    def set_base(self, unit: int, base: Base) -> None:
        """Take a base, unless the unit holds a later one."""
        if base[:2] > self.bases.get(unit, (-_OPEN_END, 0))[:2]:
            self.bases[unit] = base
            self.rebased = True

    def between(self, first: int, end: int) -> int:
        """Started minus cancelled in the units from ``first`` to before ``end``."""
        return self.net.between(first, end)

    def forget_before(self, at: int, unit_ms: int, windows: Iterable[Window]) -> bool:
        """Drop what no window that starts at ``at`` or later can need; whether there was any."""
        settled = [b for b in self.bases.values() if b[0] < at]
        if not settled:
            return False
        base = max(settled)
        first = min(base[0] // w.pane_ms * w.pane_ms for w in windows) // unit_ms
        old_bases = [u for u, b in self.bases.items() if b < base]
        for unit in old_bases:
            del self.bases[unit]
        self.rebased = self.rebased or bool(old_bases)
        return self.net.forget_before(first) or bool(old_bases)

    @property
    def has_grown(self) -> bool:
        """Whether it is worth making coarser: by an eighth, that costs little for each entry."""
        n = len(self)
        return n > _FEW and n > self._coarse + self._coarse // 8

    def is_due(self, at: int) -> bool:
        """Whether it is to be made coarser at ``at`` (ms) even if it has not grown: once a day.

        Not on its first day, so that what is read of a long time at once may be in any order.
        """
        return len(self) > _HANDFUL and at >= self.since + DAY and at // DAY > self._coarse_day

    def coarsen(self, needed: Needed, unit_ms: int, at: int = 0) -> bool:
        """Join units that no window tells apart any more, at ``at`` (ms); whether any were."""
        steps, points = needed

        def joined(unit: int) -> int:
            at = unit * unit_ms
            step = next((ms for before, ms in steps if at < before), unit_ms)
            return max(at // step * step, *(p for p in points if p <= at), -_OPEN_END) // unit_ms

        # From the start of the shortest window on, a unit is needed as it is.
        changed = self.net.join(joined, -(-max(at for at, _ in steps) // unit_ms))
        bases: dict[int, Base] = {}
        for unit, base in self.bases.items():
            bases[joined(unit)] = max(base, bases.get(joined(unit), base))
        if bases != self.bases:
            self.bases, self.rebased, changed = bases, True, True
        self._coarse, self._coarse_day = len(self), at // DAY
        return changed

    def is_over(self, before: int, unit_ms: int) -> bool:
        """Whether nothing is active and nothing has happened since ``before`` (ms)."""
        latest = self.net.latest
        if latest is not None and latest * unit_ms >= before:
            return False
        last = max(self.bases.values(), default=None)
        if last is None:
            return not self.net.total
        return last[0] < before and not last[2] and latest is None

    def dump(self) -> Any:
        """As plain data."""
        return [self.segment, self.since, self.net.items(), list(self.bases.values())]

    @classmethod
    def load(cls, dumped: Any, unit_ms: int) -> LabelSet:
        """What ``dump`` gave."""
        segment, since, net, bases = dumped
        found = cls(tuple(segment), since, Net.of(net))
        for base in bases:
            found.set_base(base[0] // unit_ms, tuple(base))
        return found


def home(parts: Iterable[LabelSet]) -> Segment:
    """Where a label set counts that several shards hold: where the first that saw it says."""
    return min(parts, key=lambda part: (part.since, repr(part.segment))).segment


def coarser(found: LabelSet, windows: Sequence[Window], at: int) -> Needed:
    """From when on which times are needed only by multiples, see ``LabelSet.coarsen``.

    A window asks for what came after its start by its panes, and from where the base stands that
    it starts from; what lies between it only needs as a sum. What no window asks for is needed by
    the day, for bases that come so late.
    """
    points: list[int] = []
    asked: list[tuple[int, int]] = []
    for window in windows:
        first = window.start(at - GRACE_MS)
        settled = [b[0] for b in found.bases.values() if b[0] < first + window.pane_ms]
        if settled:
            points.append(max(settled) // window.pane_ms * window.pane_ms)
        asked.append((first, window.pane_ms))
    asked.sort()
    steps = [
        (first, math.gcd(*(pane for _, pane in asked[:i])) if i else DAY)
        for i, (first, _) in enumerate(asked)
    ]
    return steps, points


def active_at(start: int, pane_ms: int, unit_ms: int, parts: Iterable[LabelSet]) -> int:
    """Subscriptions of one label set that were active at ``start``, a pane's start (ms).

    ``parts`` are what the shards hold of the label set. The sum can be negative, where
    cancellations were seen of subscriptions that no base counted.
    """
    parts = list(parts)
    bases = sorted(b for part in parts for b in part.bases.values())

    def net(first: int, end: int) -> int:
        return sum(part.between(first // unit_ms, end // unit_ms) for part in parts)

    # A base stands at the start of its pane, so one in the pane that begins at ``start`` counts.
    settled = bisect_left(bases, (start + pane_ms, -1, 0))
    if settled:
        at, _, active = bases[settled - 1]
        return active + net(at // pane_ms * pane_ms, start)
    if bases:
        pane = bases[0][0] // pane_ms
        _, _, active = max(b for b in bases if b[0] // pane_ms == pane)
        return active - net(start, pane * pane_ms)
    return net(-_OPEN_END, start)


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

    ``values`` folds values of dimensions; all shards of a process share it.
    """

    name = "active"

    def __init__(self, settings: Settings, unit_ms: int, values: Values) -> None:
        self._settings = settings
        self._unit_ms = unit_ms
        self._values = values
        self._generation = values.generation
        self.sets: dict[bytes, LabelSet] = {}
        #: Bases that found no room among ``max_segments`` label sets, since whoever tells of them
        #: last set this to 0.
        self.refused_bases = 0
        #: Label sets that have changed since a reader last emptied this.
        self.renewed: set[bytes] = set()
        self._arrivals = 0
        #: The latest time of a start, a cancellation or a base.
        self._latest = -_OPEN_END
        self._pending: dict[bytes, tuple[list[tuple[int, int]], list[Base]]] = {}
        self._touched: set[bytes] = set()

    def _set(self, labels: Labels, at: int) -> tuple[bytes, LabelSet]:
        found = self.sets.get(labels.key)
        if found is not None:
            return labels.key, found
        given = (*(labels.values.get(d) for d in self._settings.dimensions), None)
        key = labels.key
        segment = self._values.fold(given, at)
        if len(self.sets) >= self._settings.max_segments:
            # Without a base of its own, a label set only adds to its segment's sum.
            key = repr(segment).encode()
            if key not in self.sets and len(self.sets) >= 2 * self._settings.max_segments:
                segment = tuple(None if v is None else OTHER for v in segment)
                key = repr(segment).encode()
        if key not in self.sets:
            self.sets[key] = LabelSet(segment, at)
        return key, self.sets[key]

    def count(self, labels: Labels, occurred: int, n: int, at: int) -> None:
        """Count n starts (−n: cancellations) at ``occurred``; ``at`` is the time of arrival."""
        key, found = self._set(labels, at)
        self.renewed.add(key)
        self._latest = max(self._latest, occurred)
        found.count(occurred // self._unit_ms, n)
        self._pending.setdefault(key, ([], []))[0].append((occurred // self._unit_ms, n))

    def set_base(self, labels: Labels, occurred: int, active: int, at: int) -> None:
        """Take the number of active subscriptions at ``occurred``."""
        key, found = self._set(labels, at)
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

    def changes(self) -> Any:
        """What was counted and which bases came since the last call."""
        self.settle()
        pending, self._pending = self._pending, {}
        self._touched.update(pending)
        return [
            (key, self.sets[key].segment, self.sets[key].since, *parts)
            for key, parts in pending.items()
        ] or None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for label sets whose block already holds it."""
        for key, segment, since, counts, bases in change:
            if is_newer(key.hex()):
                found = self.sets.setdefault(key, LabelSet(tuple(segment), since))
                found.segment = tuple(segment)
                for unit, n in counts:
                    found.count(unit, n)
                for base in bases:
                    found.set_base(base[0] // self._unit_ms, tuple(base))
                self._note((unit for unit, _ in counts), bases)
                self._touched.add(key)

    def _note(self, units: Iterable[int], bases: Iterable[Base]) -> None:
        """What was counted and which bases there are, up to when and how many so far."""
        times = [unit * self._unit_ms for unit in units]
        for occurred, arrival, _ in bases:
            self._arrivals = max(self._arrivals, arrival)
            times.append(occurred // self._unit_ms * self._unit_ms)
        self._latest = max(self._latest, *times, self._latest)

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
        windows = self._settings.windows
        oldest = min(w.start(at) for w in windows)
        settled = min(at, self._latest) - LATE_BASE_MS
        settled_today = min(at // DAY * DAY, self._latest) - LATE_BASE_MS
        forgotten = at - 2 * self._settings.memory_ms
        # What cancels out here may still tell what came before a base of another shard, and after.
        is_crowded = len(self.sets) > self._settings.max_segments // 2
        over = []
        entries = _ENTRIES_AT_ONCE
        for key, found in self.sets.items():
            if (
                found.bases
                and len(found) > 1
                and found.forget_before(oldest, self._unit_ms, windows)
            ):
                self._touched.add(key)
                self.renewed.add(key)
            is_due = entries > 0 and found.is_due(at)
            if is_due or found.has_grown:
                entries -= len(found) if is_due else 0
                # Once a day, what was settled when it began: the same whenever that is noticed.
                until = settled if found.has_grown else settled_today
                if found.coarsen(coarser(found, windows, until), self._unit_ms, at):
                    self._touched.add(key)
                    self.renewed.add(key)
            if is_crowded and key not in self._pending and found.is_over(forgotten, self._unit_ms):
                over.append(key)
        for key in over:
            del self.sets[key]
            self._touched.discard(key)
            self.renewed.add(key)
            yield key.hex()
