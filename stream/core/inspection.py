"""What lies in a shard's state log: sizes, positions and what is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.core.event import Outcome
from stream.core.shard import Shard
from stream.core.state import Header, StateLog, StateRefused, part_of
from stream.core.values import Values


@dataclass
class Size:
    """How many records there are and how many bytes their keys and values take."""

    records: int = 0
    volume: int = 0

    def add(self, record: tuple[bytes, bytes]) -> None:
        """Count a record."""
        self.records += 1
        self.volume += sum(map(len, record))


@dataclass(frozen=True)
class Inspection:
    """A shard's state; all but the sizes are empty where it can't be read."""

    total: Size
    deltas: Size
    #: By the name of the store.
    blocks: Mapping[str, Size]
    header: Header | None = None
    #: Why the state can't be used.
    refusal: str | None = None
    flushes: int = 0
    positions: Mapping[str, int] = field(default_factory=dict)
    #: Topics that are others now than those which were read, or whose dead letters were written, by
    #: what is told of the present ones.
    made_anew: Sequence[str] = ()
    buried: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, Mapping[Outcome, int]] = field(default_factory=dict)
    remembered: Mapping[str, int] = field(default_factory=dict)
    #: Records that were gone before they were read, by topic, and entities that were forgotten
    #: before their time, by kind: all since the state began.
    gaps: Mapping[str, int] = field(default_factory=dict)
    forgotten: Mapping[str, int] = field(default_factory=dict)
    segments: int = 0
    #: The earliest and latest ``occurred_at`` accepted, and the time of the state, in ms.
    first: int | None = None
    last: int | None = None
    at: int | None = None


def inspect(records: Mapping[bytes, bytes]) -> Inspection:
    """Look at a log's records, the last of each key, as the settings in its header have it."""
    total, deltas, blocks = _sizes(records.items())
    if not records:
        return Inspection(total, deltas, blocks)
    try:
        header = Header.read(records)
        settings = header.shape.settings()
        shard = Shard(settings, Values(settings))
        log = StateLog(shard)
        log.recover(records)
    except StateRefused as error:
        return Inspection(total, deltas, blocks, refusal=str(error))
    progress = shard.progress
    return Inspection(
        total,
        deltas,
        blocks,
        header,
        flushes=log.sequence,
        positions=progress.positions,
        buried=progress.buried,
        outcomes=progress.outcomes,
        remembered=shard.remembered(),
        gaps=progress.gaps,
        forgotten=shard.forgotten(),
        segments=len(shard.segments),
        first=progress.first,
        last=max(progress.clocks.values(), default=None),
        at=progress.now,
    )


def _sizes(records: Iterable[tuple[bytes, bytes]]) -> tuple[Size, Size, dict[str, Size]]:
    total, deltas = Size(), Size()
    blocks: dict[str, Size] = {}
    for record in records:
        total.add(record)
        kind, store = part_of(record[0])
        if kind == "delta":
            deltas.add(record)
        elif kind == "block":
            blocks.setdefault(store, Size()).add(record)
    return total, deltas, dict(sorted(blocks.items()))
