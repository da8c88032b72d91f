"""What is remembered of entities (answers, tickets, carts, subscriptions), until it is forgotten.

Records live in buckets by the time of their birth. A bucket is what is written as a block of the
state: once it is old it hardly changes, and it goes as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import xxhash

from stream.core.settings import MINUTE

#: A last time for records that are never forgotten.
FOREVER: Final = 1 << 60
BUCKET_MS: Final = 10 * MINUTE
#: A bucket that has grown to so many records goes on in a further part.
BUCKET_RECORDS: Final = 4096
_PARTS: Final = 1 << 20

#: (bucket, last time in ms, …what the entity's keeper keeps)
Record = tuple[Any, ...]
LAST: Final = 1


def digest(identifier: str) -> bytes:
    """64 bits that stand for an id; two of a billion live ids are equal with a chance of 3%."""
    return xxhash.xxh3_64_digest(identifier.encode())


class Memory:
    """Records by the digest of the entity's id. ``keep_ms``: how long after its last time."""

    def __init__(self, name: str, keep_ms: int) -> None:
        self.name = name
        self._keep_ms = keep_ms
        self._records: dict[bytes, Record] = {}
        self._buckets: dict[int, list[bytes]] = {}
        #: The part that takes new records, by the first part of its time.
        self._open: dict[int, int] = {}
        self._changed: set[bytes] = set()
        self._touched: set[int] = set()

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: bytes) -> Record | None:
        """What ``put`` remembered, or None."""
        return self._records.get(key)

    def items(self) -> Iterator[tuple[bytes, Record]]:
        """All keys and records."""
        return iter(self._records.items())

    def put(self, key: bytes, last: int, *rest: Any) -> None:
        """Remember an entity whose latest time is ``last`` (ms, or ``FOREVER``)."""
        known = self._records.get(key)
        bucket = known[0] if known else self._enter(key, last)
        if known and (known[LAST] == FOREVER) != (last == FOREVER):
            # What was never to be forgotten now is, or the other way round: another bucket.
            self._touched.add(bucket)
            bucket = self._enter(key, last)
        self._records[key] = (bucket, last, *rest)
        self._changed.add(key)
        self._touched.add(bucket)

    def _enter(self, key: bytes, last: int) -> int:
        first = (last // BUCKET_MS) * _PARTS if last < FOREVER else FOREVER
        bucket = self._open.get(first, first)
        while len(self._buckets.setdefault(bucket, [])) >= BUCKET_RECORDS:
            bucket += 1
        self._open[first] = bucket
        self._buckets[bucket].append(key)
        return bucket

    def changes(self) -> Any:
        """The records that changed since the last call."""
        changed, self._changed = self._changed, set()
        return [(key, self._records[key]) for key in changed if key in self._records] or None

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for buckets whose block already holds it."""
        for key, record in change:
            if is_newer(str(record[0])):
                self._place(key, tuple(record))
                self._touched.add(record[0])

    def _place(self, key: bytes, record: Record) -> None:
        known = self._records.get(key)
        if known is None or known[0] != record[0]:
            self._buckets.setdefault(record[0], []).append(key)
        self._records[key] = _frozen(record)

    def touched(self) -> set[str]:
        """The buckets that have changed since the last call."""
        touched, self._touched = self._touched, set()
        return {str(bucket) for bucket in touched}

    def dump(self, block: str) -> Any:
        """The records of a bucket."""
        bucket = int(block)
        return [
            (key, record)
            for key in self._buckets.get(bucket, ())
            if (record := self._records.get(key)) is not None and record[0] == bucket
        ]

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped bucket in place."""
        for key, record in dumped:
            self._place(key, tuple(record))

    def expire(self, at: int) -> Iterator[str]:
        """Forget what is older than it is kept; yields the buckets that are gone.

        A record that was used since its birth moves to a younger bucket.
        """
        limit = at - self._keep_ms
        for bucket in [b for b in self._buckets if (b // _PARTS + 1) * BUCKET_MS <= limit]:
            for key in self._buckets.pop(bucket):
                record = self._records.get(key)
                if record is None or record[0] != bucket:
                    continue
                del self._records[key]
                if record[LAST] >= limit:
                    self.put(key, *record[1:])
                else:
                    self._changed.discard(key)
            self._touched.discard(bucket)
            self._open.pop(bucket, None)
            yield str(bucket)


def _frozen(record: Record) -> Record:
    """Lists that came from msgpack as the tuples they were."""
    return tuple(_frozen(tuple(x)) if isinstance(x, list) else x for x in record)
