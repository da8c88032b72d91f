"""How many subscriptions were active at a moment, per full set of labels.

Starts and cancellations are counted by unit of time; bases say how many were active at a moment.
Which base counts depends on the window's panes, so a base keeps its time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from stream.core.labels import Labels
from stream.core.segments import OTHER, Segment, Values
from stream.core.settings import Settings, Window

#: (occurred_at in ms, order of arrival, active subscriptions)
Base = tuple[int, int, int]

_OPEN_END: Final = 1 << 60


class LabelSet:
    """Starts, cancellations and bases of the subscriptions with one set of labels."""

    __slots__ = ("_sums", "_units", "bases", "net", "segment")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        #: Started minus cancelled, by unit of time.
        self.net: dict[int, int] = {}
        #: The latest base of each unit of time.
        self.bases: dict[int, Base] = {}
        self._units: list[int] | None = None
        self._sums: list[int] = []

    def count(self, unit: int, n: int) -> None:
        """Add n starts (or −n cancellations) in a unit of time."""
        self.net[unit] = self.net.get(unit, 0) + n
        self._units = None

    def set_base(self, unit: int, base: Base) -> None:
        """Take a base, unless the unit holds a later one."""
        if base[:2] > self.bases.get(unit, (-_OPEN_END, 0))[:2]:
            self.bases[unit] = base

    def between(self, first: int, end: int) -> int:
        """Started minus cancelled in the units from ``first`` to before ``end``."""
        if self._units is None:
            self._units = sorted(self.net)
            self._sums = [0, *accumulate(self.net[u] for u in self._units)]
        return (
            self._sums[bisect_left(self._units, end)] - self._sums[bisect_left(self._units, first)]
        )

    def forget_before(self, at: int, unit_ms: int, windows: Iterable[Window]) -> bool:
        """Drop what no window that starts at ``at`` or later can need; whether there was any."""
        settled = [b for b in self.bases.values() if b[0] < at]
        if not settled:
            return False
        base = max(settled)
        first = min(base[0] // w.pane_ms * w.pane_ms for w in windows) // unit_ms
        old_bases = [u for u, b in self.bases.items() if b < base]
        old_units = [u for u in self.net if u < first]
        for unit in old_bases:
            del self.bases[unit]
        for unit in old_units:
            del self.net[unit]
        self._units = None
        return bool(old_bases or old_units)


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


class ActiveStore:
    """All label sets of a shard: a store of the state with a block per label set.

    ``values`` is shared by all shards: it folds values and holds where each label set counts.
    """

    name = "active"

    def __init__(self, settings: Settings, unit_ms: int, values: Values) -> None:
        self._settings = settings
        self._unit_ms = unit_ms
        self._fold = values.fold
        self._homes = values.homes
        self.sets: dict[bytes, LabelSet] = {}
        #: Bases that found no room among ``max_segments`` label sets.
        self.refused_bases = 0
        self._arrivals = 0
        self._pending: dict[bytes, tuple[list[tuple[int, int]], list[Base]]] = {}
        self._touched: set[bytes] = set()

    def _set(self, labels: Labels, at: int) -> tuple[bytes, LabelSet]:
        found = self.sets.get(labels.key)
        if found is not None:
            return labels.key, found
        given = (*(labels.values.get(d) for d in self._settings.dimensions), None)
        key = labels.key
        segment = self._homes.get(key) or self._fold(given, at)
        if len(self.sets) >= self._settings.max_segments:
            # Without a base of its own, a label set only adds to its segment's sum.
            key = repr(segment).encode()
            if key not in self.sets and len(self.sets) >= 2 * self._settings.max_segments:
                segment = tuple(None if v is None else OTHER for v in segment)
                key = repr(segment).encode()
        if key not in self.sets:
            self.sets[key] = LabelSet(self._homes.setdefault(key, segment))
        return key, self.sets[key]

    def count(self, labels: Labels, occurred: int, n: int, at: int) -> None:
        """Count n starts (−n: cancellations) at ``occurred``; ``at`` is the time of arrival."""
        key, found = self._set(labels, at)
        found.count(occurred // self._unit_ms, n)
        self._pending.setdefault(key, ([], []))[0].append((occurred // self._unit_ms, n))

    def set_base(self, labels: Labels, occurred: int, active: int, at: int) -> None:
        """Take the number of active subscriptions at ``occurred``."""
        key, found = self._set(labels, at)
        if key != labels.key:
            self.refused_bases += 1
            return
        self._arrivals += 1
        base = (occurred, self._arrivals, active)
        found.set_base(occurred // self._unit_ms, base)
        self._pending.setdefault(key, ([], []))[1].append(base)

    def changes(self) -> Any:
        """What was counted and which bases came since the last call."""
        pending, self._pending = self._pending, {}
        self._touched.update(pending)
        return [(key, self.sets[key].segment, *parts) for key, parts in pending.items()] or None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for label sets whose block already holds it."""
        for key, segment, counts, bases in change:
            if is_newer(key.hex()):
                home = self._homes.setdefault(key, tuple(segment))
                found = self.sets.setdefault(key, LabelSet(home))
                for unit, n in counts:
                    found.count(unit, n)
                for base in bases:
                    self._take_base(found, tuple(base))
                self._touched.add(key)

    def _take_base(self, found: LabelSet, base: Base) -> None:
        found.set_base(base[0] // self._unit_ms, base)
        self._arrivals = max(self._arrivals, base[1])

    def touched(self) -> set[str]:
        """The label sets that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {key.hex() for key in touched}

    def dump(self, block: str) -> Any:
        """A label set."""
        key = bytes.fromhex(block)
        found = self.sets[key]
        return [key, found.segment, list(found.net.items()), list(found.bases.values())]

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped label set in place."""
        key, segment, net, bases = dumped
        found = self.sets[key] = LabelSet(self._homes.setdefault(key, tuple(segment)))
        for unit, n in net:
            found.count(unit, n)
        for base in bases:
            self._take_base(found, tuple(base))

    def expire(self, at: int) -> Iterator[str]:
        """Forget what no window needs any more. The blocks stay."""
        oldest = min(w.start(at) for w in self._settings.windows)
        for key, found in self.sets.items():
            if len(found.bases) + len(found.net) > 1 and found.forget_before(
                oldest, self._unit_ms, self._settings.windows
            ):
                self._touched.add(key)
        return iter(())
