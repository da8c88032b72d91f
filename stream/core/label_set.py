"""How many subscriptions with one set of labels were active at a moment.

Starts and cancellations are counted by unit of time; bases say how many were active at a moment.
Which base counts depends on the window's panes, so a base keeps its time.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, Final

from stream.core.ends_of_time import BEFORE_ALL
from stream.core.net import Net
from stream.core.settings import DAY, Window
from stream.core.tally import GRACE_MS
from stream.core.values import Segment

#: (occurred_at in ms, order of arrival, active subscriptions)
Base = tuple[int, int, int]
#: Which times windows tell apart: (time, ms), the earliest first, where what is older than the time
#: is only needed by multiples of so many ms; and single moments.
Needed = tuple[Sequence[tuple[int, int]], Sequence[int]]

#: A label set with fewer entries is not worth making coarser before a day has passed.
_FEW: Final = 512
#: One with no more entries than this never is.
_HANDFUL: Final = 8


class LabelSet:
    """Starts, cancellations and bases of the subscriptions with one set of labels.

    ``since`` is when (ms) it began to count in its ``segment``, or was found there again after
    long: of several shards that know it, the latest one says which.
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
        self.net = Net() if net is None else net
        #: The latest base of each unit of time.
        self.bases = bases if bases is not None else {}
        #: Whether bases have changed since a reader last set this to False.
        self.rebased = True
        #: How many entries were left when it was made coarser.
        self._coarse = 0
        #: The day on which that was; not kept in dumps.
        self._coarse_day = BEFORE_ALL

    def __len__(self) -> int:
        return len(self.net) + len(self.bases)

    def go_to(self, segment: Segment, at: int, told_again_ms: int) -> None:
        """Count in a segment from ``at`` on; that it still does is noted after so many ms again."""
        if segment != self.segment or at >= self.since + told_again_ms:
            self.segment, self.since = segment, at

    def count(self, unit: int, n: int) -> None:
        """Add n starts (or −n cancellations) in a unit of time."""
        self.net.count(unit, n)

    def set_base(self, unit: int, base: Base) -> None:
        """Take a base, unless the unit holds a later one."""
        if base[:2] > self.bases.get(unit, (BEFORE_ALL, 0))[:2]:
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

    def is_due(self, at: int, over: int) -> bool:
        """Whether it is to be made coarser at ``at`` (ms) even if it has not grown: once a day.

        ``over`` is the unit of time before which no window asks for anything.

        Not on its first day, so that what is read of a long time at once may be in any order; nor
        on the day after ``since`` has changed, which is rare.
        """
        if at < self.since + DAY or at // DAY <= self._coarse_day or len(self) <= _HANDFUL:
            return False
        if self.bases or len(self) > _FEW:
            return True
        # There may be a base in another shard, and what came before it and after must be told
        # apart. That of those to which nothing happens any more is not worth it.
        latest = self.net.latest
        return latest is None or latest < over

    def coarsen(self, needed: Needed, unit_ms: int, at: int = 0) -> bool:
        """Join units that no window tells apart any more, at ``at`` (ms); whether any were."""
        steps, points = needed

        def joined(unit: int) -> int:
            at = unit * unit_ms
            step = next((ms for before, ms in steps if at < before), unit_ms)
            return max(at // step * step, *(p for p in points if p <= at), BEFORE_ALL) // unit_ms

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
    """Where a label set counts that several shards hold: where its latest event did."""
    return max(parts, key=lambda part: (part.since, repr(part.segment))).segment


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
    return net(BEFORE_ALL, start)
