"""A shard's state as records of a compacted log: deltas and blocks, and how they are folded.

Every flush writes a delta: what changed since the flush before. Blocks hold parts of the state
absolutely, each with the number of the flush that wrote it; a delta applies to a block only where
it is newer. A few of the changed blocks are written with every flush, and deltas that all blocks
cover are deleted. So checkpoints cost little and a recovery reads little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec
import zstandard

from stream.core.catalogue import LAYOUT
from stream.core.settings import SECOND, Settings
from stream.core.shard import Shard

#: Changes whenever records are written that older code can't read.
FORMAT: Final = 2
_LEVEL: Final = 1
_HEADER: Final = b"header"
_DELTA: Final = b"delta/"
_BLOCK: Final = b"block/"

#: How many bytes of blocks go with a flush, roughly: at least one block, if any has changed.
BLOCK_BUDGET: Final = 512 * 1024

#: How often what is too old is looked for, in ms.
EXPIRE_MS: Final = 10 * SECOND

#: Key and value of a log record; no value deletes the key.
LogRecord = tuple[bytes, bytes | None]


class StateRefused(Exception):
    """The state can't be used as it is; the message says why and what to do."""

    decision: ClassVar[str] = "stop"


_encode: Final = msgspec.msgpack.Encoder().encode
_compressor: Final = zstandard.ZstdCompressor(level=_LEVEL)
_decompressor: Final = zstandard.ZstdDecompressor()


def _pack(data: Any) -> bytes:
    return _compressor.compress(_encode(data))


def _unpack(value: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(_decompressor.decompress(value))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise StateRefused(f"a record of the state log is damaged: {error}") from error


def _shape(settings: Settings) -> Any:
    """What must be the same for the state to mean the same."""
    return {
        "counters": [list(entry) for entry in LAYOUT.names],
        "dimensions": list(settings.dimensions),
        "windows": [[w.label, w.pane_ms] for w in settings.windows],
        "cart_timeout_ms": settings.cart_timeout_ms,
    }


class StateLog:
    """Turns a shard's changes into log records and folds log records into a shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._stores = {store.name: store for store in shard.stores()}
        #: The number of the last flush.
        self.sequence = 0
        #: Deltas up to this one are deleted, since all blocks cover them.
        self._covered = 0
        #: Changed blocks and the first flush that their last written form lacks, oldest first.
        self._dirty: dict[tuple[str, str], int] = {}
        self._written_header = False
        self._expire_at = 0

    def flush(self, at: int) -> list[LogRecord]:
        """The records that make the state at time ``at`` durable; none where nothing changed."""
        shard = self._shard
        shard.fold(at)
        gone = []
        if at >= self._expire_at:
            self._expire_at = at + EXPIRE_MS
            gone = list(shard.expire(shard.progress.now))
        changes = {}
        for name, store in self._stores.items():
            change = store.changes()
            if change is not None:
                changes[name] = change
        if not changes and not gone:
            return []
        self.sequence += 1
        for name, store in self._stores.items():
            for block in store.touched():
                self._dirty.setdefault((name, block), self.sequence)
        records = self._tombstones(gone)
        records += self._blocks()
        first_needed = min(self._dirty.values(), default=self.sequence + 1)
        # This flush's own delta stays, since it carries the numbers that recovery starts from.
        covered = min(first_needed - 1, self.sequence - 1)
        records += [(_delta_key(s), None) for s in range(self._covered + 1, covered + 1)]
        self._covered = max(self._covered, covered)
        now = shard.progress.now
        delta = (_delta_key(self.sequence), _pack([self.sequence, self._covered, now, changes]))
        if not self._written_header:
            self._written_header = True
            records.insert(0, (_HEADER, _pack([FORMAT, _shape(shard.settings)])))
        return [*records, delta]

    def _tombstones(self, gone: Iterable[tuple[str, str]]) -> list[LogRecord]:
        records: list[LogRecord] = []
        for name, block in gone:
            self._dirty.pop((name, block), None)
            records.append((_block_key(name, block), None))
        return records

    def _blocks(self) -> list[LogRecord]:
        records: list[LogRecord] = []
        size = 0
        for name, block in list(self._dirty):
            if size >= BLOCK_BUDGET:
                break
            dumped = self._stores[name].dump(block)
            value = _pack([self.sequence, dumped])
            records.append((_block_key(name, block), value))
            size += len(value)
            del self._dirty[name, block]
        return records

    def recover(self, records: Mapping[bytes, bytes]) -> None:
        """Fold the log's records, the last of each key, into the shard, which must be new.

        Raises:
            StateRefused: the records are damaged, incomplete, or of other settings.
        """
        if not records:
            return
        self._check_header(records)
        blocks = [[*_unpack(v), k] for k, v in records.items() if k.startswith(_BLOCK)]
        deltas = sorted(_unpack(v) for k, v in records.items() if k.startswith(_DELTA))
        self._check_deltas([d[0] for d in deltas], deltas[-1][1] if deltas else 0)
        written: dict[tuple[str, str], int] = {}
        # A record that moved to another block stands in both until the older one is written anew.
        for sequence, dumped, key in sorted(blocks, key=lambda b: int(b[0])):
            name, block = key[len(_BLOCK) :].decode().split(":", 1)
            if name in self._stores:
                self._stores[name].load(block, dumped)
                written[name, block] = sequence
        for sequence, _, at, changes in deltas:
            self._apply(sequence, at, changes, written)
        self.sequence, self._covered, now, _ = deltas[-1]
        list(self._shard.expire(now))
        self._shard.segments.recovered(now)
        self._shard.recovered()

    def _apply(
        self, sequence: int, at: int, changes: Mapping[str, Any], written: Mapping[Any, int]
    ) -> None:
        for name, store in self._stores.items():
            if name in changes:

                def is_newer(block: str, name: str = name) -> bool:
                    return sequence > written.get((name, block), 0)

                store.apply(changes[name], at, is_newer)
                # Changes that came from the log need no second delta, but their blocks are due.
                for block in store.touched():
                    self._dirty.setdefault((name, block), sequence)

    def _check_header(self, records: Mapping[bytes, bytes]) -> None:
        header = records.get(_HEADER)
        if header is None:
            raise StateRefused("the state log has no header; it was damaged or cut off")
        version, shape = _unpack(header)
        if version != FORMAT:
            raise StateRefused(f"the state has format {version}, this version reads {FORMAT}")
        expected = _shape(self._shard.settings)
        for key, value in expected.items():
            if shape.get(key) != value:
                raise StateRefused(f"the state was written with other {key.replace('_', ' ')}")
        self._written_header = True

    def _check_deltas(self, sequences: list[int], covered: int) -> None:
        wanted = sequences[-1] - covered if sequences else 0
        kept = [s for s in sequences if s > covered]
        if not kept or len(kept) != wanted or kept[0] != covered + 1:
            raise StateRefused("the state log lacks records; it was damaged or cut off")


def _delta_key(sequence: int) -> bytes:
    return _DELTA + b"%d" % sequence


def _block_key(name: str, block: str) -> bytes:
    return _BLOCK + f"{name}:{block}".encode()
