"""What fires now, by the alerts' state log: exact, also after a worker was killed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from stream.config import KafkaConfig
from stream.core.alerts import AlertState, Change, is_watched, rfc3339
from stream.core.alerts.change import change_of
from stream.core.settings import Rule
from stream.kafka.alert_log import firing_in
from stream.kafka.ending import cancelled, say_goodbye
from stream.kafka.reading import begin_at, fold, reader, to_end
from stream.kafka.topics import Names
from stream.kafka.transient import is_transient
from stream.kafka.wording import in_words

#: Catching up is given up when nothing has come for so long, in seconds, and tried again later.
_SILENCE: Final = 30.0
#: How long what was known last is gone by, in seconds. A worker that alone lost Kafka must not go
#: on for ever: another may have told of the end.
BLIND_SECONDS: Final = 900.0

log = logging.getLogger(__name__)


class FiringAlerts:
    """Follows the log of the alerts' states, which their owners write."""

    def __init__(
        self,
        kafka: KafkaConfig,
        names: Names,
        rules: Mapping[str, Rule],
        blind_seconds: float = BLIND_SECONDS,
    ) -> None:
        """``rules`` are the configured ones, by name."""
        self._kafka = kafka
        self._known: list[Change] = []
        #: Until when that may be told (monotonic seconds).
        self._known_until = -math.inf
        self._blind_seconds = blind_seconds
        self._rules = rules
        self._tp = TopicPartition(names.alert_state, 0)
        self._log: dict[bytes, bytes] = {}
        self._consumer: AIOKafkaConsumer | None = None
        #: What reads, from one call to the next where that takes longer than one may wait.
        self._reading: asyncio.Future[None] | None = None

    async def now(self, patience: float | None = None) -> list[Change]:
        """The change that made each alert fire, of all alerts that fire now.

        While the log can't be read no worker evaluates rules either, so for a while it is what was
        known last; reading is begun anew next time. So it is where reading takes longer than
        ``patience`` seconds, and reading goes on. What was read halfway is never told: an alert
        may end in the other half.

        Raises:
            KafkaError, OSError, TimeoutError, Stalled: the log can't be read, and nothing is known
                any more.
            Exception: a mistake, which no further try mends.
        """
        try:
            if not await self._is_read(patience):
                return self._known
        except Exception as error:
            if not self._may_be_told or not is_transient(error):
                raise
            said = in_words(error)
            log.info("what fires can't be read, going by what was known last: %s", said)
            return self._known
        found = (self._told(state, change) for state, change in firing_in(self._log))
        self._known = [change for change in found if change is not None]
        self._known_until = time.monotonic() + self._blind_seconds
        return self._known

    def _told(self, state: AlertState, change: Change | None) -> Change | None:
        """The change, or what else can be told of the alert; None where that is nothing.

        Not only of our own rules: whoever owns the family may have newer ones, and ends what fires
        by those that are gone.
        """
        rule = self._rules.get(state.rule)
        if change is None and rule is not None and is_watched(state, rule):
            return _told_by(state, rule)
        return change

    @property
    def _may_be_told(self) -> bool:
        """Whether what was known last is not too old."""
        return time.monotonic() <= self._known_until

    async def close(self) -> None:
        """Disconnect, and forget what was read."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await cancelled([reading])
        await self._disconnect()

    async def _is_read(self, patience: float | None) -> bool:
        """Whether all was read, before patience ended: where nothing is known it has no end."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        reading = self._reading
        await asyncio.wait({reading}, timeout=patience if self._may_be_told else None)
        if not reading.done():
            return False
        self._reading = None
        if reading.cancelled():
            # As what a client cancels of itself must not pass for our own end.
            raise RuntimeError("reading what fires was broken off")
        reading.result()
        return True

    async def _read(self) -> None:
        """Take in what was written since; what has failed is begun anew."""
        try:
            await self._catch_up()
        except Exception:
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        self._log.clear()
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await say_goodbye(consumer.stop)

    async def _catch_up(self) -> None:
        """Take in what was written since; all of it where the log has lost what was read."""
        if self._consumer is None or not await self._go_on(self._consumer):
            await self._disconnect()
            await self._begin()

    async def _go_on(self, consumer: AIOKafkaConsumer) -> bool:
        """Take in what was written since; False where it does not follow what was read.

        A disk that was restored from a copy, or an unclean election, takes the latest records away,
        and nobody would ever tell that the alerts of those are over.
        """
        end = await self._end(consumer)
        try:
            is_there = int(await consumer.position(self._tp)) <= end
            if is_there:
                # Also where the end is where it was: that the client was refused is told here.
                found = await consumer.getmany(self._tp, timeout_ms=0)
                fold(self._log, found.get(self._tp, ()))
                await self._fold(consumer, end)
        except OffsetOutOfRangeError:
            is_there = False
        if not is_there:
            log.warning("topic %s has lost records: reading what fires anew", self._tp.topic)
        return is_there

    async def _begin(self) -> None:
        # A client that goes back to the beginning by itself would not say so.
        consumer = self._consumer = reader(self._kafka, reset="none")
        async with asyncio.timeout(_SILENCE):
            await consumer.start()
            await begin_at(consumer, self._tp)
        await self._fold(consumer, await self._end(consumer))

    async def _end(self, consumer: AIOKafkaConsumer) -> int:
        async with asyncio.timeout(_SILENCE):
            return int((await consumer.end_offsets([self._tp]))[self._tp])

    async def _fold(self, consumer: AIOKafkaConsumer, end: int) -> None:
        async for records in to_end(consumer, self._tp, end, _SILENCE):
            fold(self._log, records)


def _told_by(state: AlertState, rule: Rule) -> Change:
    """What is known of an alert that fires where the change that made it fire is not."""
    changed = state.changed_at or 0
    started = changed if state.started_at is None else state.started_at
    return msgspec.structs.replace(
        change_of(rule, state.labels, "inactive", "firing", started=started, now=changed),
        explanation=f"{rule.name} is firing since {rfc3339(started)}.",
    )
