"""Which dead letters are wanted."""

from __future__ import annotations

from dataclasses import dataclass

from stream.deadletters.letter import Letter


@dataclass(frozen=True, slots=True)
class Filter:
    """Wanted is what fits every part; an empty one fits everything. Times are in ms."""

    outcomes: frozenset[str] = frozenset()
    #: A part of the reason, in any case of letters, or the path of a field.
    reason: str = ""
    #: Refused at or after this moment.
    since: int | None = None
    #: Refused before this moment.
    until: int | None = None

    def wants(self, letter: Letter) -> bool:
        """Whether a letter fits."""
        if self.outcomes and letter.outcome not in self.outcomes:
            return False
        if self.since is not None and letter.at < self.since:
            return False
        if self.until is not None and letter.at >= self.until:
            return False
        return not self.reason or self._has_reason(letter)

    def _has_reason(self, letter: Letter) -> bool:
        return (
            letter.field == self.reason
            or letter.field.startswith(f"{self.reason}.")
            or self.reason.casefold() in letter.reason.casefold()
        )
