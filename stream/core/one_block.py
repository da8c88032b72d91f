"""What the stores of the state that are kept as a single block have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class OneBlock:
    """Notes whether the one block is due: whoever changes what it holds sets ``_touched``."""

    _BLOCK = "all"

    def __init__(self) -> None:
        self._touched = False

    def load(self, block: str, dumped: Any) -> None:
        """Put a dump in place."""
        raise NotImplementedError

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, unless the block already holds it."""
        if is_newer(self._BLOCK):
            self.load(self._BLOCK, change)
            self._touched = True

    def touched(self) -> set[str]:
        """The one block, where anything moved since the last call."""
        touched, self._touched = self._touched, False
        return {self._BLOCK} if touched else set()
