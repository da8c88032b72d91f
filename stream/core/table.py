"""Hash tables in arrays: 64-bit keys to slots, many at a time, in a few bytes each.

A slot's key, 0 where the slot is free, stands in an array of the owner's. The index holds slots
only, at a place that follows from the key, or behind it where that was taken. Whoever frees a slot
sets its key to 0; what is left of it in the index is passed over, and cleared away when the index
is made anew.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable
from hashlib import blake2b
from itertools import repeat
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.core.integers import Ints, order_of, ranks

#: Marks a slot that holds nothing. The one id whose digest it is shares that of another.
NO_KEY: Final = 0
#: No slot: the key is not in the table.
ABSENT: Final = -1

_LEAST: Final = 1024
#: The index is made anew when more of it than this is taken; then so much of it is.
_FULL: Final = 0.7
_FRESH: Final = 0.4
#: Places of a bucket.
_WIDTH: Final = 16
#: Eight tags; the first is the lowest byte.
_WORD: Final = np.dtype("<u8")
_EACH_BYTE: Final = np.uint64(0x0101010101010101)
_HIGHEST_BITS: Final = np.uint64(0x8080808080808080)
_HALF: Final = np.uint64(32)
#: How a digest stands in bytes.
_DIGEST: Final = np.dtype(">i8")
_SIGN: Final = 1 << 63
#: Of more bytes than this XXH3 makes a digest in another way. ASCII ids never have as many.
_LONG: Final = 240
_ALL_BITS: Final = (1 << 64) - 1
#: Keys are multiplied by this before they find their buckets. Digests of seed 0 are no secret:
#: whoever picks ids by them could have all in a few buckets else, and each look-up take as long as
#: there are ids.
#: Nothing that is stored or shown depends on it, only where in memory a place is.
_SECRET: Final = secrets.randbits(64) | 1
_TAG_SHIFT: Final = np.uint64(24)

Slots = NDArray[np.int64]


class Digests:
    """What stands for ids: 64 bits each, as signed integers and never ``NO_KEY``.

    Two of a billion live ids are equal with a chance of 3%. Whoever knows the seed can make an id
    that is equal to another's, so that of a state is drawn at random and nobody is told it. All
    that is remembered is of one seed: it is changed only before anything is.

    Into long ids XXH3 mixes the seed so simply that two can be made which are equal under one seed
    of some hundred, and tell of it where they are. They get another hash, save under the seed 0,
    which is no secret.
    """

    def __init__(self, seed: int = 0) -> None:
        """``seed``: 64 bits; 0 gives the same in every process."""
        self.seed = seed

    def of(self, identifier: str) -> int:
        """What stands for an id."""
        value = int.from_bytes(self._hash(identifier.encode()))
        return (value - (1 << 64) if value & _SIGN else value) or 1

    def many(self, identifiers: Iterable[str]) -> Ints:
        """``of`` ids, in order."""
        encoded = list(map(str.encode, identifiers))
        if max(map(len, encoded), default=0) <= _LONG:
            hashes = map(xxhash.xxh3_64_digest, encoded, repeat(self.seed))
        else:
            hashes = map(self._hash, encoded)
        keys = np.frombuffer(b"".join(hashes), dtype=_DIGEST).astype(np.int64)
        keys[keys == NO_KEY] = 1
        return keys

    def _hash(self, encoded: bytes) -> bytes:
        if self.seed and len(encoded) > _LONG:
            return blake2b(encoded, digest_size=8, key=self.seed.to_bytes(8)).digest()
        return xxhash.xxh3_64_digest(encoded, self.seed)


def grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with room for ``size`` values; what is new is 0."""
    larger = np.zeros(size, dtype=values.dtype)
    larger[: values.size] = values
    return larger


