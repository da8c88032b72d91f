"""Who makes the choices of a stream: hypothesis, which can shrink it, or a seed, which is quick."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Picks(Protocol):
    """Makes choices."""

    def of(self, choices: Sequence[T]) -> T:
        """One of the choices; the plain ones come first."""

    def below(self, n: int) -> int:
        """A whole number from 0 to below n; 0 is the plain one."""


class Drawn:
    """Choices that hypothesis makes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def of(self, choices: Sequence[T]) -> T:
        return self._draw(st.sampled_from(choices))

    def below(self, n: int) -> int:
        return self._draw(st.integers(0, n - 1))


class Rolled:
    """Choices that follow from a seed."""

    def __init__(self, seed: int) -> None:
        self._rolls = Random(seed)

    def of(self, choices: Sequence[T]) -> T:
        return self._rolls.choice(choices)

    def below(self, n: int) -> int:
        return self._rolls.randrange(n)


def shuffled(picks: Picks, things: Sequence[T]) -> list[T]:
    """The things in any order."""
    rest, found = list(things), []
    while rest:
        found.append(rest.pop(picks.below(len(rest))))
    return found
