"""Which values of the dimensions have a place of their own; the others count as ``other``.

One decision holds for all shards. Where all shards are in one process it is made at once. Where
they are spread over workers it lies in a registry that all of them read: a value that the registry
does not know is undecided, counts as itself meanwhile, and must be decided before anything that it
counted is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from stream.core.ends_of_time import AFTER_ALL, BEFORE_ALL
from stream.core.settings import DAY, MINUTE, Settings

OTHER: Final = "other"

#: Values in the order of the dimensions (None: no such label), then the currency.
Segment = tuple[str | None, ...]
#: Bytes of a character in UTF-8.
_LONGEST_CHARACTER: Final = 4
#: (segment, time when it was last accepted)
Sighting = tuple[Segment, int]
#: For each dimension its values, each with the time (ms) when it was last accepted.
Places = list[dict[str, int]]

#: No configuration has a longer window.
_LONGEST_MEMORY_MS: Final = 366 * DAY
#: The registry learns this late that a value is still in use, so it frees a place later by this.
REFRESH_MS: Final = 10 * MINUTE


def agreed(
    places: Places,
    proposals: Places,
    sightings: Places,
    limit: int,
    memory_ms: int,
) -> Places:
    """The registry's places after a worker has told what it saw and what it proposes.

    The values accepted first are kept. A proposal that finds no room takes the place of a value
    that was not accepted for longer than ``memory_ms``, if there is one.
    """
    after: Places = []
    for known, proposed, seen in zip(places, proposals, sightings, strict=True):
        kept = {value: max(at, seen.get(value, at)) for value, at in known.items()}
        for value, at in proposed.items():
            if value not in kept and len(kept) >= limit:
                stale = [v for v, last in kept.items() if at - last > memory_ms + REFRESH_MS]
                for gone in stale:
                    del kept[gone]
            if value in kept or len(kept) < limit:
                kept[value] = max(at, kept.get(value, at))
        after.append(kept)
    return after


def text_bytes(segment: Segment) -> int:
    """How many bytes the values of a segment take as UTF-8, at most."""
    return _LONGEST_CHARACTER * sum(map(len, filter(None, segment)))


class Values:
    """The values that have a place of their own, per dimension, as the shards of a process see it.

    The values accepted first are kept. One that was not accepted again for the settings' memory
    frees its place. ``shared``: a registry decides; see ``undecided`` and ``decide``.
    """

    def __init__(self, settings: Settings, *, shared: bool = False) -> None:
        self.dimensions = settings.dimensions
        #: Grows when a value has lost its place.
        self.generation = 0
        self.shared = shared
        self._limit = settings.max_values_per_dimension
        #: Each proposal may cost rows that become ``other`` and are kept for as long as any.
        self._most_undecided = max(self._limit, settings.max_segments // 4)
        self._memory_ms = settings.memory_ms
        self._kept: Places = [{} for _ in self.dimensions]
        #: Proposals to the registry, in the order of their acceptance.
        self.undecided: Places = [{} for _ in self.dimensions]
        self._recheck_at = [BEFORE_ALL] * len(self.dimensions)
        self._sources: list[Callable[[], Iterable[Sighting]]] = []
        self._claims = True
        #: Grows when a shard is recovered, which may bring values of its own.
        self.recoveries = 0

    def watch(self, sightings: Callable[[], Iterable[Sighting]]) -> None:
        """Register a shard's segments, whose last times tell which values are still in use."""
        self._sources.append(sightings)

    def unwatch(self, sightings: Callable[[], Iterable[Sighting]]) -> None:
        """Forget a shard that is gone."""
        self._sources = [s for s in self._sources if s != sightings]

    def keep(self, segment: Segment, at: int) -> None:
        """Give the values of a recovered segment their places.

        Where a registry decides it knows better, unless it has lost what it knew: a value that was
        accepted so lately has a place that nobody can have freed.
        """
        self.recoveries += 1
        places = self.undecided if self.shared else self._kept
        for dimension, (place, value) in enumerate(zip(places, segment, strict=False)):
            if value is None or value == OTHER or value in self._kept[dimension]:
                continue
            if self._claims or at > self._freed_before(self._kept[dimension]):
                place[value] = max(at, place.get(value, at))

    def _freed_before(self, places: Mapping[str, int]) -> int:
        """Up to when a value of the registry was accepted last that somebody may have freed."""
        return max(places.values(), default=BEFORE_ALL) - self._memory_ms

    def free_unused(self, at: int) -> None:
        """Take their places from values that were not accepted for longer than the memory."""
        for dimension, kept in enumerate(self._kept):
            if kept and not self.shared:
                self._free(dimension, at)

    def fold(self, segment: Segment, at: int) -> Segment:
        """The segment with values that find no place replaced by ``other``."""
        folded = tuple(
            value if value is None or value == OTHER or self._admits(i, value, at) else OTHER
            for i, value in enumerate(segment[: len(self.dimensions)])
        )
        return (*folded, *segment[len(self.dimensions) :])

    def refolded(self, segment: Segment) -> Segment:
        """The segment with values that the registry has turned down replaced by ``other``."""
        folded = tuple(
            value if value is None or value == OTHER or self._is_known(i, value) else OTHER
            for i, value in enumerate(segment[: len(self.dimensions)])
        )
        return (*folded, *segment[len(self.dimensions) :])

    def may_free(self, segments: Iterable[Segment], until: int) -> bool:
        """Whether a value of these may take a place by ``until`` (ms) that another has now.

        Which one goes depends on when each was accepted last.
        """
        full = [
            dimension
            for dimension, kept in enumerate(self._kept)
            if len(kept) >= self._limit and until > self._recheck_at[dimension]
        ]
        return bool(full) and any(
            (value := segment[dimension]) is not None
            and value != OTHER
            and not self._is_known(dimension, value)
            for segment in segments
            for dimension in full
        )

    def stands_until(self, segment: Segment) -> int:
        """Until when (ms) ``fold`` says the same again of a segment that it has just folded.

        ``generation`` or ``recoveries`` grow where that ends before.
        """
        dimensions = range(len(self.dimensions))
        ends = (
            self._value_stands_until(i, value)
            for i, value in zip(dimensions, segment, strict=False)
            if value is not None and value != OTHER
        )
        return min(ends, default=AFTER_ALL)

    def _value_stands_until(self, dimension: int, value: str) -> int:
        kept, undecided = self._kept[dimension], self.undecided[dimension]
        if self._is_known(dimension, value):
            if not self.shared:
                return AFTER_ALL
            since = kept[value] if value in kept else undecided[value]
            return since + self._memory_ms
        # Where the proposals are too many there may be room as soon as they are decided.
        return self._recheck_at[dimension] if len(kept) >= self._limit else BEFORE_ALL

    def _is_known(self, dimension: int, value: str) -> bool:
        return value in self._kept[dimension] or value in self.undecided[dimension]

    def _admits(self, dimension: int, value: str, at: int) -> bool:
        kept, undecided = self._kept[dimension], self.undecided[dimension]
        if self._is_known(dimension, value):
            if self.shared and at - kept.get(value, at) > self._memory_ms:
                # Its place may have been given away since this process was told of it.
                undecided[value] = at
            return True
        if len(kept) >= self._limit and at > self._recheck_at[dimension]:
            self._free(dimension, at)
        if self._is_full(kept, undecided):
            return False
        (undecided if self.shared else kept)[value] = at
        return True

    def _is_full(self, kept: Mapping[str, int], undecided: Mapping[str, int]) -> bool:
        """Proposals say nothing about room: the registry may turn these down and keep the next."""
        return len(kept) >= self._limit or len(undecided) >= self._most_undecided

    def _free(self, dimension: int, at: int) -> None:
        last = self.sightings()[dimension]
        kept = self._kept[dimension]
        memory = self._memory_ms
        if self.shared:
            # The registry has the last word; here it only is to be asked.
            last = {v: max(seen, last.get(v, seen)) for v, seen in kept.items()}
            memory += REFRESH_MS
        stale = [v for v in kept if at - last.get(v, BEFORE_ALL) > memory]
        for value in stale:
            del kept[value]
        if stale:
            self.generation += 1
        oldest = min((last[v] for v in kept), default=at)
        self._recheck_at[dimension] = oldest + memory

    def sightings(self) -> Places:
        """When the shards of this process have last accepted each value."""
        found: Places = [{} for _ in self.dimensions]
        for sightings in self._sources:
            for segment, seen in sightings():
                for values, value in zip(found, segment, strict=False):
                    if value is not None and value != OTHER:
                        values[value] = max(seen, values.get(value, seen))
        return found

    # With a registry ---------------------------------------------------------------------------

    @property
    def is_undecided(self) -> bool:
        """Whether the registry has to be asked before anything is written."""
        return any(self.undecided)

    def needs_refresh(self) -> bool:
        """Whether the registry believes that a value is not used any more which is."""
        return any(
            seen - kept.get(value, seen) > REFRESH_MS
            for kept, last in zip(self._kept, self.sightings(), strict=True)
            for value, seen in last.items()
        )

    def claim_lost(self, places: Places) -> int:
        """Propose again what the registry has lost, before all that came later; how much that is.

        Lost is what had a place in it and has none now, though nobody can have freed it.
        """
        claimed = 0
        kept_seen = zip(self._kept, self.sightings(), strict=True)
        for dimension, (known, (kept, seen)) in enumerate(zip(places, kept_seen, strict=True)):
            freed_before = self._freed_before(known)
            last = {v: max(at, seen.get(v, at)) for v, at in kept.items() if v not in known}
            lost = {value: at for value, at in last.items() if at > freed_before}
            self.undecided[dimension] = lost | self.undecided[dimension]
            claimed += len(lost)
        return claimed

    def propose(self, places: Places) -> Places:
        """The registry's places, with what this process has seen and proposes taken in."""
        mine = places or [{} for _ in self.dimensions]
        return agreed(mine, self.undecided, self.sightings(), self._limit, self._memory_ms)

    def of_others(self, stored: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
        """The registry's places in dimensions that only other configurations have.

        Workers whose configuration has the dimension say which values are in use. Those that none
        has seen for longer than any window may be are dropped, or a dimension that nobody has any
        more would stay for ever.
        """
        latest = max((at for values in stored.values() for at in values.values()), default=0)
        since = latest - _LONGEST_MEMORY_MS
        found = {
            dimension: {value: at for value, at in values.items() if at >= since}
            for dimension, values in stored.items()
            if dimension not in self.dimensions
        }
        return {dimension: values for dimension, values in found.items() if values}

    def decide(self, places: Places, proposed: Places) -> None:
        """Take the registry's places, which say all about the values that were ``proposed``.

        What it has turned down counts as ``other``: the segments have to look again.
        """
        self._claims = False
        places = places or [{} for _ in self.dimensions]
        turned_down = False
        for dimension, kept in enumerate(places):
            asked = proposed[dimension] if proposed else {}
            turned_down = turned_down or any(value not in kept for value in asked)
            for value in asked:
                self.undecided[dimension].pop(value, None)
            lost = any(value not in kept for value in self._kept[dimension])
            turned_down = turned_down or lost
            self._kept[dimension] = dict(kept)
        self._recheck_at = [BEFORE_ALL] * len(self.dimensions)
        if turned_down:
            self.generation += 1

    def lost(self) -> None:
        """The registry knows nothing, though there may be a state: what it holds is claimed."""
        self._claims = True

    def asked(self) -> Places:
        """A copy of what is undecided."""
        return [dict(values) for values in self.undecided]


def plain(places: Mapping[str, Mapping[str, int]], dimensions: Iterable[str]) -> Places:
    """Places as they are stored, by the dimension's name, in the order of the dimensions."""
    return [dict(places.get(dimension, {})) for dimension in dimensions]
