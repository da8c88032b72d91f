"""Whose topics a group reads: the prefix of their names, noted beside the state.

A state's positions stand under the topics' names without prefix. Where the prefix is another now
they are positions of other topics, and what lies before them there would never be read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from stream.core.state import REMEDY, StateRefused
from stream.core.state_records import damaged, pack, unpack

#: The key of the note in each partition of the state. Whoever folds a state passes over it.
_KEY: Final = b"topic_prefix"


def note_of(prefix: str) -> tuple[bytes, bytes]:
    """Key and value of the record that says which prefix the state belongs to."""
    return _KEY, pack(prefix)


def is_noted(records: Mapping[bytes, bytes]) -> bool:
    """Whether a state says which prefix it belongs to: earlier versions did not note that."""
    return _KEY in records


def refuse_other_prefix(records: Mapping[bytes, bytes], prefix: str) -> None:
    """See that a state is of topics with this prefix; one without a note counts as such.

    Raises:
        StateRefused: it is of others, or the note is damaged.
    """
    if not is_noted(records):
        return
    noted = unpack(_KEY, records[_KEY])
    if not isinstance(noted, str):
        raise damaged(_KEY, "it is no prefix")
    if noted != prefix:
        raise StateRefused(
            f"the state was counted from topics with the prefix {noted!r}, but kafka.topic_prefix"
            f" is {prefix!r}: set another kafka.group for these topics, or {REMEDY}"
        )


def reads_other_topics(shared_out: Collection[str], own: Collection[str]) -> str | None:
    """Why a worker that reads its ``own`` topics gets nothing; None where it reads the same.

    ``shared_out``: the topics of the worker that shares out; none: not known.
    """
    theirs, ours = set(shared_out) - set(own), set(own) - set(shared_out)
    if not shared_out or not (theirs or ours):
        return None
    return (
        f"other workers read {min(theirs, default='fewer topics')}, this one"
        f" {min(ours, default='fewer topics')}, so it gets nothing to read: set another"
        " kafka.group for one of them"
    )
