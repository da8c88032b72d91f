"""The state log itself, read by nobody's worker: is it whole, and does it say the truth?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from stream.core.event import DEAD_LETTER_OUTCOMES
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog, StateRefused
from stream.core.values import Values
from tests.faults.compare import Message, shard_differences
from tests.kafka.topics import Read
from tests.kafka.truth import Truth

_DELTA = b"delta/"
_LISTED = 5


def audit(
    log: Iterable[Read],
    source: Sequence[Read],
    prefix: str,
    settings: Settings,
    truth: Truth,
    at: int,
    probes: Sequence[tuple[int, Message]] = (),
) -> list[str]:
    """What is wrong with the committed records of a state log; ``probes`` with their partitions.

    Each shard's records are folded as a worker would, and the outcome is compared with the truth's
    shard, before and after both have taken in the probes.
    """
    by_partition: dict[int, list[Read]] = {}
    for record in log:
        by_partition.setdefault(record.partition, []).append(record)
    values, wrong = Values(settings), list[str]()
    for partition, wanted in sorted(truth.shards.items()):
        records = by_partition.get(partition, [])
        where = f"shard {partition}: "
        wrong += [where + w for w in numbering(records)]
        shard = Shard(settings, values)
        try:
            StateLog(shard).recover(folded(records))
        except StateRefused as error:
            wrong.append(f"{where}refused: {error}")
            continue
        wrong += [where + w for w in _positions(shard, partition, source, prefix)]
        mine = [message for home, message in probes if home == partition]
        wrong += [where + w for w in shard_differences(shard, wanted, at, mine)]
    return wrong


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


def _positions(shard: Shard, partition: int, source: Sequence[Read], prefix: str) -> list[str]:
    ends: dict[str, int] = {}
    for record in source:
        if record.partition == partition:
            ends[record.topic.removeprefix(prefix)] = record.offset + 1
    found = shard.progress.positions
    return [
        f"{topic} is read up to {found.get(topic)}, not {end}"
        for topic, end in ends.items()
        if found.get(topic, 0) < end
    ]


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
