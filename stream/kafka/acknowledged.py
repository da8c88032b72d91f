"""How far a reader has come that finishes records out of order."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from stream.core.errors import UNREADABLE

#: A broker takes 4,096 bytes of notes with a commit, unless it is told otherwise.
LONGEST_NOTE: Final = 4_000
#: A note that tells of nothing.
NO_NOTE: Final = "[]"
#: A note that tells of more records is none of ours.
_MOST_ENDED: Final = 100_000


class Acknowledged:
    """What was begun and ended in one partition.

    The position to commit is that of the first record that was not ended. What was ended beyond it
    goes along as a note, so that whoever reads on from there can pass it over; what does not fit
    into the note is read again.
    """

    def __init__(self, position: int = -1, ended: set[int] | None = None) -> None:
        self._position = position
        #: Offsets begun and not ended, in order.
        self._open: dict[int, None] = {}
        self._ended = ended or set()
        #: What who read before us had ended: how many, and the offset after the last of them.
        self._recalled = len(self._ended)
        self._recalled_to = max(self._ended, default=-1) + 1
        #: The offset after the latest that was begun.
        self._next = position
        #: How many were ended since it was last asked what to commit.
        self.unwritten = 0

    @classmethod
    def recalled(cls, position: int, note: str) -> Self:
        """As it was when ``position`` and ``note`` were committed; a note of others is nothing."""
        try:
            ranges = msgspec.json.decode(note or NO_NOTE, type=list[tuple[int, int]])
        except UNREADABLE:
            return cls(position)
        lengths = [length for _, length in ranges]
        # A negative length would make up for one that is too long.
        if min(lengths, default=1) < 1 or sum(lengths) > _MOST_ENDED:
            return cls(position)
        ended: set[int] = set()
        for after, length in ranges:
            ended.update(range(position + after, position + after + length))
        return cls(position, ended)

    def begin(self, offset: int) -> bool:
        """Note that a record was read; False if it was ended before and needs no more."""
        self._next = max(self._next, offset + 1)
        if offset < self._position or offset in self._ended:
            return False
        self._open[offset] = None
        return True

    def end(self, offset: int) -> None:
        """Note that a record needs no more."""
        del self._open[offset]
        self._ended.add(offset)
        self.unwritten += 1

    def is_full(self, most: int) -> bool:
        """Whether ``most`` were ended beyond one that is underway, whose end alone makes room.

        Where nothing is underway there is nothing to wait for: what comes next may be what holds
        up all the others. Nor is anything held up by those that were recalled until all of them
        were passed, as others that were not ended lie among them; ``most`` may pass on the way.
        """
        if self._next < self._recalled_to:
            most += self._recalled
        if not self._open or len(self._ended) < most:
            return False
        first = next(iter(self._open))
        self._ended = {offset for offset in self._ended if offset > first}
        return len(self._ended) >= most

    def written(self, longest: int = LONGEST_NOTE) -> tuple[int, str]:
        """The position to commit, and the note to go along, of ``longest`` bytes at most."""
        self.unwritten = 0
        self._position = next(iter(self._open), self._next)
        while self._position in self._ended:  # By who read before us; we have not come there yet.
            self._position += 1
        self._ended = {offset for offset in self._ended if offset > self._position}
        return self._position, self._note(longest)

    def _note(self, longest: int) -> str:
        ranges: list[tuple[int, int]] = []
        for offset in sorted(self._ended):
            if ranges and sum(ranges[-1]) == offset - self._position:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
            else:
                ranges.append((offset - self._position, 1))
        while ranges and len(note := msgspec.json.encode(ranges)) > longest:
            ranges = ranges[: len(ranges) // 2]
        return note.decode() if ranges else NO_NOTE
