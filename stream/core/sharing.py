"""What a shard tells the owners of the KPI families, so that they can add up all shards.

A share is absolute: whole panes, whole pieces of label sets, written again when they have changed.
So it may be read twice, from any point, and its volume depends on how much has changed in a second,
not on the rate of events, nor on how much is remembered. Each share begins with a beat, which says
how far the shard has come and how many records follow.

Whoever takes over a shard begins a new life of it and tells everything anew, a part with each
share. Until that is complete, readers go on with what the life before has said. What can be large
is in several records, each of a bounded size: the cells of a pane, and the series of health.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import msgspec
import numpy as np
import xxhash
import zstandard

from stream.core.catalogue import FAMILIES, FAMILY_OF_COUNTER, LAYOUT
from stream.core.cells import COUNTER_MASK
from stream.core.contents import Contents, Mark
from stream.core.groups import Groups, Rollup
from stream.core.health import LocalHealth
from stream.core.intake import FUTURE_MS
from stream.core.integers import Ints
from stream.core.settings import MINUTE, SECOND, Settings, Window
from stream.core.shard import Shard
from stream.core.tally import GRACE_MS, dumped_cells
from stream.core.topics import signal, subscription
from stream.core.values import Segment

#: How many cells a share may hold beyond what has changed, so that a new life is told in parts.
CELLS_AT_ONCE: Final = 400_000
#: About how many records of label sets and of rows a share may hold beyond what has changed.
SETS_AT_ONCE: Final = 10_000
ROWS_AT_ONCE: Final = 48
#: How many cells stand in one record, 20 bytes each at most.
CELLS: Final = 400_000
#: How many series of health stand in one record, each with all its labels.
SERIES: Final = 2_048
#: The health of a window's next pane is told so long before it begins, in ms.
AHEAD_MS: Final = 2 * SECOND
#: A new life tells the health of panes that ended so long before it at most, in ms: what rules that
#: are late are evaluated at, and some. Those are no more than so many, as a pane lasts a second.
BEHIND_MS: Final = 6 * SECOND
_MOST_BEHIND: Final = BEHIND_MS // SECOND
#: How many rows stand in one record.
ROWS: Final = 256
#: Panes go so long after their time at the latest, in ms, and some.
_LINGER_MS: Final = MINUTE

#: What is told of a series: its key, the sum of its scores, its customers, those at risk.
_Row = tuple[Any, ...]
#: Key and value of a record; no value: there is nothing (any more).
ShareRecord = tuple[bytes, bytes | None]

#: Changes whenever records are written that other versions would misread. Versions that had none
#: wrote label sets whole; 2 had three places for health; of a label set that several shards have,
#: with 3 the first said where it counts; 4 had panes and health in one record each; with 5 beats
#: had no mark, with 6 none of the windows' starts.
_PROTOCOL: Final = 7

#: Settings that nothing that is counted depends on; all others do, also those to come.
ONLY_FOR_ALERTS: Final = frozenset({"rules", "evaluate_ms", "dashboard_url"})

_encode: Final = msgspec.msgpack.Encoder().encode
#: Sets and mappings in an order of their own, whatever order they were made in.
_encode_in_order: Final = msgspec.msgpack.Encoder(order="deterministic").encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, Any]).decode
_compress: Final = zstandard.ZstdCompressor(level=1).compress
_decompress: Final = zstandard.ZstdDecompressor().decompress


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """How far a shard has come. All times are ms since the epoch."""

    #: How many records follow in this share.
    following: int
    #: Whether all that this life knows has been told, with this share.
    whole: bool
    #: The shard's own time.
    at: int
    #: The latest time such that all that the sources held then is applied.
    complete_to: int
    #: The earliest ``occurred_at`` ever accepted.
    first: int | None
    #: The greatest ``occurred_at`` of the family's topic.
    clock: int | None
    #: Records of the family's topic by outcome.
    outcomes: dict[str, int]
    #: Of the keys that hold anything of this life now, and what they hold.
    mark: Mark
    #: From when on windows that were added to the shard's state later hold what happened, by label.
    starts: dict[str, int]


def fingerprint(settings: Settings) -> str:
    """What must be the same for two workers to add up each other's shares.

    That is which counters there are, all settings that what is counted depends on, or a sum would
    be of neither, and how records are written: a worker of a version that writes others passes
    over these, as over those of another configuration.
    """
    counted = {f.name: getattr(settings, f.name) for f in fields(settings)}
    for name in ONLY_FOR_ALERTS:
        del counted[name]
    # All that is told of a window names it, so their order means nothing.
    counted["windows"] = sorted(settings.windows, key=attrgetter("label"))
    return f"{hash_of(_encode_in_order((_PROTOCOL, LAYOUT.places, counted))):016x}"


def hash_of(data: bytes) -> int:
    """A number that stands for some bytes."""
    return xxhash.xxh3_64_intdigest(data)


def pack(life: str, data: Any) -> bytes:
    """A record's value."""
    return _compress(_encode((life, data)))


