"""The state log itself, read by nobody's worker: is it whole, and does it say the truth?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from stream.core.event import DEAD_LETTER_OUTCOMES
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog, StateRefused
from stream.core.values import Values
from tests.faults.compare import Message, shard_differences
from tests.faults.verdict import FALLEN_APART
from tests.kafka.topics import Read
from tests.kafka.truth import Truth

_DELTA = b"delta/"
_LISTED = 5


@dataclass
class Audit:
    """What a state log says, and what lies in the dead letters, beside what was read."""

    wrong: list[str] = field(default_factory=list)
    #: Records that no shard has read; they say nothing of those that were read.
    unread: list[str] = field(default_factory=list)


def audit(
    log: Iterable[Read],
    letters: Sequence[Read],
    source: Sequence[Read],
    prefix: str,
    settings: Settings,
    at: int,
    probes: Callable[[Sequence[Read]], Sequence[tuple[int, Message]]] = lambda _: (),
) -> Audit:
    """Compare committed records with the truth of what the state says was read, and no more.

    Each shard's records are folded as a worker would, and the outcome is compared with the truth's
    shard, before and after both have taken in the ``probes`` of what was read, with partitions.
    """
    by_partition: dict[int, list[Read]] = {}
    for record in log:
        by_partition.setdefault(record.partition, []).append(record)
    found, shards, values = Audit(), dict[int, Shard](), Values(settings)
    for partition in sorted({r.partition for r in source}):
        records = by_partition.get(partition, [])
        shard = Shard(settings, values)
        found.wrong += [f"shard {partition}: {w}" for w in numbering(records)]
        try:
            StateLog(shard).recover(folded(records))
        except StateRefused as error:
            found.wrong.append(f"shard {partition}: refused: {error}")
        except FALLEN_APART as error:
            found.wrong.append(f"shard {partition}: the state falls apart: {error!r}")
        else:
            shards[partition] = shard
    read, found.unread = _read(shards, source, prefix)
    truth, probing = Truth(settings, prefix, read), list(probes(read))
    found.wrong += letter_differences(letters, truth)
    for partition, shard in shards.items():
        wanted = truth.shards.get(partition) or Shard(settings, Values(settings))
        mine = [message for home, message in probing if home == partition]
        found.wrong += [
            f"shard {partition}: {w}" for w in shard_differences(shard, wanted, at, mine)
        ]
    return found


def _read(
    shards: Mapping[int, Shard], source: Sequence[Read], prefix: str
) -> tuple[list[Read], list[str]]:
    """The records that lie before the shards' positions, and where others begin.

    Of a shard that can't be read, all count as read.
    """
    read, ends = list[Read](), dict[tuple[int, str], int]()
    for record in source:
        topic = record.topic.removeprefix(prefix)
        shard = shards.get(record.partition)
        if shard is None or record.offset < shard.progress.positions.get(topic, 0):
            read.append(record)
        else:
            ends[record.partition, topic] = record.offset + 1
    unread = [
        f"shard {partition}: {topic} is read up to"
        f" {shards[partition].progress.positions.get(topic)}, not {end}"
        for (partition, topic), end in sorted(ends.items())
    ]
    return read, unread


def folded(records: Iterable[Read]) -> dict[bytes, bytes]:
    """What compaction comes down to: the last value of each key."""
    latest: dict[bytes, bytes] = {}
    for record in records:
        if record.value is None:
            latest.pop(record.key or b"", None)
        elif record.key is not None:
            latest[record.key] = record.value
    return latest


def numbering(records: Iterable[Read]) -> list[str]:
    """Deltas count on by one: whoever writes without owning the shard repeats or skips a number.

    Compaction takes away deltas that are deleted, from the oldest on.
    """
    numbers = [
        int((r.key or b"")[len(_DELTA) :])
        for r in records
        if r.value is not None and (r.key or b"").startswith(_DELTA)
    ]
    deleted = {
        int((r.key or b"")[len(_DELTA) :])
        for r in records
        if r.value is None and (r.key or b"").startswith(_DELTA)
    }
    wrong = []
    for before, after in pairwise(numbers):
        between = set(range(before + 1, after))
        if after <= before or not between <= deleted:
            wrong.append(f"delta {before} is followed by {after}")
    return wrong[:_LISTED]


def letter_differences(letters: Sequence[Read], truth: Truth) -> list[str]:
    """Each refused record has to lie in the dead letters once, as it was, with its reason."""
    wanted = {
        (r.topic, r.partition, r.offset): (r, outcome)
        for r, outcome in truth.refused.items()
        if outcome in DEAD_LETTER_OUTCOMES
    }
    places: Counter[tuple[str, int, int]] = Counter()
    wrong = []
    for letter in letters:
        said = letter.reasons
        place = (
            said["__connect.errors.topic"],
            int(said["__connect.errors.partition"]),
            int(said["__connect.errors.offset"]),
        )
        places[place] += 1
        record, outcome = wanted.get(place, (None, None))
        if record is None:
            wrong.append(f"{place} was accepted, and lies in the dead letters")
        elif (letter.key, letter.value) != (record.key, record.value):
            wrong.append(f"{place} was changed on its way to the dead letters")
        elif (said["cxkpi.outcome"], letter.topic) != (outcome, f"{record.topic}.dlq"):
            wrong.append(f"{place} lies in {letter.topic} as {said['cxkpi.outcome']}")
    wrong += [f"{place} lies {n} times in the dead letters" for place, n in places.items() if n > 1]
    wrong += [f"{place} is missing in the dead letters" for place in wanted.keys() - places.keys()]
    if len(wrong) > _LISTED:
        wrong = [*wrong[:_LISTED], f"{len(wrong)} dead letters are wrong in all"]
    return wrong
