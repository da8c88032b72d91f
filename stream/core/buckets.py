"""Which records of a memory are written together: buckets by the time of their birth, in parts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from stream.core.ends_of_time import AFTER_ALL
from stream.core.integers import Ints, Mask, among, distinct, order_of, with_counts
from stream.core.settings import MINUTE
from stream.core.table import NO_KEY, KeyTable, Slots

#: A last time for records that are never forgotten.
FOREVER: Final = AFTER_ALL
BUCKET_MS: Final = 10 * MINUTE
#: A bucket that has grown to so many records goes on in a further part.
BUCKET_RECORDS: Final = 4096
#: Before all names of buckets, which are larger numbers than times; and so before all times.
BEFORE_ANY: Final = -(1 << 62)
#: Fields of the table: the last time of a record, and the number of its bucket.
LAST_TIME: Final = "last"
BUCKET: Final = "bucket"
_PARTS: Final = 1 << 20
#: Fewer records that have left a bucket are not worth a look.
_FEW: Final = 64


class Bucket:
    """The slots of the records that were born at about one time, and some that have moved."""

    __slots__ = ("left", "name", "number", "slots")

    def __init__(self, name: int, number: int) -> None:
        self.name = name
        #: What stands for the bucket in the table.
        self.number = number
        self.slots = array("i")
        #: How many of them have moved.
        self.left = 0

    @property
    def size(self) -> int:
        """How many records it has. It is the same after a recovery, so what follows from it is."""
        return len(self.slots) - self.left

    def all_slots(self) -> Slots:
        """Those that it ever took in and has not let go, the moved ones too."""
        return np.array(self.slots, dtype=np.int64)


class Buckets:
    """The buckets of a table's records, by name, which tells their time, and by number."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self.named: dict[int, Bucket] = {}
        self.numbered: list[Bucket] = []
        self._free_numbers: list[int] = []
        #: The youngest part of each time, which takes new records.
        self._youngest: dict[int, int] = {}
        #: Whether parts of what has no time may have become small enough to be put together.
        self.are_thinned = True
        #: No bucket that can expire ends before this.
        self.next_end = FOREVER
        #: Buckets up to these were forgotten early: of those with a time, and of those without.
        self.horizons = [BEFORE_ANY, FOREVER - 1]
        #: Names of those that have changed since they were taken last.
        self.touched: set[int] = set()

    @property
    def nbytes(self) -> int:
        """The bytes that the buckets take beside the table."""
        return sum(b.slots.itemsize * len(b.slots) for b in self.named.values())

    def touch(self, number: int) -> None:
        """Note that records of a bucket have changed."""
        self.touched.add(self.numbered[number].name)

    def touch_all(self, slots: Slots) -> None:
        """Note that these records have changed."""
        numbers = distinct(self._table.fields[BUCKET][slots]).tolist()
        self.touched.update([self.numbered[number].name for number in numbers])

    def bucket(self, name: int) -> Bucket:
        """The bucket of this name; a new one where there is none."""
        bucket = self.named.get(name)
        if bucket is None:
            if self._free_numbers:
                number = self._free_numbers.pop()
                bucket = self.numbered[number] = Bucket(name, number)
            else:
                bucket = Bucket(name, len(self.numbered))
                self.numbered.append(bucket)
            self.named[name] = bucket
            self._youngest[name // _PARTS] = max(name, self._youngest.get(name // _PARTS, name))
            self.next_end = min(self.next_end, end_of(name))
        return bucket

    def _first_part(self, last: int) -> int:
        """The first part of the bucket for records of a time; none that is forgotten opens anew."""
        timed, untimed = self.horizons
        if last >= FOREVER:
            return max(FOREVER, untimed + 1)
        return max((last // BUCKET_MS) * _PARTS, timed + 1)

    def _open_bucket(self, first: int) -> Bucket:
        """The youngest part of a time, or a further one where it is full.

        An older one stays as it is though records have left it: what goes before its time goes by
        parts, and no record is to go before those that are older.
        """
        bucket = self.bucket(max(first, self._youngest.get(first // _PARTS, first)))
        while bucket.size >= BUCKET_RECORDS:
            bucket = self.bucket(bucket.name + 1)
        return bucket

    def enter_one(self, slot: int, last: int) -> None:
        """Put a record into the bucket of its time."""
        bucket = self._open_bucket(self._first_part(last))
        bucket.slots.append(slot)
        self._table.fields[BUCKET][slot] = bucket.number

    def enter(self, slots: Slots, last: Ints) -> None:
        """Put records into the buckets of their times."""
        timed, untimed = self.horizons
        forever = last >= FOREVER
        firsts = np.maximum((last // BUCKET_MS) * _PARTS, timed + 1)
        firsts[forever] = max(FOREVER, untimed + 1)
        order = order_of(firsts)
        firsts, slots = firsts[order], slots[order]
        ends = [*np.flatnonzero(firsts[1:] != firsts[:-1]) + 1, slots.size]
        for start, end in zip([0, *ends], ends, strict=False):
            entering = slots[start:end]
            while entering.size:
                bucket = self._open_bucket(int(firsts[start]))
                some = entering[: BUCKET_RECORDS - bucket.size]
                self.fill(bucket, some)
                entering = entering[some.size :]

    def move(self, slots: Slots, last: Ints) -> None:
        """Put records into the buckets of other times."""
        former = self._table.fields[BUCKET][slots]
        self.touch_all(slots)
        self.enter(slots, last)
        self.leave(former)

    def leave(self, former: Ints) -> None:
        """Note that records have left the buckets of these numbers, one for each record."""
        numbers, counts = with_counts(former)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            bucket = self.numbered[number]
            bucket.left += count
            self.are_thinned |= bucket.name >= FOREVER
            if bucket.left > max(_FEW, len(bucket.slots) // 2):
                self._close_ranks(bucket)

    def _close_ranks(self, bucket: Bucket) -> None:
        """Let go of the slots of records that have left."""
        kept = self.slots_of(bucket)
        bucket.slots = array("i", kept.astype(np.int32).tobytes())
        bucket.left = 0

    def thin(self) -> list[list[int]]:
        """Names of parts of what has no time that are to be one, the oldest first.

        Without that a few records that last would keep a part each. They are neighbours, so that
        the order of ages stays, and half a part at most together: a part has once been full, so
        fewer move than half as many as are ever put.
        """
        found: list[list[int]] = []
        names: list[int] = []
        size = 0
        for name in sorted(name for name in self.named if name >= FOREVER):
            size += self.named[name].size
            if names and size > BUCKET_RECORDS // 2:
                found.append(names)
                names, size = [], self.named[name].size
            names.append(name)
        return [names for names in [*found, names] if len(names) > 1]

    def join(self, names: Sequence[int]) -> Slots:
        """Put the records of all these buckets into the last one; the slots of those that moved."""
        buckets = [self.pop(name) for name in names[:-1]]
        slots = self.slots_of(*buckets)
        self.fill(self.named[names[-1]], slots)
        self.touched.add(names[-1])
        self.free(buckets)
        return slots

    def fill(self, bucket: Bucket, slots: Slots) -> None:
        """Put records into a bucket, whatever room it has."""
        bucket.slots.frombytes(slots.astype(np.int32).tobytes())
        self._table.fields[BUCKET][slots] = bucket.number

    def slots_of(self, *buckets: Bucket) -> Slots:
        """The slots of the records that are still in these buckets, one at least."""
        slots = distinct(np.concatenate([bucket.all_slots() for bucket in buckets]))
        numbers = self._table.fields[BUCKET][slots]
        if len(buckets) == 1:
            inside: Mask = numbers == buckets[0].number
        else:
            inside = among(numbers, np.array(sorted(bucket.number for bucket in buckets)))
        found: Slots = slots[inside & (self._table.keys[slots] != NO_KEY)]
        return found

    def is_forgotten(self, name: int) -> bool:
        """Whether a bucket went before its time."""
        timed, untimed = self.horizons
        return name <= timed or FOREVER <= name <= untimed

    def ended(self, limit: int) -> Iterator[list[int]]:
        """The names of the buckets that are over at ``limit`` (ms), some at a time.

        As many come together as have slots for a full one: small ones take longer one by one.
        """
        names: list[int] = []
        slots = 0
        for name in [name for name in self.named if end_of(name) <= limit]:
            names.append(name)
            slots += len(self.named[name].slots)
            if slots >= BUCKET_RECORDS:
                yield names
                names, slots = [], 0
        if names:
            yield names

    def take_touched(self) -> set[int]:
        """The names of the buckets that have changed since the last call."""
        touched, self.touched = self.touched, set()
        return touched

    def pop(self, name: int) -> Bucket:
        """Take out a bucket, whose number stays its own until it is set free."""
        self.touched.discard(name)
        if self._youngest.get(name // _PARTS) == name:
            del self._youngest[name // _PARTS]
        return self.named.pop(name)

    def free(self, buckets: Iterable[Bucket]) -> None:
        """Let others take the numbers of buckets that were taken out."""
        self._free_numbers += [bucket.number for bucket in buckets]


def end_of(name: int) -> int:
    """When the time of a bucket ends; never, for what is not forgotten."""
    return FOREVER if name >= FOREVER else (name // _PARTS + 1) * BUCKET_MS