class Index:
    """Open addressing in buckets. ``keys``, by slot, are the owner's array.

    A bucket has places for 16 slots and a byte of each slot's key, its tag, so that nearly every
    look-up is one look at the tags of one bucket, eight at a time, and one at the key. Places fill
    up in their order and are never freed.
    """

    def __init__(self) -> None:
        self._start(_LEAST)

    def _start(self, size: int) -> None:
        buckets = -(-size // _WIDTH)
        #: By place, 0 where it is free; the same by bucket, eight in a word.
        self._tags = np.zeros(buckets * _WIDTH, dtype=np.uint8)
        self._words = self._tags.view(_WORD).reshape(buckets, _WIDTH // 8)
        #: By place.
        self._slots = np.zeros(buckets * _WIDTH, dtype=np.int32)
        #: How many places of each bucket are taken.
        self._taken = np.zeros(buckets, dtype=np.uint8)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """The bytes that the index takes."""
        return self._slots.nbytes + self._tags.nbytes + self._taken.nbytes

    def has_room(self, more: int) -> bool:
        """Whether so many keys can be inserted before the index must be made anew."""
        return self._used + more <= _FULL * self._slots.size

    def _homes(self, keys: Ints) -> tuple[Ints, NDArray[np.uint8]]:
        """The bucket where each key is looked for first, and its tag."""
        bits = keys.view(np.uint64) * np.uint64(_SECRET)
        # The high bits, scaled to the number of buckets, which need not be a power of two.
        buckets = ((bits >> _HALF) * np.uint64(self._taken.size)) >> _HALF
        return buckets.view(np.int64), np.maximum((bits >> _TAG_SHIFT).astype(np.uint8), 1)

    def _home(self, key: int) -> tuple[int, int]:
        bits = key * _SECRET & _ALL_BITS
        return ((bits >> 32) * self._taken.size) >> 32, (bits >> 24 & 255) or 1

    def _next(self, buckets: Ints) -> Ints:
        """Where to go on from full buckets."""
        following = buckets + 1
        following[following == self._taken.size] = 0
        return following

    def find_one(self, keys: Ints, key: int) -> int:
        """The slot of a key, or ``ABSENT``."""
        bucket, tag = self._home(key)
        while True:
            first = bucket * _WIDTH
            tags = self._tags[first : first + _WIDTH].tobytes()
            place = tags.find(tag)
            while place >= 0:
                slot = self._slots.item(first + place)
                if keys.item(slot) == key:
                    return slot
                place = tags.find(tag, place + 1)
            if 0 in tags:
                return ABSENT
            bucket = bucket + 1 if bucket + 1 < self._taken.size else 0

    def find(self, keys: Ints, wanted: Ints) -> Slots:
        """The slot of each key, or ``ABSENT``."""
        found = np.full(wanted.size, ABSENT, dtype=np.int64)
        buckets, tags = self._homes(wanted)
        searched = np.arange(wanted.size)
        while searched.size:
            # A byte is 0 where the tag is the wanted one; the highest bit of each such byte, and
            # maybe of some above it, is set then.
            differs = self._words.take(buckets, axis=0) ^ (tags * _EACH_BYTE)[:, None]
            alike = (differs - _EACH_BYTE) & ~differs & _HIGHEST_BITS
            some = np.flatnonzero(alike[:, 0] | alike[:, 1])
            if some.size:
                asked = searched.take(some)
                found[asked] = self._match(
                    keys, wanted.take(asked), buckets.take(some), tags.take(some)
                )
            # What is not in a full bucket may be in the next one.
            on = np.flatnonzero(self._taken.take(buckets) == _WIDTH)
            on = on[found.take(searched.take(on)) == ABSENT]
            searched, buckets, tags = searched[on], self._next(buckets[on]), tags[on]
        return found

    def _match(self, keys: Ints, wanted: Ints, buckets: Ints, tags: NDArray[np.uint8]) -> Slots:
        """The slot of each key within one bucket, or ``ABSENT``."""
        found = np.full(wanted.size, ABSENT, dtype=np.int64)
        there = self._tags.reshape(-1, _WIDTH).take(buckets, axis=0)
        hits = np.flatnonzero(there == tags[:, None])
        which, place = hits // _WIDTH, hits % _WIDTH
        slots = self._slots.take(buckets.take(which) * _WIDTH + place)
        same = keys.take(slots) == wanted.take(which)
        found[which[same]] = slots[same]
        return found

    def insert_one(self, key: int, slot: int) -> None:
        """Enter a key that is not in the table. There must be room."""
        bucket, tag = self._home(key)
        while (taken := self._taken.item(bucket)) == _WIDTH:
            bucket = bucket + 1 if bucket + 1 < self._taken.size else 0
        place = bucket * _WIDTH + taken
        self._tags[place], self._slots[place] = tag, slot
        self._taken[bucket] += 1
        self._used += 1

    def insert(self, new: Ints, slots: Slots) -> None:
        """Enter keys that are not in the table, no two of them the same. There must be room."""
        self._used += new.size
        buckets, tags = self._homes(new)
        while slots.size:
            order = order_of(buckets)
            buckets, tags, slots = buckets.take(order), tags.take(order), slots.take(order)
            # Each takes the next place of its bucket, if there is one.
            within = ranks(buckets) + self._taken.take(buckets)
            fits = within < _WIDTH
            on = np.flatnonzero(~fits)
            places, theirs = buckets * _WIDTH + within, slice(None) if not on.size else fits
            self._tags[places[theirs]] = tags[theirs]
            self._slots[places[theirs]] = slots[theirs]
            # The last of a bucket counts.
            self._taken[buckets[theirs]] = within[theirs] + 1
            buckets, tags, slots = self._next(buckets[on]), tags[on], slots[on]

    def move(self, moved: Slots) -> None:
        """Let slots be others: ``moved`` has the new one of each. What is gone may be any."""
        self._slots = moved[self._slots].astype(np.int32)

    def rebuild(self, keys: Ints, slots: Slots, more: int) -> None:
        """Hold just these slots, with room for so many more keys."""
        self._start(max(_LEAST, int(slots.size / _FRESH), int((slots.size + more) / _FULL) + 1))
        self.insert(keys[slots], slots)


class KeyTable:
    """Slots by key. A slot that was freed is used again; ``fields`` are arrays by slot."""

    def __init__(self, fields: dict[str, type[np.generic]]) -> None:
        self._index = Index()
        self._top = 0
        self._free = array("i")
        self.keys: Ints = np.zeros(_LEAST, dtype=np.int64)
        self.fields: dict[str, NDArray[Any]] = {
            name: np.zeros(_LEAST, dtype=kind) for name, kind in fields.items()
        }

    def __len__(self) -> int:
        return self._top - len(self._free)

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays."""
        free = self._free.itemsize * len(self._free)
        fields = sum(values.nbytes for values in self.fields.values())
        return self._index.nbytes + self.keys.nbytes + fields + free

    def find_one(self, key: int) -> int:
        """The slot of a key, or ``ABSENT``."""
        return self._index.find_one(self.keys, key)

    def find(self, keys: Ints) -> Slots:
        """The slot of each key, or ``ABSENT``."""
        return self._index.find(self.keys, keys)

    def live(self) -> Slots:
        """All slots that are in use."""
        return np.flatnonzero(self.keys[: self._top])

    def insert_one(self, key: int) -> int:
        """A slot for a key that is not in the table."""
        self._make_room(1)
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._top
            self._top += 1
        self.keys[slot] = key
        self._index.insert_one(key, slot)
        return slot

    def insert(self, keys: Ints) -> Slots:
        """Slots for keys that are not in the table, no two of them the same."""
        self._make_room(keys.size)
        again = min(keys.size, len(self._free))
        fresh = keys.size - again
        slots = np.empty(keys.size, dtype=np.int64)
        if again:
            slots[:again] = np.array(self._free[-again:], dtype=np.int64)
            del self._free[-again:]
        slots[again:] = np.arange(self._top, self._top + fresh)
        self._top += fresh
        self.keys[slots] = keys
        self._index.insert(keys, slots)
        return slots

    def remove(self, slots: Slots) -> None:
        """Free slots that are in use, no two of them the same."""
        self.keys[slots] = NO_KEY
        self._free.frombytes(slots.astype(np.int32).tobytes())

    def _make_room(self, more: int) -> None:
        needed = self._top + max(0, more - len(self._free))
        if needed > self.keys.size:
            size = needed + needed // 4
            # In place, so that a large table is never there twice. Nobody holds a view of it.
            for values in (self.keys, *self.fields.values()):
                values.resize(size, refcheck=False)
        if not self._index.has_room(more):
            self._index.rebuild(self.keys, self.live(), more)
