"""The alerts' state and changes: one transaction each time, and the changes as sinks read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerStoppedError

from stream.config import KafkaConfig
from stream.core.alerts import AlertStates, Change
from stream.core.state import StateRefused
from stream.kafka.connection import calm, client_options
from stream.kafka.log import Outgoing, TransactionalWriter, read_log
from stream.kafka.topics import STATE_LIMIT, Names
from stream.sinks.dispatcher import Delivery


class AlertLog:
    """Keeps the states of a KPI family's alerts; only one worker at a time can write them."""

    def __init__(self, kafka: KafkaConfig, names: Names, family: str) -> None:
        self._kafka = kafka
        self._names = names
        self._key = family.encode()
        self._writer = TransactionalWriter(kafka, f"{kafka.group}-alerts-{family}", STATE_LIMIT)

    async def take_over(self) -> AlertStates:
        """Fence the owner before; the states as they were written last.

        Raises:
            KafkaError, FlushFailed: not now; try again.
            StateRefused: the states can't be read.
        """
        await self._writer.start()
        found = (await read_log(self._kafka, self._names.alert_state, 0)).get(self._key)
        try:
            return msgspec.json.decode(found, type=AlertStates) if found else AlertStates()
        except msgspec.MsgspecError as error:
            raise StateRefused(f"topic {self._names.alert_state} is damaged: {error}") from error

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        """Write states and changes, all or none. Raises FlushFailed."""
        records = [
            Outgoing(self._names.alerts, None, c.key, msgspec.json.encode(c)) for c in changes
        ]
        state = Outgoing(self._names.alert_state, 0, self._key, msgspec.json.encode(states))
        await self._writer.write([*records, state])

    async def close(self) -> None:
        """Let go of the states."""
        await self._writer.stop()


@asynccontextmanager
async def changes_for(
    kafka: KafkaConfig, names: Names, sink: str
) -> AsyncIterator[AsyncIterator[Delivery]]:
    """The committed changes that a sink has not acknowledged yet, and all that follow."""
    consumer = AIOKafkaConsumer(
        names.alerts,
        **client_options(kafka),
        group_id=f"{kafka.group}-sink-{sink}",
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=1,
        # A sink may be tried for an hour; that must not cost it its place in the group.
        max_poll_interval_ms=24 * 60 * 60 * 1000,
    )
    await consumer.start()
    calm(consumer._client)  # noqa: SLF001
    try:
        yield _deliveries(consumer)
    finally:
        await consumer.stop()


async def _deliveries(consumer: AIOKafkaConsumer) -> AsyncIterator[Delivery]:
    while True:
        try:
            record = await consumer.getone()
        except ConsumerStoppedError:
            return
        yield Delivery(record.value or b"", consumer.commit)
