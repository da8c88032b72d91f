"""A shard's state as records of a compacted log: deltas and blocks, and how they are folded.

Every flush writes a delta: what changed since the flush before. Blocks hold parts of the state
absolutely, each with the number of the flush that wrote it; a delta applies to a block only where
it is newer. A few of the changed blocks are written with every flush, and deltas that all blocks
cover are deleted. So checkpoints cost little and a recovery reads little.

The header holds the shape of the state. Where settings have changed, the first flush writes all
blocks that mean something else now, and the header says since when: what older deltas say of them
is in the blocks then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from stream import __version__
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.migration import SHAPED, Migration, has_unbounded_keys, is_needed
from stream.core.segments import FORMER_BLOCK
from stream.core.settings import SECOND, Settings
from stream.core.shape import Fact, Shape, facts
from stream.core.shard import Shard
from stream.core.state_records import (
    DELTA,
    HEADER,
    REMEDY,
    Blocks,
    Delta,
    LogRecord,
    StateRefused,
    are_checked,
    block_key,
    block_of,
    block_records,
    damaged,
    delta_key,
    first_key,
    in_deltas,
    is_block,
    is_further,
    joined,
    pack,
    packed_block,
    unpacked_block,
    unpacked_delta,
    unpacked_header,
)
from stream.core.tally import Tally
from stream.core.text import printable
from stream.core.topic import Store
from stream.core.values import Values

__all__ = ["FORMAT", "REMEDY", "Header", "LogRecord", "StateLog", "StateRefused", "part_of"]

#: Changes whenever records are written that older code can't read.
FORMAT: Final = 10
#: Formats that are read; 4 had no counts of one window alone, 5 took more bytes for counters, 6 had
#: nothing to tell damage by, 7 all segments in one block, 8 starts of windows within units of time,
#: 9 no seed.
READABLE: Final = (4, 5, 6, 7, 8, 9, FORMAT)
#: The first format in which windows start at moments that are told apart.
_EXACT_STARTS: Final = 9
#: The first format that has a seed; that of all before is 0.
_SEEDED: Final = 10
#: The store of sets of labels, and how their blocks' keys begin.
_SETS: Final = "active"
_LABEL_SET: Final = block_key(_SETS, "")
#: The store of segments, and the block that it had in formats up to 7.
_SEGMENTS: Final = "segments"
_FORMER: Final = (_SEGMENTS, FORMER_BLOCK)

#: How many bytes of blocks go with a flush, roughly: at least one block, if any has changed.
BLOCK_BUDGET: Final = 128 * 1024
#: Writing a block takes as long as so many bytes more would, so each counts for these too: where
#: many small ones change again and again, as those of sparse events do, they are written rarely.
BLOCK_COST: Final = 1024
#: After a delta of more bytes than this, half as many bytes of blocks are written as it has, so the
#: deltas that no block covers yet come to twice what all blocks count for at most, at any rate.
_LARGE_DELTA: Final = 2 * BLOCK_BUDGET

#: How often what is too old is looked for, in ms.
EXPIRE_MS: Final = 10 * SECOND

#: What the header holds behind the format.
_HEADER: Final = tuple[str, int, dict[str, int], Shape, Annotated[int, msgspec.Meta(ge=0)]]
_LACKING: Final = f"the state log lacks records, so it was damaged or cut off; {REMEDY}"


class Header(NamedTuple):
    """What a state says of itself."""

    #: The version of the product that wrote it.
    version: str
    shape: Shape
    #: The first flush in this shape.
    since: int
    #: Windows that were new to the state hold what happened from so on, in ms, by label.
    starts: dict[str, int]
    #: How it is written.
    format: int = FORMAT
    #: That of the digests in the state, for as long as there is the state. Nobody is told it.
    seed: int = 0

    def __repr__(self) -> str:
        return f"Header(version={self.version!r}, format={self.format}, since={self.since})"

    @classmethod
    def read(cls, records: Mapping[bytes, bytes]) -> Header:
        """The header of a log that has records.

        Raises:
            StateRefused: there is none, or another format or counters than this version's.
        """
        value = records.get(HEADER)
        if value is None:
            raise StateRefused(
                f"the state log has no header, so it was damaged or cut off; {REMEDY}"
            )
        number, *rest = unpacked_header(value)
        if number not in READABLE:
            writer = f" of version {rest[0]}" if number > FORMAT else ""
            raise StateRefused(
                f"the state has format {number}{writer}, this version reads"
                f" {', '.join(map(str, READABLE[:-1]))} and {FORMAT}; {REMEDY}"
            )
        if number < _SEEDED:
            rest.append(0)
        try:
            version, since, starts, shape, seed = msgspec.convert(rest, _HEADER)
        except msgspec.ValidationError as error:
            raise damaged(HEADER, error) from error
        version = printable(version)
        misplaced = shape.misplaced()
        if misplaced is not None:
            raise StateRefused(
                f"the state is of version {version}, which counts {misplaced} otherwise than this"
                f" one; go back to that version, or {REMEDY}"
            )
        if number < _EXACT_STARTS:
            # What began within a unit of time has counted from the next one on.
            unit = Tally(shape.settings().windows).unit_ms
            starts = {label: -(-start // unit) * unit for label, start in starts.items()}
        return cls(version, shape, since, starts, number, seed)

    def record(self) -> LogRecord:
        """The header as it is written."""
        plain = msgspec.to_builtins(self.shape)
        return HEADER, pack([FORMAT, self.version, self.since, self.starts, plain, self.seed])


class StateLog:
    """Turns a shard's changes into log records and folds log records into a shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._stores: dict[str, Store] = {store.name: store for store in shard.stores()}
        #: The number of the last flush.
        self.sequence = 0
        #: What becomes of a state that was written with other settings, until that is durable.
        self.facts: tuple[Fact, ...] = ()
        #: Deltas up to this one are deleted, since all blocks cover them.
        self._covered = 0
        #: Changed blocks and the first flush that their last written form lacks, oldest first.
        self._dirty: dict[tuple[str, str], int] = {}
        #: Blocks that are in the log and of no more use.
        self._stale: set[tuple[str, str]] = set()
        self._contents = Blocks()
        self._header = Header(__version__, Shape.of(shard.settings), 1, {}, seed=shard.digests.seed)
        self._header_is_due = True
        self._is_migrated = False
        self._expire_at = 0
        self._flushed_at = BEFORE_ALL
        self._delta_size = 0

    def flush(self, at: int) -> list[LogRecord]:
        """The records that make the state at time ``at`` durable; none where nothing changed."""
        shard = self._shard
        shard.fold(at)
        gone = []
        at, former = shard.progress.now, self._flushed_at
        self._flushed_at = at
        # A clock that was set back leaves the time where it is until it has caught up, and more
        # than the limits allow would be remembered meanwhile.
        if at >= self._expire_at or at == former:
            self._expire_at = at + EXPIRE_MS
            gone = list(shard.expire(at))
        changes = {
            name: parts for name, store in self._stores.items() if (parts := store.changes())
        }
        if not changes and not gone and not self._stale and not self._header_is_due:
            return []
        first = self.sequence + 1
        for name, store in self._stores.items():
            for block in store.touched():
                self._dirty.setdefault((name, block), first)
        # What was over at a recovery and has come again: its block would come again too.
        again = (self._stale & self._dirty.keys()) - set(gone)
        if _FORMER in self._stale:
            again |= {block for block in self._dirty if block[0] == _SEGMENTS}
        tombstones = self._tombstones(gone)
        deleted = [block_of(key) for key, _ in tombstones if not is_further(key)]
        deltas = in_deltas(changes, deleted)
        self.sequence += len(deltas)
        records = self._header_record() + tombstones + self._blocks(again)
        first_needed = min(self._dirty.values(), default=self.sequence + 1)
        # This flush's own deltas stay, since they carry the numbers that recovery starts from.
        covered = min(first_needed, first) - 1
        records += [(delta_key(s), None) for s in range(self._covered + 1, covered + 1)]
        self._covered = max(self._covered, covered)
        self._contents.follow(records, self.sequence)
        mark = self._contents.mark
        written = [
            (delta_key(n), pack(Delta(n, self._covered, at, part, mark, over)))
            for n, (part, over) in enumerate(deltas, first)
        ]
        self._delta_size = sum(len(delta) for _, delta in written)
        return [*records, *written]

    def _header_record(self) -> list[LogRecord]:
        if not self._header_is_due:
            return []
        self._header_is_due, self.facts = False, ()
        if self._is_migrated:
            self._header = self._header._replace(since=self.sequence)
        return [self._header.record()]

    def _tombstones(self, gone: Iterable[tuple[str, str]]) -> list[LogRecord]:
        for block in gone:
            self._dirty.pop(block, None)
            self._stale.add(block)
        # One that has come again meanwhile is to be written instead.
        stale, self._stale = self._stale - self._dirty.keys(), set()
        keys = [block_key(name, block) for name, block in stale]
        return [(k, None) for key in keys for k in (key, *self._contents.further(key))]

    def _blocks(self, at_once: Collection[tuple[str, str]]) -> list[LogRecord]:
        due, self._is_migrated = SHAPED if self._is_migrated else (), False
        records: list[LogRecord] = []
        size, budget = 0, BLOCK_BUDGET * max(1, self._delta_size / _LARGE_DELTA)
        for name, block in list(self._dirty):
            if size >= budget and not due and not at_once:
                break
            if size >= budget and name not in due and (name, block) not in at_once:
                continue
            dumped = self._stores[name].dump(block)
            key = block_key(name, block)
            value = packed_block(key, self.sequence, dumped)
            written = block_records(key, value)
            records += written
            # A block that has become smaller may need fewer records.
            records += [(k, None) for k in self._contents.further(key)[len(written) - 1 :]]
            size += len(value) + BLOCK_COST
            del self._dirty[name, block]
        return records

    def recover(self, records: Mapping[bytes, bytes]) -> None:
        """Fold the log's records, the last of each key, into the shard, which must be new.

        Raises:
            StateRefused: the records are damaged, incomplete, or of an incompatible version.
        """
        if not records:
            return
        try:
            self._recover(records)
        except (StateRefused, MemoryError):
            raise
        except Exception as error:
            if are_checked(joined(records)):
                raise  # All is as it was written, so the reason is another.
            raise StateRefused(f"the state log is damaged: {error!r}; {REMEDY}") from error

    def _recover(self, in_records: Mapping[bytes, bytes]) -> None:
        records = joined(in_records)
        header = Header.read(records)
        self._shard.digests.seed = header.seed
        deltas = sorted(
            (unpacked_delta(k, v) for k, v in records.items() if k.startswith(DELTA)),
            key=attrgetter("sequence"),
        )
        self._check_deltas([d.sequence for d in deltas], deltas[-1].covered if deltas else 0)
        blocks = {k: unpacked_block(k, v) for k, v in records.items() if is_block(k)}
        for key in filter(is_block, in_records):
            self._contents.put(key, blocks[first_key(key)][0])
        self.sequence, self._covered, now, _, mark, _ = deltas[-1]
        if mark is not None and mark != self._contents.mark:
            raise StateRefused(_LACKING)
        written = header.shape.settings()
        keys = _label_keys(records, (d for d in deltas if d.sequence >= header.since))
        migrates = is_needed(written, self._shard.settings) or has_unbounded_keys(keys)
        stores = dict(self._stores)
        if migrates:
            former = Shard(written, Values(written))
            former.windows.start_at(header.starts)
            stores |= {store.name: store for store in former.stores() if store.name in SHAPED}
        self._shard.windows.start_at(header.starts)
        in_log = self._fold(blocks, deltas, stores, header.since)
        if _FORMER in in_log:
            self._replace_former(stores[_SEGMENTS], in_log)
        if migrates:
            self._migrate(written, stores, in_log, now)
        self._take_header(header)
        for block in self._shard.expire(now):
            self._dirty.pop(block, None)
            self._stale.add(block)
        self._shard.segments.recovered(now)
        self._shard.recovered()

    def _fold(
        self,
        blocks: Mapping[bytes, tuple[int, Any]],
        deltas: Sequence[Delta],
        stores: Mapping[str, Store],
        since: int,
    ) -> set[tuple[str, str]]:
        """Load blocks and apply deltas; the blocks that are in the log."""
        written: dict[tuple[str, str], int] = {}
        by_flush = [(sequence, dumped, key) for key, (sequence, dumped) in blocks.items()]
        # A record that moved to another block stands in both until the older one is written anew.
        for sequence, dumped, key in sorted(by_flush, key=itemgetter(0)):
            name, block = block_of(key)
            if name in stores:
                stores[name].load(block, dumped)
                written[name, block] = sequence
            else:
                self._stale.add((name, block))
        # What deltas before a block's deletion say of it is over, also where some are gone by now.
        over = {part: delta.sequence - 1 for delta in deltas for part in delta.deleted}
        newest = {part: max(over.get(part, 0), written.get(part, 0)) for part in over | written}
        for sequence, _, at, changes, *_ in deltas:
            fit = {n: s for n, s in stores.items() if sequence >= since or n not in SHAPED}
            self._apply(sequence, at, changes, fit, newest)
        return set(written)

    def _replace_former(self, segments: Store, in_log: set[tuple[str, str]]) -> None:
        """See that the blocks of segments are written when the one that they come from goes."""
        in_log.remove(_FORMER)
        self._stale.add(_FORMER)
        for block in segments.touched():
            self._dirty.setdefault((_SEGMENTS, block), self.sequence + 1)

    def _apply(
        self,
        sequence: int,
        at: int,
        changes: Mapping[str, Any],
        stores: Mapping[str, Store],
        written: Mapping[Any, int],
    ) -> None:
        for name, store in stores.items():
            if name in changes:

                def is_newer(block: str, name: str = name) -> bool:
                    return sequence > written.get((name, block), 0)

                store.apply(changes[name], at, is_newer)
                # Changes that came from the log need no second delta, but their blocks are due.
                for block in store.touched():
                    self._dirty.setdefault((name, block), sequence)

    def _migrate(
        self,
        written: Settings,
        stores: Mapping[str, Store],
        in_log: set[tuple[str, str]],
        now: int,
    ) -> None:
        """Bring what was folded under the settings it was written with to today's."""
        segments, windows = self._shard.segments, self._shard.windows
        settings, starts = self._shard.settings, windows.starts
        migration = Migration(written, settings, starts, lambda s: segments.folded(s, now))
        for name in SHAPED:
            changed = {key for key in self._dirty if key[0] == name}
            known = changed | {key for key in in_log if key[0] == name}
            former = {block: stores[name].dump(block) for _, block in sorted(known)}
            blocks = migration.migrated(name, former)
            for key in changed:
                del self._dirty[key]
            for block, dumped in blocks.items():
                self._stores[name].load(block, dumped)
                if former.get(block) is not dumped or (name, block) in changed:
                    self._dirty[name, block] = self.sequence + 1
            self._stale |= {key for key in known & in_log if key[1] not in blocks}
        # What happened up to now may be taken back, which a window that begins now must not see.
        begin = max([now, *self._shard.progress.clocks.values()]) + 1
        windows.start_at(migration.starts(self._shard.tally.next_start(begin)))
        self._shard.active.placed_anew()
        self._is_migrated = True

    def _take_header(self, header: Header) -> None:
        """Go on from what was written; a header that says otherwise is due."""
        self.facts = facts(header.shape, self._shard.settings, header.starts)
        starts = self._shard.windows.starts
        self._header = self._header._replace(since=header.since, starts=starts, seed=header.seed)
        self._header_is_due = self._is_migrated or self._header != header

    def _check_deltas(self, sequences: list[int], covered: int) -> None:
        wanted = sequences[-1] - covered if sequences else 0
        kept = [s for s in sequences if s > covered]
        if not kept or len(kept) != wanted or kept[0] != covered + 1:
            raise StateRefused(_LACKING)


def _label_keys(records: Iterable[bytes], deltas: Iterable[Delta]) -> Iterator[bytes]:
    """The keys of sets of labels in blocks and deltas."""
    for key in records:
        if key.startswith(_LABEL_SET):
            yield bytes.fromhex(key[len(_LABEL_SET) :].decode())
    for delta in deltas:
        yield from (key for key, *_ in delta.changes.get(_SETS, ()))


def part_of(key: bytes) -> tuple[str, str]:
    """The kind of a log record, ``header``, ``delta`` or ``block``, and the store of a block."""
    kind, _, rest = key.decode(errors="replace").partition("/")
    return kind, rest.split(":", 1)[0] if kind == "block" else ""
