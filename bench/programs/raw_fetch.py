"""The least that reading with aiokafka costs: ``getmany`` and nothing else."""

from __future__ import annotations

import asyncio
import json
import time

import click
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.measured import peak_mib
from bench.site import PARTITIONS


async def _read(bootstrap: str, topics: list[str], events: int) -> dict[str, float]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(t, p) for t in topics for p in range(PARTITIONS)]
        cpu, began = time.process_time(), time.monotonic()
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = events
        while left > 0:
            batches = await consumer.getmany(timeout_ms=1000)
            left -= sum(len(records) for records in batches.values())
        return {
            "events": events - left,
            "cpu": time.process_time() - cpu,
            "seconds": time.monotonic() - began,
            "peak_mib": peak_mib(),
        }
    finally:
        await consumer.stop()


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--topics", required=True)
@click.option("--events", type=int, required=True)
def main(bootstrap: str, topics: str, events: int) -> None:
    click.echo(json.dumps(asyncio.run(_read(bootstrap, topics.split(","), events))))


if __name__ == "__main__":
    main()
