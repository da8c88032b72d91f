"""The registry of the dimensions' values that have a place of their own: one for all workers.

It is one record of a compacted topic, or several where one would be too large. Whoever wants to
change it starts the producer whose transactional id names the registry, which fences everybody
else, reads the records, and writes those that become others, in one transaction. So changes follow
each other, and each is made from the one before.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Final

import msgspec

from stream.config import KafkaConfig
from stream.core.errors import UNREADABLE
from stream.core.state import StateRefused
from stream.core.values import Places, Values, plain
from stream.kafka import ids
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, LogUnread, Outgoing, TransactionalWriter, read_log
from stream.kafka.repeats import EACH_TRY
from stream.kafka.topics import ONLY_REMEDY, STATE_LIMIT, Names
from stream.kafka.transient import is_transient
from stream.kafka.wording import InWords

#: The first record, which has everything where that fits; others have their number behind it.
_KEY: Final = b"values"
#: Bytes of values in a record. A configuration allows ``MOST_VALUES`` in all, of 64 characters of
#: four bytes each: 107 MB, which are 13 records then.
PART_BYTES: Final = 8 * 1024 * 1024
#: What a value has beside its text: how long it is, and a time.
_VALUE_BYTES: Final = 12
#: How often a change is tried that others get in the way of.
_TRIES: Final = 20
_BACKOFF_SECONDS: Final = 0.2

log = logging.getLogger(__name__)


class ValueRegistry:
    """Keeps a process's values in step with the registry."""

    def __init__(self, kafka: KafkaConfig, names: Names, values: Values) -> None:
        self._kafka = kafka
        self._names = names
        self._values = values
        self._lock = asyncio.Lock()
        self._is_read = False
        #: Whether new values came while others were decided: a flush waits for them too.
        self.is_behind = False

    async def read(self) -> None:
        """Learn what the registry holds, unless that is known.

        Raises:
            LogUnread: not now; try again.
            StateRefused: the record is damaged.
        """
        async with self._lock:
            if self._is_read:
                return
            records = await self._records()
            if records:
                self._values.decide(self._places(self._stored(records)), [])
            else:
                self._values.lost()
            self._is_read = True

    async def _records(self) -> dict[bytes, bytes]:
        return await read_log(self._kafka, self._names.values, 0)

    def _stored(self, records: Mapping[bytes, bytes]) -> dict[str, dict[str, int]]:
        try:
            return joined(records)
        except UNREADABLE as error:
            raise StateRefused(
                f"topic {self._names.values} is damaged: {error}; {ONLY_REMEDY}"
            ) from error

    def _places(self, stored: Mapping[str, Mapping[str, int]]) -> Places:
        return plain(stored, self._values.dimensions)

    async def settle(self) -> None:
        """Have every value decided that was accepted so far.

        Raises:
            BrokerUnreachable, FlushFailed: not now; try again.
        """
        if self._values.is_undecided:
            await self._settle()

    async def _settle(self) -> None:
        async with self._lock:
            failures = 0
            try:
                while self._values.is_undecided:
                    if await self._tell():
                        self.is_behind = self._values.is_undecided
                    elif (failures := failures + 1) == _TRIES:
                        raise FlushFailed("the registry of values could not be changed")
            finally:
                self.is_behind = False

    async def refresh(self) -> None:
        """Tell which values are still in use, where that is not known.

        Raises:
            BrokerUnreachable: not now; try again.
        """
        if self._values.needs_refresh():
            async with self._lock:
                await self._tell()

    async def _tell(self) -> bool:
        """Change the registry; whether that went well.

        Raises:
            BrokerUnreachable: nobody coordinates transactions, which was waited for already.
        """
        writer = TransactionalWriter(self._kafka, ids.of_values(self._kafka.group), STATE_LIMIT)
        try:
            await writer.start()
            before = await self._records()
            stored = self._stored(before)
            places = self._places(stored)
            if lost := self._values.claim_lost(places):
                log.warning(
                    "topic %s lacks %d values, which are told again: it was made anew or has lost"
                    " records, or a worker with shorter windows has freed their places",
                    self._names.values,
                    lost,
                    extra=EACH_TRY,
                )
            after, asked = self._values.propose(places), self._values.asked()
            mine = dict(zip(self._values.dimensions, after, strict=True))
            # Workers of another configuration may run beside this one while it is changed.
            # Theirs come first, so that what is new here moves none of them to another record.
            records = parted(self._values.of_others(stored | mine) | mine)
            changed = {key: records.get(key) for key in before | records}
            changed = {key: value for key, value in changed.items() if value != before.get(key)}
            # Also where nothing changes: only who writes can tell that nobody else did meanwhile.
            changed = changed or {_KEY: records[_KEY]}
            topic = self._names.values
            await writer.write([Outgoing(topic, 0, key, value) for key, value in changed.items()])
        except BrokerUnreachable:
            raise
        except Exception as error:
            if not is_transient(error):
                raise
            # Most likely another worker was quicker; but it may be that nobody can.
            level = logging.WARNING if isinstance(error, LogUnread) else logging.INFO
            said = InWords(error)
            log.log(level, "changing the registry of values, again: %s", said, extra=EACH_TRY)
            await asyncio.sleep(_BACKOFF_SECONDS * (1 + random.random()))
            return False
        else:
            self._values.decide(after, asked)
            return True
        finally:
            await writer.stop()


def parted(stored: Mapping[str, Mapping[str, int]]) -> dict[bytes, bytes]:
    """The records that hold each dimension's values with their times, in their order."""
    parts: list[dict[str, dict[str, int]]] = [{}]
    size = 0
    for dimension, values in stored.items():
        parts[-1][dimension] = {}
        for value, at in values.items():
            of_value = len(value.encode()) + _VALUE_BYTES
            if size + of_value > PART_BYTES:
                parts.append({dimension: {}})
                size = 0
            parts[-1][dimension][value] = at
            size += of_value
    return {_key(n): msgspec.msgpack.encode(part) for n, part in enumerate(parts)}


def joined(records: Mapping[bytes, bytes]) -> dict[str, dict[str, int]]:
    """What ``parted`` was given.

    Raises:
        UNREADABLE: a record is damaged.
    """
    stored: dict[str, dict[str, int]] = {}
    for number in range(len(records)):
        value = records.get(_key(number))
        if value is not None:
            part = msgspec.msgpack.decode(value, type=dict[str, dict[str, int]])
            for dimension, values in part.items():
                known = stored.setdefault(dimension, {})
                for place, at in values.items():
                    known[place] = max(at, known.get(place, at))
    return stored


def _key(number: int) -> bytes:
    return _KEY if not number else _KEY + b"/%d" % number
