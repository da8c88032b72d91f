"""The mistakes, as data: what becomes of one piece of the core's source, and why it matters.

Each piece stands exactly once in its file; a test says so, for a mistake must not fall silent when
the core changes. They are made in a copy of the package, never in the source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """In ``file`` of ``stream/core``, ``old`` becomes ``new``; ``harm`` says what goes wrong."""

    name: str
    file: str
    old: str
    new: str
    harm: str


class DoesNotApply(Exception):
    """The source that a mistake changes is not there exactly once."""


def changed(mistake: Mistake, source: str) -> str:
    """The source with the mistake in it.

    Raises:
        DoesNotApply: the core has changed; so must the mistake.
    """
    if source.count(mistake.old) != 1:
        raise DoesNotApply(f"{mistake.name}: {mistake.file} has it {source.count(mistake.old)}×")
    return source.replace(mistake.old, mistake.new)
