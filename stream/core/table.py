"""Hash tables in arrays: 64-bit keys to slots, many at a time, in a few bytes each.

A slot's key, 0 where the slot is free, stands in an array of the owner's. The index holds slots
only, at a place that follows from the key, or behind it where that was taken. Whoever frees a slot
sets its key to 0; what is left of it in the index is passed over, and cleared away when the index
is made anew.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.core.cells import Ints

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
_FEW_BUCKETS: Final = 1 << 16
_HALF: Final = np.uint64(32)
_TAGS: Final = np.uint64(255)
_SIGN: Final = 1 << 63
_ALL_BITS: Final = (1 << 64) - 1

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]


def digest(identifier: str) -> int:
    """64 bits that stand for an id, as a signed integer and never ``NO_KEY``.

    Two of a billion live ids are equal with a chance of 3%.
    """
    value: int = xxhash.xxh3_64_intdigest(identifier.encode())
    return (value - (1 << 64) if value & _SIGN else value) or 1


def digests(identifiers: Iterable[str], count: int) -> Ints:
    """``digest`` of ``count`` ids."""
    hashes = map(xxhash.xxh3_64_intdigest, map(str.encode, identifiers))
    keys = np.fromiter(hashes, dtype=np.uint64, count=count).view(np.int64)
    keys[keys == NO_KEY] = 1
    return keys


def grown(values: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with room for ``size`` values; what is new is 0."""
    larger = np.zeros(size, dtype=values.dtype)
    larger[: values.size] = values
    return larger


def distinct(values: Ints) -> Ints:
    """The values in order, each once: ``np.unique``, but quicker where most are different."""
    if not values.size:
        return values
    in_order = np.sort(values)
    found: Ints = in_order[np.concatenate(([True], in_order[1:] != in_order[:-1]))]
    return found


def ranks(in_order: Ints) -> Ints:
    """How many equal numbers come before each, where equal ones stand together."""
    if not in_order.size:
        return in_order
    positions = np.arange(in_order.size)
    is_first = np.concatenate(([True], in_order[1:] != in_order[:-1]))
    return positions - np.maximum.accumulate(np.where(is_first, positions, 0))


class Index:
    """Open addressing in buckets. ``keys``, by slot, are the owner's array.

    A bucket has places for 16 slots and a byte of each slot's key, so that nearly every look-up is
    one look at the bytes of one bucket, and one at the key.
    """

    def __init__(self) -> None:
        self._start(_LEAST)

    def _start(self, size: int) -> None:
        buckets = -(-size // _WIDTH)
        #: 0 where the place is free.
        self._tags = np.zeros((buckets, _WIDTH), dtype=np.uint8)
        self._slots = np.zeros((buckets, _WIDTH), dtype=np.int32)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """The bytes that the index takes."""
        return self._slots.nbytes + self._tags.nbytes

    def has_room(self, more: int) -> bool:
        """Whether so many keys can be inserted before the index must be made anew."""
        return self._used + more <= _FULL * self._slots.size

    def _homes(self, keys: Ints) -> tuple[Ints, NDArray[np.uint8]]:
        """The bucket where each key is looked for first, and its tag."""
        bits = keys.view(np.uint64)
        # The high bits, scaled to the number of buckets, which need not be a power of two.
        buckets = ((bits >> _HALF) * np.uint64(len(self._tags))) >> _HALF
        return buckets.view(np.int64), (bits % _TAGS).astype(np.uint8) + np.uint8(1)

    def find_one(self, keys: Ints, key: int) -> int:
        """The slot of a key, or ``ABSENT``."""
        bits = key & _ALL_BITS
        bucket = ((bits >> 32) * len(self._tags)) >> 32
        tag = bits % 255 + 1
        while True:
            tags = self._tags[bucket].tobytes()
            place = tags.find(tag)
            while place >= 0:
                slot = self._slots.item(bucket, place)
                if keys.item(slot) == key:
                    return slot
                place = tags.find(tag, place + 1)
            if 0 in tags:
                return ABSENT
            bucket = bucket + 1 if bucket + 1 < len(self._tags) else 0

    def find(self, keys: Ints, wanted: Ints) -> Slots:
        """The slot of each key, or ``ABSENT``."""
        found = np.full(wanted.size, ABSENT, dtype=np.int64)
        buckets, tags = self._homes(wanted)
        searched = np.arange(wanted.size)
        while searched.size:
            there = self._tags[buckets]
            which, places = np.nonzero(there == tags[:, None])
            slots = self._slots[buckets[which], places]
            hits = keys[slots] == wanted[searched[which]]
            found[searched[which[hits]]] = slots[hits]
            # What is not in a full bucket may be in the next one.
            on = there.all(axis=1)
            if not on.any():
                break
            on &= found[searched] == ABSENT
            searched, buckets, tags = searched[on], buckets[on] + 1, tags[on]
            buckets[buckets == len(self._tags)] = 0
        return found

    def insert_one(self, key: int, slot: int) -> None:
        """Enter a key that is not in the table. There must be room."""
        bits = key & _ALL_BITS
        bucket = ((bits >> 32) * len(self._tags)) >> 32
        while (place := self._tags[bucket].tobytes().find(0)) < 0:
            bucket = bucket + 1 if bucket + 1 < len(self._tags) else 0
        self._tags[bucket, place] = bits % 255 + 1
        self._slots[bucket, place] = slot
        self._used += 1

    def insert(self, new: Ints, slots: Slots) -> None:
        """Enter keys that are not in the table, no two of them the same. There must be room."""
        self._used += new.size
        buckets, tags = self._homes(new)
        while slots.size:
            # Sixteen bits are sorted by their digits, which is quicker.
            few = len(self._tags) <= _FEW_BUCKETS
            order = np.argsort(buckets.astype(np.uint16) if few else buckets, kind="stable")
            buckets, tags, slots = buckets[order], tags[order], slots[order]
            # Places fill up from the left: each takes the next one of its bucket.
            places = np.count_nonzero(self._tags[buckets], axis=1) + ranks(buckets)
            fits = places < _WIDTH
            b, p = buckets[fits], places[fits]
            self._tags[b, p], self._slots[b, p] = tags[fits], slots[fits]
            if fits.all():
                break
            buckets, tags, slots = buckets[~fits] + 1, tags[~fits], slots[~fits]
            buckets[buckets == len(self._tags)] = 0

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
