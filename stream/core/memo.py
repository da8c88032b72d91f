"""What is made of keys that come again and again, remembered in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """Makes a value at the first look-up of a key, and keeps it.

    When ``bound`` values are kept it starts anew: that is rare, and costs nothing in between.
    """

    def __init__(self, make: Callable[[K], V], bound: int) -> None:
        super().__init__()
        self._make = make
        self._bound = bound

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if len(self) >= self._bound:
            self.clear()
        self[key] = value
        return value
