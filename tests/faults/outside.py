"""What is done to a group's topics, offsets and state from outside its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions

from tests.e2e import commands
from tests.kafka.conftest import Site
from tests.kafka.topics import administer


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


def rebuild(site: Site) -> None:
    """Have the state made anew by the product's own command."""
    commands.run("state", "rebuild", "--yes", "--config", site.file)