def unpack(value: bytes) -> tuple[str, Any]:
    """The life and the data of a record.

    Raises:
        zstandard.ZstdError, UNREADABLE: the record is damaged.
    """
    return _decode(_decompress(value))


def ring(window: Window) -> int:
    """How many panes of a window can be there at once; a pane's key is its number modulo this."""
    return window.panes + (GRACE_MS + FUTURE_MS + _LINGER_MS) // window.pane_ms + 2


def health_slots(window: Window) -> int:
    """Of how many of a window's panes health is there at once.

    The present one, those that ended within ``BEHIND_MS``, and those that begin within
    ``AHEAD_MS``, which are two where a pane lasts a second.
    """
    return 3 + _behind(window)


def _behind(window: Window) -> int:
    return min(-(-BEHIND_MS // window.pane_ms), _MOST_BEHIND)


class Sharing:
    """Tells what has changed in a shard since the last share; at first, all there is.

    ``life`` tells this owner's shares from those of the owners before and after.
    """

    def __init__(self, shard: Shard, number: int, life: str) -> None:
        self._shard = shard
        self._number = number
        self._life = f"{fingerprint(shard.settings)}-{life}"
        self._windows = {w.label: w for w in shard.settings.windows}
        self._groups: dict[Rollup, tuple[int, tuple[Groups, Ints]]] = {}
        #: Panes that were not told in this life yet, the newest last.
        self._untold = sorted(self._all_panes(), key=lambda p: p[1] * self._windows[p[0]].pane_ms)
        #: Label sets and blocks of rows of which the same holds.
        self._untold_sets = list(shard.active.sets)
        self._untold_rows = list(range(-(-len(shard.segments.rows) // ROWS)))
        #: The pane that readers have of each family, by window and slot of the ring, and in how
        #: many records.
        self._told: list[dict[tuple[str, int], tuple[int, int]]] = [{} for _ in FAMILIES]
        self._told_health: dict[tuple[str, int], tuple[int, ...]] = {}
        #: In how many records readers have health, by window and slot.
        self._parts_of_health: dict[tuple[str, int], int] = {}
        #: The segment of each label set that readers have, since when, and the number of pieces.
        self._told_active: dict[bytes, tuple[Segment, int, int]] = {}
        #: What readers have of each family.
        self._contents = [Contents() for _ in FAMILIES]
        for renewed in (shard.windows.renewed, shard.segments.renamed, shard.active.renewed):
            renewed.clear()

    def _all_panes(self) -> Iterator[tuple[str, int]]:
        for label, cells in self._shard.windows.cells.items():
            for pane in cells.slots():
                yield label, pane

    @property
    def is_whole(self) -> bool:
        """Whether everything was told."""
        return not (self._untold or self._untold_sets or self._untold_rows)

    def collect(self, at: int, complete_to: int) -> dict[str, list[ShareRecord]]:
        """The records for each family, in order; a family's first one is its beat."""
        shard = self._shard
        # Each key once: of two records with one key a compacted log keeps one, and the beat would
        # wait for the other for ever.
        records: list[dict[bytes, bytes | None]] = [{} for _ in FAMILIES]
        for key, rows in self._rows():
            for of_family in records:
                of_family[key] = rows
        for family, (key, value) in self._panes(at):
            records[family][key] = value
        records[FAMILIES.index(subscription.NAME)].update(self._active())
        records[FAMILIES.index(signal.NAME)].update(self._of_customers(at))
        for contents, of_family in zip(self._contents, records, strict=True):
            for key, value in of_family.items():
                contents.note(key, value)
        whole, progress = self.is_whole, shard.progress
        beats = {
            topic: Beat(
                len(of_family),
                whole,
                at,
                complete_to,
                progress.first,
                progress.clocks.get(topic),
                {str(o): n for o, n in progress.outcomes.get(topic, {}).items()},
                contents.mark,
                shard.windows.starts,
            )
            for topic, of_family, contents in zip(FAMILIES, records, self._contents, strict=True)
        }
        return {
            topic: [(self._key("beat"), pack(self._life, beats[topic])), *of_family.items()]
            for topic, of_family in zip(FAMILIES, records, strict=True)
        }

    def _key(self, kind: str, *rest: object) -> bytes:
        return "/".join(map(str, (kind, self._number, *rest))).encode()

    def _rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Records of the segments in which rows have another meaning now, or were not told yet."""
        segments = self._shard.segments
        renamed, segments.renamed = segments.renamed, set()
        blocks = {row // ROWS for row in renamed}
        blocks.update(self._untold_rows[:ROWS_AT_ONCE])
        del self._untold_rows[:ROWS_AT_ONCE]
        for block in sorted(blocks):
            rows = segments.rows[block * ROWS : (block + 1) * ROWS]
            yield self._key("rows", block), pack(self._life, rows)

    def _panes(self, at: int) -> Iterator[tuple[int, ShareRecord]]:
        """Records of panes that have changed, and of some that were not told yet."""
        windows = self._shard.windows
        changed, windows.renewed = windows.renewed, set()
        for block in changed:
            name, number = block.rsplit("/", 1)
            if name in self._windows:
                yield from self._pane(name, int(number), at)
        cells = 0
        while self._untold and cells < CELLS_AT_ONCE:
            label, pane = self._untold.pop()
            if f"{label}/{pane}" in changed:
                continue
            cells += windows.pane(label, pane)[0].size
            yield from self._pane(label, pane, at)

    def _pane(self, label: str, pane: int, at: int) -> Iterator[tuple[int, ShareRecord]]:
        """Records of a pane; none where a later one has its slot."""
        window = self._windows[label]
        slot = pane % ring(window)
        keys, values = self._shard.windows.pane(label, pane)
        if pane < window.first_pane(at - GRACE_MS):
            keys = keys[:0]
        families = FAMILY_OF_COUNTER[keys & COUNTER_MASK]
        for family, told in enumerate(self._told):
            of_family = np.flatnonzero(families == family)
            former, parts = told.get((label, slot), (pane, 0))
            if not of_family.size and former != pane:
                continue
            starts = range(0, of_family.size, CELLS)
            for part, start in enumerate(starts):
                some = of_family[start : start + CELLS]
                data = [pane, *dumped_cells(keys[some], values[some])]
                yield family, (self._key("pane", label, slot, part), pack(self._life, data))
            for part in range(len(starts), parts):
                yield family, (self._key("pane", label, slot, part), None)
            told[label, slot] = pane, len(starts)

    def _active(self) -> Iterator[ShareRecord]:
        """Records of label sets: one without the counts, and those of pieces, by their number."""
        active = self._shard.active
        renewed, active.renewed = active.renewed, set()
        for key in (*renewed, *self._next_sets()):
            found, name = active.sets.get(key), f"{hash_of(key):016x}"
            told = self._told_active.pop(key, None)
            pieces = [] if found is None else found.net.pieces
            if found is None:
                yield self._key("active", name), None
            else:
                place = found.segment, found.since
                self._told_active[key] = *place, len(pieces)
                if told is None or told[:2] != place or found.rebased:
                    data = [key, found.segment, found.since, list(found.bases.values())]
                    yield self._key("active", name), pack(self._life, data)
                    found.rebased = False
            for number, piece in enumerate(pieces):
                if told is None or piece.renewed:
                    yield self._key("piece", name, number), pack(self._life, piece.dump())
                    piece.renewed = False
            for number in range(len(pieces), told[2] if told is not None else 0):
                yield self._key("piece", name, number), None

    def _next_sets(self) -> Iterator[bytes]:
        """Label sets that were not told yet, as many as a share has room for."""
        records = 0
        while self._untold_sets and records < SETS_AT_ONCE:
            key = self._untold_sets.pop()
            found = self._shard.active.sets.get(key)
            if found is not None and key not in self._told_active:
                records += 1 + len(found.net.pieces)
                yield key

    def _of_customers(self, at: int) -> Iterator[ShareRecord]:
        """Health in the windows' present panes, and in those that begin in a moment."""
        shard = self._shard
        accepted = shard.progress.outcomes.get(signal.NAME, {}).get("accepted", 0)
        # What is forgotten in its time has left the windows of all panes that are told from now on.
        version = (accepted, shard.segments.version, shard.signals.forgotten)
        told: dict[tuple[str, int], tuple[int, ...]] = {}
        # What the life before has told of panes before this one counts no more.
        is_new = not self._told_health
        for window in shard.settings.windows:
            present = at // window.pane_ms
            first = present - _behind(window) if is_new else present
            for pane in {*range(first, present + 1), (at + AHEAD_MS) // window.pane_ms}:
                told[window.label, pane] = version
                if self._told_health.get((window.label, pane)) != version:
                    yield from self._health_in(window, pane)
        self._told_health = told

    def _health_in(self, window: Window, pane: int) -> Iterator[ShareRecord]:
        """Records of health in a pane."""
        slot = pane % health_slots(window)
        parts = _parted(self._health_of(window, pane))
        for number, part in enumerate(parts):
            yield self._key("health", window.label, slot, number), pack(self._life, [pane, part])
        for number in range(len(parts), self._parts_of_health.get((window.label, slot), 0)):
            yield self._key("health", window.label, slot, number), None
        self._parts_of_health[window.label, slot] = len(parts)

    def _health_of(self, window: Window, pane: int) -> list[list[_Row]]:
        """What is told of the series of each rollup."""
        shard = self._shard
        # What it has found once it keeps, so it must not outlast the signals as they are now.
        health = LocalHealth(shard.signals)
        found = []
        for rollup in shard.settings.rollups:
            groups, series = self._groups_of(rollup)
            sums = health.sums(window, pane * window.pane_ms, rollup, groups.find, series)
            columns = (column.tolist() for column in sums)
            found.append([(groups.keys[n], *rest) for n, *rest in zip(*columns, strict=True)])
        return found

    def _groups_of(self, rollup: Rollup) -> tuple[Groups, Ints]:
        """The series of a rollup and that of each row, until a row gets another meaning."""
        segments = self._shard.segments
        found = self._groups.get(rollup)
        if found is None or found[0] != segments.version:
            groups = Groups(self._shard.settings.dimensions, rollup)
            found = segments.version, (groups, groups.numbers(segments.rows))
            self._groups[rollup] = found
        return found[1]


def _parted(rollups: list[list[_Row]]) -> list[list[list[_Row]]]:
    """The series of each rollup, in parts of which each has so many of all together."""
    parts: list[list[list[_Row]]] = [[[] for _ in rollups]]
    room = SERIES
    for place, rows in enumerate(rollups):
        start = 0
        while start < len(rows):
            if not room:
                parts.append([[] for _ in rollups])
                room = SERIES
            some = rows[start : start + room]
            parts[-1][place] = some
            start += len(some)
            room -= len(some)
    return parts
