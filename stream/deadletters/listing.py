"""Many dead letters in bounded memory: the newest ones, and counts by what is wrong."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from stream.core.timestamps import format_ms
from stream.deadletters.letter import Letter

#: Groups of reasons that are counted apart; letters of further ones count as others.
MOST_GROUPS: Final = 1_000
#: Of a listed letter's key no more is kept, in bytes.
_LONGEST_KEY: Final = 1_024
#: Of texts in headers no more is kept; our worker writes no longer ones.
_LONGEST_TEXT: Final = 256

#: Where in a record JSON ends differs from record to record; what is wrong doesn't.
_BYTE: Final = re.compile(r"\(byte \d+\)")


class Listed(NamedTuple):
    """A letter without its record, and whether it was sent again."""

    letter: Letter
    #: Whether it was sent again; None of another group's, which is not known.
    redriven: bool | None


class Newest:
    """Keeps the newest ``limit`` letters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[tuple[int, str, int, int], Listed]] = []
        #: How many letters there were in all.
        self.seen = 0

    def add(self, letter: Letter, *, redriven: bool | None) -> None:
        """Take in a letter."""
        self.seen += 1
        order = (letter.at, letter.topic, letter.partition, letter.offset)
        if len(self._heap) == self._limit and order < self._heap[0][0]:
            return
        entry = (order, Listed(_short(letter), redriven))
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def letters(self) -> list[Listed]:
        """The newest ones, in order of time."""
        return [listed for _, listed in sorted(self._heap, key=lambda entry: entry[0])]


def _short(letter: Letter) -> Letter:
    return replace(
        letter,
        value=None,
        headers=(),
        key=None if letter.key is None else letter.key[:_LONGEST_KEY],
        outcome=letter.outcome[:_LONGEST_TEXT],
        field=letter.field[:_LONGEST_TEXT],
        reason=letter.reason[:_LONGEST_TEXT],
        group=letter.group[:_LONGEST_TEXT],
        left_out=letter.left_out[:_LONGEST_TEXT],
    )


class Group(NamedTuple):
    """Letters that are refused for the same reason."""

    topic: str
    outcome: str
    field: str
    reason: str


@dataclass(slots=True)
class GroupCount:
    """How many letters a group has, and the times (ms) of the first and the last."""

    count: int
    first: int
    last: int

    def add(self, at: int, count: int = 1) -> None:
        """Count letters of the time ``at``."""
        self.count += count
        self.first, self.last = min(self.first, at), max(self.last, at)

    def row(self, group: Group | None) -> dict[str, Any]:
        """For JSON; ``group`` None: all that have no group of their own."""
        named = group._asdict() if group else dict.fromkeys(Group._fields)
        return {
            **named,
            "count": self.count,
            "first": format_ms(self.first),
            "last": format_ms(self.last),
        }


class Counts:
    """Counts letters by topic, outcome, field and reason: up to ``most`` groups, and the others."""

    def __init__(self, most: int = MOST_GROUPS) -> None:
        self._most = most
        self._groups: dict[Group, GroupCount] = {}
        self._others: GroupCount | None = None

    @property
    def total(self) -> int:
        """How many letters there were."""
        others = self._others.count if self._others else 0
        return others + sum(tally.count for tally in self._groups.values())

    def add(self, letter: Letter) -> None:
        """Count a letter by why it was refused."""
        self.count(
            Group(
                letter.topic,
                letter.outcome[:_LONGEST_TEXT],
                letter.field[:_LONGEST_TEXT],
                letter.reason[:_LONGEST_TEXT],
            ),
            letter.at,
        )

    def count(self, group: Group, at: int) -> None:
        """Count a letter of the time ``at`` (ms) in a group."""
        group = group._replace(reason=_BYTE.sub("(byte …)", group.reason))
        tally = self._groups.get(group)
        if tally is None and len(self._groups) >= self._most:
            tally = self._others
        if tally is not None:
            tally.add(at)
        elif len(self._groups) < self._most:
            self._groups[group] = GroupCount(1, at, at)
        else:
            self._others = GroupCount(1, at, at)

    def groups(self) -> Iterator[tuple[Group | None, GroupCount]]:
        """The groups, those with most letters first; last the others (None), where there are any.

        Groups of equal size stand in order of their names.
        """
        yield from sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0]))
        if self._others is not None:
            yield None, self._others

    def rows(self) -> list[dict[str, Any]]:
        """The groups for JSON."""
        return [tally.row(group) for group, tally in self.groups()]
