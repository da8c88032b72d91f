"""Brings the blocks of a state to other windows and dimensions.

Only some parts of a state depend on them: which segment a row stands for, the panes of the windows,
and the sets of labels of subscriptions. Rows keep their numbers and counters their places, so what
is remembered of entities stays as it is. Blocks are taken in the form in which stores dump them.

A dimension that is added finds its values in the labels that a set of them has for a key. Where the
key is a digest, since the labels are too long, they are not known: such a set goes on counting, in
the series that it counted in before, and has no value of the new dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from stream.core.cells import summed
from stream.core.labels import LONGEST_KEY, bounded
from stream.core.packed import Packed
from stream.core.settings import Settings
from stream.core.shape import sources
from stream.core.tally import Tally, cells_of, dumped_cells
from stream.core.values import Segment

#: The stores whose blocks mean something else under other windows or dimensions.
SHAPED: Final = ("segments", "panes", "active")

Blocks = dict[str, Any]
#: Where values of new dimensions count, which may be in ``other``.
Fold = Callable[[Segment], Segment]


def is_needed(written: Settings, now: Settings) -> bool:
    """Whether blocks have to be changed.

    Also where windows are in another order: deltas name them by their places.
    """
    return written.windows != now.windows or written.dimensions != now.dimensions


def has_unbounded_keys(keys: Iterable[bytes]) -> bool:
    """Whether sets of labels have keys of any length, as earlier versions wrote them."""
    return any(len(key) > LONGEST_KEY and _is_labels(key) for key in keys)


class Migration:
    """From the settings that a state was written with to today's."""

    def __init__(
        self, written: Settings, now: Settings, starts: Mapping[str, int], fold: Fold
    ) -> None:
        """``starts``: from when on windows that were new to the state hold what happened."""
        self._now = now
        self._starts = starts
        self._sources = sources(written.windows, now.windows, starts)
        self._fold = fold
        self._places = [
            written.dimensions.index(d) if d in written.dimensions else None for d in now.dimensions
        ]
        self._units = (Tally(written.windows).unit_ms, Tally(now.windows).unit_ms)

    def migrated(self, store: str, blocks: Mapping[str, Any]) -> Blocks:
        """The blocks that stand for all blocks of a store, by their names."""
        return {"segments": self._segments, "panes": self._panes, "active": self._active}[store](
            blocks
        )

    def starts(self, begin: int) -> dict[str, int]:
        """From when on windows hold what happened; those that start empty do so at ``begin``."""
        found = {}
        for label, source in self._sources.items():
            start = begin if source is None else self._starts.get(source.label)
            if start is not None:
                found[label] = start
        return found

    def _projected(self, segment: Segment) -> Segment:
        """Today's dimensions of a segment, the currency last; None for new ones."""
        values = (None if place is None else segment[place] for place in self._places)
        return (*values, segment[-1])

    def _segments(self, blocks: Mapping[str, Any]) -> Blocks:
        return {
            name: [*columns, [self._projected(segment) for segment in segments]]
            for name, (*columns, segments) in blocks.items()
        }

    def _panes(self, blocks: Mapping[str, Any]) -> Blocks:
        found: dict[str, dict[int, Any]] = {}
        for block, dumped in blocks.items():
            label, pane = block.rsplit("/", 1)
            found.setdefault(label, {})[int(pane)] = dumped
        migrated: Blocks = {}
        for window in self._now.windows:
            source = self._sources[window.label]
            if source is None:
                continue
            ratio = window.pane_ms // source.pane_ms
            parts: dict[int, list[Any]] = {}
            for number, dumped in found.get(source.label, {}).items():
                parts.setdefault(number // ratio, []).append(dumped)
            for number, some in parts.items():
                migrated[f"{window.label}/{number}"] = some[0] if len(some) == 1 else _added(some)
        return migrated

    def _active(self, blocks: Mapping[str, Any]) -> Blocks:
        migrated: Blocks = {}
        # Where values of a new dimension are more than have places, those in use have them.
        latest_first = sorted(blocks.values(), key=lambda told: (-told[2], told[0]))
        for key, segment, since, net, bases in latest_first:
            home = self._home(key, tuple(segment))
            # A set of labels that found no room stands for its segment and is named after it.
            name = repr(home).encode() if _is_segment(key) else bounded(key)
            counts = [(self._unit(unit), n) for unit, n in net]
            known = migrated.get(name.hex())
            if known is not None:
                since, home = max((since, home), (known[2], known[1]), key=lambda told: told[0])
                counts += known[3]
                bases = [*known[4], *bases]
            migrated[name.hex()] = [name, home, since, counts, bases]
        return migrated

    def _unit(self, unit: int) -> int:
        former, now = self._units
        return unit * former // now

    def _home(self, key: bytes, segment: Segment) -> Segment:
        home = self._projected(segment)
        if None not in self._places or not _is_labels(key):
            return home
        labels: dict[str, str] = msgspec.json.decode(key)
        names = zip(self._now.dimensions, self._places, strict=True)
        new = (labels.get(name) if place is None else None for name, place in names)
        folded = self._fold((*new, None))
        return (
            tuple(
                value if place is not None else other
                for value, other, place in zip(home[:-1], folded, self._places, strict=False)
            )
            + home[-1:]
        )


def _is_labels(key: bytes) -> bool:
    return key.startswith(b"{")


def _is_segment(key: bytes) -> bool:
    return key.startswith(b"(")


def _added(dumps: list[Any]) -> list[Packed]:
    """The cells of several panes in one."""
    low, values = zip(*map(cells_of, dumps), strict=True)
    return dumped_cells(*summed(np.concatenate(low), np.concatenate(values)))
