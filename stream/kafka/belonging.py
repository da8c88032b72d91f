"""Which topics a group reads: their names' prefix, partitions and ids, beside the state.

A state's positions stand under the topics' names without prefix. Where the prefix is another now
they are positions of other topics, and what lies before them there would never be read. Where a
topic has another number of partitions, the events of an entity are no longer where it is known.
Where it has another id it was made anew, and its records have nothing to do with the positions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from stream.core.state import REMEDY, StateRefused
from stream.core.state_records import damaged, pack, unpack

#: The keys of the notes in each partition of the state. Whoever folds a state passes over them.
_PREFIX: Final = b"topic_prefix"
_PARTITIONS: Final = b"source_partitions"
_IDS: Final = b"source_ids"


def notes_of(
    prefix: str, partitions: Mapping[str, int], ids: Mapping[str, str]
) -> list[tuple[bytes, bytes]]:
    """Keys and values of the records that say which topics the state belongs to.

    ``partitions`` has their number by the topic's name without prefix, ``ids`` what the broker
    tells of their ids; older ones tell none.
    """
    notes = [(_PREFIX, pack(prefix)), (_PARTITIONS, pack(dict(sorted(partitions.items()))))]
    return [*notes, (_IDS, pack(dict(sorted(ids.items()))))] if ids else notes


def lacking(
    records: Mapping[bytes, bytes],
    prefix: str,
    partitions: Mapping[str, int],
    ids: Mapping[str, str],
) -> list[tuple[bytes, bytes]]:
    """The notes that a state lacks: earlier versions, and under older brokers, wrote fewer.

    What a state says of topics that this version does not know stays.

    Raises:
        StateRefused: a note is damaged.
    """
    notes = notes_of(
        prefix, _noted_partitions(records) | dict(partitions), _noted_ids(records) | dict(ids)
    )
    return [(key, value) for key, value in notes if records.get(key) != value]


def refuse_other_prefix(records: Mapping[bytes, bytes], prefix: str) -> None:
    """See that a state is of topics with this prefix; one without a note counts as such.

    Raises:
        StateRefused: it is of others, or the note is damaged.
    """
    if _PREFIX not in records:
        return
    noted = unpack(_PREFIX, records[_PREFIX])
    if not isinstance(noted, str):
        raise damaged(_PREFIX, "it is no prefix")
    if noted != prefix:
        raise StateRefused(
            f"the state was counted from topics with the prefix {noted!r}, but kafka.topic_prefix"
            f" is {prefix!r}: set another kafka.group for these topics, or {REMEDY}"
        )


def refuse_other_partitions(
    records: Mapping[bytes, bytes],
    prefix: str,
    partitions: Mapping[str, int],
    positions: Mapping[str, int],
) -> None:
    """See that the topics that were read have as many partitions as when the state was written.

    ``positions``: up to where they were read. A topic of which nothing was, as one that is new to
    this version, may have any number.

    Raises:
        StateRefused: one has another number, or the note is damaged.
    """
    noted = _noted_partitions(records)
    for topic in _others(noted, partitions, positions):
        raise StateRefused(
            f"topic {prefix}{topic} has {partitions[topic]} partitions and had {noted[topic]} when"
            f" the state was written: their number has changed; {REMEDY}"
        )


def refuse_other_ids(
    records: Mapping[bytes, bytes],
    prefix: str,
    ids: Mapping[str, str],
    positions: Mapping[str, int],
) -> None:
    """See that the topics that were read are those that the state was counted from.

    ``positions``: up to where they were read. A topic of which nothing was may be another now, and
    one whose id is not known, on either side, counts as the same.

    Raises:
        StateRefused: one was made anew, or the note is damaged.
    """
    for topic in made_anew(records, ids, positions):
        raise StateRefused(f"topic {prefix}{topic} was made anew since it was read; {REMEDY}")


def made_anew(
    records: Mapping[bytes, bytes], ids: Mapping[str, str], positions: Mapping[str, int]
) -> tuple[str, ...]:
    """The topics that were made anew since they were read, up to ``positions``.

    Raises:
        StateRefused: the note is damaged.
    """
    return _others(_noted_ids(records), ids, positions)


def _others(
    noted: Mapping[str, object], now: Mapping[str, object], positions: Mapping[str, int]
) -> tuple[str, ...]:
    """The topics that were read and of which something else was noted than there is now."""
    return tuple(t for t, it in now.items() if positions.get(t) and noted.get(t, it) != it)


def _noted_ids(records: Mapping[bytes, bytes]) -> dict[str, str]:
    return _noted(records, _IDS, "ids of topics")


def _noted_partitions(records: Mapping[bytes, bytes]) -> dict[str, int]:
    return _noted(records, _PARTITIONS, "numbers of partitions")


def _noted(records: Mapping[bytes, bytes], key: bytes, what: str) -> dict[str, Any]:
    """What a note says by topic; nothing where there is none."""
    if key not in records:
        return {}
    noted = unpack(key, records[key])
    if not isinstance(noted, dict):
        raise damaged(key, f"it has no {what}")
    return noted


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
