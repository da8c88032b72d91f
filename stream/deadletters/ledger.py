"""Which dead letters were sent again: ranges of offsets, in blocks that are written on their own.

Letters are sent in the order of their offsets, so that what was sent is a few ranges, whatever was
left out in between. The ledger is a compacted topic; each transaction that sends letters writes the
blocks that they are in.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import msgspec

from stream.core.errors import UNREADABLE, StopError

#: So many offsets of a partition share a record of the ledger: at worst, every second letter sent,
#: it has some 150 KB.
BLOCK: Final = 16_384
VERSION: Final = 1


class LedgerDamaged(StopError):
    """A record of the ledger can't be read; what was sent is not known."""


class _Block(msgspec.Struct):
    """What was sent of the offsets of a block."""

    #: Sorted, apart; from the first offset up to, not including, the second.
    sent: list[list[int]] = []
    #: The greatest offset that was sent, with the time (ms) of its letter; it tells a topic that
    #: was made anew.
    last: tuple[int, int] | None = None
    version: int = VERSION

    def has(self, offset: int) -> bool:
        place = bisect_right(self.sent, [offset, 1 << 62])
        return place > 0 and offset < self.sent[place - 1][1]

    def add(self, start: int, end: int) -> None:
        """Add a range, joined with those that it touches."""
        if not self.sent or start > self.sent[-1][1]:
            self.sent.append([start, end])
            return
        before = [r for r in self.sent if r[1] < start]
        after = [r for r in self.sent if r[0] > end]
        joined = self.sent[len(before) : len(self.sent) - len(after)]
        first = min([start, *(r[0] for r in joined)])
        last = max([end, *(r[1] for r in joined)])
        self.sent = [*before, [first, last], *after]


_decode: Final = msgspec.json.Decoder(_Block).decode
_Key = tuple[str, int, int]


class Ledger:
    """What was sent of all dead-letter topics, by their full names."""

    def __init__(self) -> None:
        self._blocks: dict[_Key, _Block] = {}
        self._touched: set[_Key] = set()

    @classmethod
    def read(cls, records: dict[bytes, bytes]) -> Ledger:
        """The ledger from the latest record of each key.

        Raises:
            LedgerDamaged: a record is none of a ledger, or of another version.
        """
        ledger = cls()
        for key, value in records.items():
            try:
                topic, partition, block = key.decode().split("/")
                found = _decode(value)
                ledger._blocks[topic, int(partition), int(block)] = found
            except (ValueError, *UNREADABLE) as error:
                raise LedgerDamaged(f"a record is damaged: {error}") from error
            if found.version != VERSION:
                raise LedgerDamaged(f"a record is of version {found.version}, not {VERSION}")
        return ledger

    def has(self, topic: str, partition: int, offset: int) -> bool:
        """Whether the letter at an offset was sent."""
        block = self._blocks.get((topic, partition, offset // BLOCK))
        return block is not None and block.has(offset)

    def add(self, topic: str, partition: int, offset: int, at: int, after: int | None) -> None:
        """The letter at ``offset``, refused at ``at`` (ms), is sent.

        ``after`` is the offset of the letter right before it, where that is known: if that one was
        sent too, the offsets in between, which hold no letter, join the two to one range.
        """
        joins = after is not None and self.has(topic, partition, after)
        self._mark(
            topic, partition, offset if after is None or not joins else after + 1, offset + 1
        )
        block = self._blocks[topic, partition, offset // BLOCK]
        if block.last is None or block.last[0] <= offset:
            block.last = (offset, at)

    def join(self, topic: str, partition: int, offset: int, after: int | None) -> None:
        """Make one range of two letters that were sent, where no letter lies in between."""
        if after is None or after + 1 == offset or self.has(topic, partition, offset - 1):
            return
        if self.has(topic, partition, after) and self.has(topic, partition, offset):
            self._mark(topic, partition, after + 1, offset)

    def _mark(self, topic: str, partition: int, start: int, end: int) -> None:
        for number in range(start // BLOCK, (end - 1) // BLOCK + 1):
            key = (topic, partition, number)
            block = self._blocks.setdefault(key, _Block())
            block.add(max(start, number * BLOCK), min(end, (number + 1) * BLOCK))
            self._touched.add(key)

    def last(self, topic: str, partition: int) -> tuple[int, int] | None:
        """The greatest offset that was sent, and the time (ms) of its letter; None: none was."""
        of_partition = [b.last for k, b in self._blocks.items() if k[:2] == (topic, partition)]
        return max((last for last in of_partition if last is not None), default=None)

    def forget(self, topic: str, partition: int, before: int | None = None) -> None:
        """Drop a partition's blocks; with ``before`` those whose offsets are all below it."""
        for key in [k for k in self._blocks if k[:2] == (topic, partition)]:
            if before is None or (key[2] + 1) * BLOCK <= before:
                del self._blocks[key]
                self._touched.add(key)

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The records to write for what has changed since the last call; None drops a key."""
        for key in sorted(self._touched):
            block = self._blocks.get(key)
            topic, partition, number = key
            yield (
                f"{topic}/{partition}/{number}".encode(),
                None if block is None else msgspec.json.encode(block),
            )
        self._touched.clear()
