"""What is done to a group's topics, offsets and state from outside its workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions

from tests.e2e import commands
from tests.kafka.conftest import Site
from tests.kafka.topics import administer, await_topics, places
from tests.kafka.workers import Stuck

#: Longer than any transaction may stay open, in seconds.
_ABORTED_SECONDS: Final = 30.0


def set_offsets_back(bootstrap: str, group: str, wanted: Sequence[TopicPartition]) -> None:
    """Commit 0 for the group, of which nobody may be there."""

    async def commit() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign(list(wanted))
        await consumer.commit(dict.fromkeys(wanted, 0))
        await consumer.stop()

    asyncio.run(commit())


def grow(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Give topics so many partitions."""
    grown = dict.fromkeys(topics, NewPartitions(partitions))
    administer(bootstrap, lambda admin: admin.create_partitions(grown))
    await_topics(bootstrap, dict.fromkeys(topics, partitions))


def rebuild(site: Site) -> None:
    """Have the state made anew by the product's own command."""
    commands.run("state", "rebuild", "--yes", "--config", site.file)


def await_transactions(bootstrap: str, topics: Sequence[str]) -> None:
    """Wait until no transaction is open in topics, so that readers see all that was committed.

    One whose owner is gone ends when its time is out.

    Raises:
        Stuck: one stays open.
    """
    deadline = time.monotonic() + _ABORTED_SECONDS
    while open_ := asyncio.run(_open(bootstrap, topics)):
        if time.monotonic() > deadline:
            raise Stuck(f"a transaction stays open in {open_}")
        time.sleep(0.3)


async def _open(bootstrap: str, topics: Sequence[str]) -> list[str]:
    """The partitions that end later for those who read what was not committed."""
    committed = await _ends(bootstrap, topics, "read_committed")
    written = await _ends(bootstrap, topics, "read_uncommitted")
    return [f"{tp.topic}/{tp.partition}" for tp, end in written.items() if committed[tp] < end]


async def _ends(
    bootstrap: str, topics: Sequence[str], level: Literal["read_committed", "read_uncommitted"]
) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=level)
    await consumer.start()
    try:
        return dict(await consumer.end_offsets(await places(bootstrap, topics)))
    finally:
        await consumer.stop()
