"""What is remembered of entities (answers, tickets, carts, subscriptions), until it is forgotten.

Records are rows of a table: the digest of the entity's id, its last time, and the fields that its
keeper has declared. What does not fit into fields goes with a record as its ``extra``.

Records live in buckets by the time of their birth. A bucket is what is written as a block of the
state: once it is old it hardly changes, and it goes as a whole. Where more is remembered than the
limit allows, the oldest buckets go before their time, which is part of the state too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.core.buckets import BEFORE_ANY, BUCKET, FOREVER, LAST_TIME, Buckets, end_of
from stream.core.integers import Ints, Mask, distinct
from stream.core.table import ABSENT, NO_KEY, KeyTable, Slots

__all__ = ["FOREVER", "LAST", "NO_LIMIT", "Memory", "Record"]

#: A limit that nothing reaches.
NO_LIMIT: Final = 1 << 31

#: (last time in ms, …the keeper's fields, extra)
Record = tuple[Any, ...]
LAST: Final = 0

#: The block that says what was forgotten early.
_EARLY: Final = "early"
#: So many records, of some 70 bytes, go into a part of the changes, or so many that have an extra,
#: which may be of some thousand bytes.
PART_RECORDS: Final = 32_768
PART_EXTRAS: Final = 2_048
#: About so many records that were used since their birth move to younger buckets at a look: after a
#: pause, or when what came at once gets old, there may be millions, and each goes into the log.
MOST_MOVED: Final = 65_536
_KEY: Final = "key"


class Memory:
    """Records by the digest of the entity's id.

    ``keep_ms``: how long after its last time a record is kept; ``fields``: names and types of what
    is kept; ``limit``: how many records there may be before the oldest are forgotten early;
    ``on_drop`` gets the slots of records that are about to be forgotten.
    """

    def __init__(
        self,
        name: str,
        keep_ms: int,
        fields: Mapping[str, type[np.generic]],
        limit: int = NO_LIMIT,
        on_drop: Callable[[Slots], None] | None = None,
    ) -> None:
        self.name = name
        #: Records that were forgotten before their time, as long as there has been a log of them.
        self.forgotten = 0
        #: What a log said of that.
        self._told_forgotten = 0
        self._keep_ms = keep_ms
        self._limit = limit
        self._on_drop = on_drop
        self._names = (LAST_TIME, *fields)
        self._table = KeyTable({BUCKET: np.int32, LAST_TIME: np.int64, **fields})
        self._extras: dict[int, Any] = {}
        self._buckets = Buckets(self._table)
        self._changed: list[Slots] = []
        self._changed_rows: list[int] = []
        #: Those that changed and went before ``changes`` could tell of them: parts of the changes.
        self._gone: list[Any] = []
        self._early_is_new = False
        self._early_is_touched = False

    def __len__(self) -> int:
        return len(self._table)

    @property
    def newly_forgotten(self) -> int:
        """Records that were forgotten before their time and that no log has told of."""
        return self.forgotten - self._told_forgotten

    @property
    def nbytes(self) -> int:
        """The bytes that the records take, less what ``extra`` holds."""
        return self._table.nbytes + self._buckets.nbytes

    # One record ---------------------------------------------------------------------------------

    def get(self, key: int) -> Record | None:
        """What ``put`` remembered, or None."""
        slot = self._table.find_one(key)
        return None if slot == ABSENT else self._record(slot)

    def value(self, key: int, name: str) -> Any:
        """A field of what ``put`` remembered, or None."""
        slot = self._table.find_one(key)
        return None if slot == ABSENT else self._table.fields[name].item(slot)

    def _record(self, slot: int) -> Record:
        fields = self._table.fields
        return (*(fields[n].item(slot) for n in self._names), self._extras.get(slot))

    def items(self) -> Iterator[tuple[int, Record]]:
        """All keys and records."""
        for slot in self._table.live().tolist():
            yield self._table.keys.item(slot), self._record(slot)

    def put(self, key: int, last: int, *values: Any, extra: Any = None) -> int:
        """Remember an entity whose latest time is ``last`` (ms, or ``FOREVER``); its slot."""
        table = self._table
        slot = table.find_one(key)
        if slot == ABSENT:
            slot = table.insert_one(key)
            self._buckets.enter_one(slot, last)
        elif (table.fields[LAST_TIME].item(slot) == FOREVER) != (last == FOREVER):
            # What was never to be forgotten now is, or the other way round: another bucket.
            self._buckets.move(np.array([slot]), np.array([last]))
        for name, value in zip(self._names, (last, *values), strict=True):
            table.fields[name][slot] = value
        if extra is not None:
            self._extras[slot] = extra
        else:
            self._extras.pop(slot, None)
        self._changed_rows.append(slot)
        self._buckets.touch(table.fields[BUCKET].item(slot))
        return slot

    # Many records -------------------------------------------------------------------------------

    def find(self, keys: Ints) -> Slots:
        """The slot of each key, or ``ABSENT``."""
        return self._table.find(keys)

    def field(self, name: str) -> NDArray[Any]:
        """A field of all records by slot, as it is until the next record is put."""
        return self._table.fields[name]

    def live(self) -> Slots:
        """The slots of all records."""
        return self._table.live()

    def are_live(self, slots: Slots) -> Mask:
        """Which of these slots hold a record."""
        live: Mask = self._table.keys[slots] != NO_KEY
        return live

    def keys(self, slots: Slots) -> Ints:
        """The keys of records."""
        return self._table.keys[slots]

    def extra_of(self, slot: int) -> Any:
        """What goes with a record beyond its fields, or None."""
        return self._extras.get(slot)

    def without_extra(self, slots: Slots) -> Mask:
        """Which of these records are all in their fields."""
        if not self._extras:
            return np.ones(slots.size, dtype=bool)
        extras = self._extras
        return np.array([slot not in extras for slot in slots.tolist()], dtype=bool)

    def put_new(self, keys: Ints, last: Ints, extras: Sequence[Any] = (), **fields: Any) -> Slots:
        """Remember entities that are not known, no two of them the same; their slots."""
        slots = self._table.insert(keys)
        self._extras.update(zip(slots.tolist(), extras, strict=True) if extras else ())
        self._buckets.enter(slots, last)
        self._set(slots, {LAST_TIME: last, **fields})
        return slots

    def update(self, slots: Slots, last: Ints, **fields: Any) -> None:
        """Change some fields of records that are known, no two of them the same."""
        former = self._table.fields[LAST_TIME][slots]
        moved = (former == FOREVER) != (last == FOREVER)
        if moved.any():
            self._buckets.move(slots[moved], last[moved])
        self._set(slots, {LAST_TIME: last, **fields})

    def _set(self, slots: Slots, fields: Mapping[str, Any]) -> None:
        for name, values in fields.items():
            self._table.fields[name][slots] = values
        self._changed.append(slots)
        self._buckets.touch_all(slots)

    # The store ----------------------------------------------------------------------------------

    def changes(self) -> list[Any]:
        """The records that changed since the last call, and what was forgotten early."""
        changed, self._changed = self._changed, []
        rows, self._changed_rows = self._changed_rows, []
        early, self._early_is_new = self._early_is_new, False
        gone, self._gone = self._gone, []
        if rows:
            changed.append(np.array(rows, dtype=np.int64))
        found: list[Any] = [[self._early(), None]] if early else []
        found += gone
        if changed:
            slots = distinct(np.concatenate(changed))
            found += self._told(slots[self._table.keys[slots] != NO_KEY])
        return found

    def _told(self, slots: Slots) -> Iterator[Any]:
        """Parts of the changes that say all of these records."""
        names = np.array([bucket.name for bucket in self._buckets.numbered], dtype=np.int64)
        for part in self._parts(slots):
            yield self._part(part, names[self._table.fields[BUCKET][part]])

    def _part(self, slots: Slots, names: Ints) -> Any:
        return [None, [names.tobytes(), *self._dumped(slots)]]

    def _parts(self, slots: Slots) -> list[Slots]:
        """Slots cut so that the records of each part have a bounded size."""
        if slots.size <= PART_EXTRAS:
            return [slots] if slots.size else []
        weights = np.where(self.without_extra(slots), 1, PART_RECORDS // PART_EXTRAS)
        parts = (np.cumsum(weights) - 1) // PART_RECORDS
        return np.split(slots, np.flatnonzero(parts[1:] != parts[:-1]) + 1)

    def _early(self) -> Any:
        return [*self._buckets.horizons, self.forgotten]

    def _dumped(self, slots: Slots) -> Any:
        fields = self._table.fields
        columns = {name: fields[name].take(slots).tobytes() for name in self._names}
        columns[_KEY] = self._table.keys.take(slots).tobytes()
        extras = [
            (place, self._extras[slot])
            for place, slot in enumerate(slots.tolist() if self._extras else ())
            if slot in self._extras
        ]
        return [columns, extras]

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in a part that ``changes`` gave, save for buckets whose block already holds it.

        What went into a bucket that is gone by now, or went before it was told of, is gone too,
        though an older block may hold it.
        """
        early, records = change
        if early is not None and is_newer(_EARLY):
            self._set_early(early)
            self._early_is_touched = True
        if records is None:
            return
        names = np.frombuffer(records[0], dtype=np.int64)
        columns, extras = records[1:]
        keys = np.frombuffer(columns[_KEY], dtype=np.int64)
        held = self._held_later(keys, is_newer)
        for name in distinct(names).tolist():
            inside = (names == name) & ~held
            if name != BEFORE_ANY and is_newer(str(name)):
                self._place(name, inside, columns, extras)
                self._buckets.touched.add(name)
            else:
                self._take_out(keys[inside])

    def _take_out(self, keys: Ints) -> None:
        """Forget entities, as far as they are known."""
        slots = self._table.find(keys)
        slots = slots[slots != ABSENT]
        if slots.size:
            self._buckets.touch_all(slots)
            self._table.remove(slots)
            self._buckets.leave(self._table.fields[BUCKET][slots])
            self._drop_extras(slots)

    def _drop_extras(self, slots: Slots) -> None:
        if self._extras:
            for slot in slots.tolist():
                self._extras.pop(slot, None)

    def _held_later(self, keys: Ints, is_newer: Callable[[str], bool]) -> Mask:
        """Which entities have moved since, into a bucket whose block already holds them."""
        slots = self._table.find(keys)
        held: Mask = slots != ABSENT
        numbers = self._table.fields[BUCKET][slots]
        for number in distinct(numbers[held]).tolist():
            if is_newer(str(self._buckets.numbered[number].name)):
                held &= numbers != number
        return held

    def _set_early(self, early: Any) -> None:
        *self._buckets.horizons, self.forgotten = early
        self._told_forgotten = self.forgotten
        self._buckets.next_end = BEFORE_ANY

    def _place(self, name: int, chosen: Mask | None, columns: Any, extras: Any) -> None:
        """Put dumped records in a bucket, in the place of what is known of the same entities."""
        table = self._table
        keys = np.frombuffer(columns[_KEY], dtype=np.int64)
        places = np.arange(keys.size) if chosen is None else np.flatnonzero(chosen)
        keys = keys[places]
        bucket = self._buckets.bucket(name)
        slots = table.find(keys)
        new = slots == ABSENT
        slots[new] = table.insert(keys[new])
        table.fields[BUCKET][slots[new]] = bucket.number
        moved = slots[table.fields[BUCKET][slots] != bucket.number]
        former = table.fields[BUCKET][moved]
        if moved.size:
            # The blocks that they have left hold them until they are written anew.
            self._buckets.touch_all(moved)
        self._buckets.fill(bucket, np.concatenate((slots[new], moved)))
        self._buckets.leave(former)
        for field in self._names:
            values = np.frombuffer(columns[field], dtype=table.fields[field].dtype)
            table.fields[field][slots] = values[places]
        self._drop_extras(slots)
        if extras:
            slot_at = dict(zip(places.tolist(), slots.tolist(), strict=True))
            for place, extra in extras:
                if place in slot_at:
                    self._extras[slot_at[place]] = _frozen(extra)

    def touched(self) -> set[str]:
        """The buckets that have changed since the last call."""
        blocks = {str(bucket) for bucket in self._buckets.take_touched()}
        if self._early_is_touched:
            self._early_is_touched = False
            blocks.add(_EARLY)
        return blocks

    def dump(self, block: str) -> Any:
        """The records of a bucket."""
        if block == _EARLY:
            return self._early()
        return self._dumped(self._buckets.slots_of(self._buckets.bucket(int(block))))

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped bucket in place."""
        if block == _EARLY:
            self._set_early(dumped)
        else:
            self._place(int(block), None, *dumped)

    def expire(self, at: int) -> Iterator[str]:
        """Forget what is older than it is kept; yields the buckets that are gone.

        A record that was used since its birth moves to a younger bucket. Of these a look takes so
        many, and the next ones go on: until then buckets that are over stay as they are, and
        ``next_end`` says that there are some. It is the same with parts of what has no time from
        which so many have gone that they become one. Beyond the limit the oldest buckets go too.
        """
        limit = at - self._keep_ms
        nothing_ends = self._buckets.next_end > limit and not self._buckets.are_thinned
        if nothing_ends and len(self._table) <= self._limit:
            return
        changed = self._changed_mask()
        if self._buckets.next_end <= limit:
            # A log that was cut off before a forgotten block's end may hold it still.
            lost = [name for name in self._buckets.named if self._buckets.is_forgotten(name)]
            if lost:
                self._drop(lost, BEFORE_ANY, changed, everything=True)
                yield from map(str, lost)
            moved = 0
            for names in self._buckets.ended(limit):
                if moved >= MOST_MOVED:
                    break
                moved += self._drop(names, limit, changed)[1]
                yield from map(str, names)
            self._buckets.next_end = min(map(end_of, self._buckets.named), default=FOREVER)
        if self._buckets.are_thinned:
            yield from self._join_thin(changed)
        while len(self._table) > self._limit:
            name = min(self._buckets.named)
            self.forgotten += self._drop([name], BEFORE_ANY, changed, everything=True)[0]
            self._buckets.horizons[name >= FOREVER] = name
            self._early_is_new = self._early_is_touched = True
            yield str(name)

    def _join_thin(self, changed: Mask) -> Iterator[str]:
        """Put thin parts of what is not forgotten together; yields those that are gone."""
        moved = 0
        thin = self._buckets.thin()
        self._buckets.are_thinned = False
        for names in thin:
            if moved >= MOST_MOVED:
                self._buckets.are_thinned = True
                return
            slots = self._buckets.join(names)
            self._note_moved(slots, changed)
            moved += slots.size
            yield from map(str, names[:-1])

    def _note_moved(self, slots: Slots, changed: Mask) -> None:
        """See that the log is told of records that are in other buckets now."""
        self._changed.append(slots)
        changed[slots] = True

    def _changed_mask(self) -> Mask:
        """Which slots' records changed since the last ``changes``."""
        found = np.zeros(self._table.keys.size, dtype=bool)
        rows = np.array(self._changed_rows, dtype=np.int64)
        for slots in (*self._changed, rows):
            found[slots] = True
        return found

    def _drop(
        self, names: Sequence[int], limit: int, changed: Mask, *, everything: bool = False
    ) -> tuple[int, int]:
        """Let go of buckets, and of their records that were not used since.

        ``changed`` is ``_changed_mask`` and is kept up. Returns how many went, and how many moved
        to others.
        """
        buckets = [self._buckets.pop(name) for name in names]
        slots = self._buckets.slots_of(*buckets)
        last = self._table.fields[LAST_TIME][slots]
        used = np.zeros(slots.size, dtype=bool) if everything else last >= limit
        gone = slots[~used]
        if gone.size:
            # Else nothing says that they have left the bucket in which an older block has them. As
            # records of a bucket that is over, so that earlier versions let go of them too.
            for part in self._parts(gone[changed[gone]]):
                self._gone.append(self._part(part, np.full(part.size, BEFORE_ANY)))
            if self._on_drop is not None:
                self._on_drop(gone)
            self._table.remove(gone)
            self._drop_extras(gone)
        if used.any():
            self._buckets.enter(slots[used], last[used])
            self._note_moved(slots[used], changed)
            self._buckets.touch_all(slots[used])
        self._buckets.free(buckets)
        return int(gone.size), int(slots.size - gone.size)


def _frozen(value: Any) -> Any:
    """Lists that came from msgpack as the tuples they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
