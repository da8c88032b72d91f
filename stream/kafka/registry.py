"""The registry of the dimensions' values that have a place of their own: one for all workers.

It is one record of a compacted topic. Whoever wants to change it starts the producer whose
transactional id names the registry, which fences everybody else, reads the record, and writes the
next one. So changes follow each other, and each is made from the one before.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

import msgspec

from stream.config import KafkaConfig
from stream.core.state import StateRefused
from stream.core.values import Places, Values, plain
from stream.kafka import ids
from stream.kafka.log import FlushFailed, Outgoing, TransactionalWriter, read_log
from stream.kafka.topics import STATE_LIMIT, Names
from stream.kafka.transient import is_transient

_KEY: Final = b"values"
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
            places = await self._read()
            if places is None:
                self._values.lost()
            else:
                self._values.decide(places, [])
            self._is_read = True

    async def _read(self) -> Places | None:
        found = (await read_log(self._kafka, self._names.values, 0)).get(_KEY)
        if found is None:
            return None
        try:
            stored = msgspec.msgpack.decode(found, type=dict[str, dict[str, int]])
        except msgspec.MsgspecError as error:
            raise StateRefused(f"topic {self._names.values} is damaged: {error}") from error
        return plain(stored, self._values.dimensions)

    async def settle(self) -> None:
        """Have every value decided that was accepted so far.

        Raises:
            FlushFailed: not now; try again.
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
        """Tell which values are still in use, where that is not known."""
        if self._values.needs_refresh():
            async with self._lock:
                await self._tell()

    async def _tell(self) -> bool:
        """Change the registry; whether that went well."""
        writer = TransactionalWriter(self._kafka, ids.of_values(self._kafka.group), STATE_LIMIT)
        try:
            await writer.start()
            places = await self._read()
            after, asked = self._values.propose(places or []), self._values.asked()
            stored = dict(zip(self._values.dimensions, after, strict=True))
            record = Outgoing(self._names.values, 0, _KEY, msgspec.msgpack.encode(stored))
            await writer.write([record])
        except Exception as error:
            if not is_transient(error):
                raise
            # Most likely another worker was quicker.
            log.info("changing the registry of values, again: %r", error)
            await asyncio.sleep(_BACKOFF_SECONDS * (1 + random.random()))
            return False
        else:
            self._values.decide(after, asked)
            return True
        finally:
            await writer.stop()
