"""Parts of a worker's reading side that stand alone: real client objects, no broker, no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.subscription_state import SubscriptionState

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.kafka import app as faust_app
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk, ChunkConsumer, ChunkThread
from tests.kafka.batches import TP, fetched


class FakeSource:
    """What the transport asks: which partitions are live."""

    def __init__(self, live: Mapping[TopicPartition, int]) -> None:
        self.now = dict(live)
        self.said: list[str] = []

    def live(self) -> Mapping[TopicPartition, int]:
        return self.now

    async def revoked(self) -> None:
        self.said.append("revoked")

    def assigned(self, partitions: set[TopicPartition], shared_out: frozenset[str]) -> None:
        self.said.append("assigned")


def topic_map() -> TopicMap:
    return TopicMap(Names("", "group"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 10**6))


def new_app(source: FakeSource | None = None) -> faust_app.MonitorApp:
    """The app as a worker builds it, not started."""
    owner = cast("ShardOwner", source or FakeSource({}))
    app = faust_app.build(KafkaConfig(), topic_map(), owner)
    app.finalize()
    return app


def consumer_of(app: faust_app.MonitorApp) -> ChunkConsumer:
    return cast("ChunkConsumer", app.consumer)


class Reading:
    """A consumer thread whose fetches the test makes up."""

    def __init__(self, thread: ChunkThread, topics: Sequence[TopicPartition] = (TP,)) -> None:
        self.thread = thread
        self.subscriptions = SubscriptionState()
        self.assign(topics)
        self.fetcher = Fetcher(
            AIOKafkaClient(bootstrap_servers="127.0.0.1:1"),
            self.subscriptions,
            isolation_level="read_committed",
        )
        # It would ask a broker.
        self.fetcher._fetch_task.cancel()
        self.fetcher._wait_consume_future = asyncio.get_running_loop().create_future()
        self.consumer = SimpleNamespace(
            _fetcher=self.fetcher,
            _closed=False,
            _subscription=self.subscriptions,
            seek=self.seek,
            assignment=lambda: set(self.subscriptions.assigned_partitions()),
        )
        self.thread._consumer = cast("Any", self.consumer)

    def assign(self, topics: Sequence[TopicPartition]) -> None:
        """As after a rebalance: what was assigned before is no more."""
        if self.subscriptions.subscription is not None:
            self.subscriptions.unsubscribe()
        self.subscriptions.assign_from_user(topics)

    @property
    def assignment(self) -> Any:
        return self.subscriptions.subscription.assignment

    def seek(self, tp: TopicPartition, position: int) -> None:
        self.subscriptions.seek(tp, position)

    async def enter(self, position: int, epoch: int, tp: TopicPartition = TP) -> None:
        await self.thread._enter({tp: position}, epoch)

    def bring(self, log: bytes, position: int, tp: TopicPartition = TP) -> None:
        """A fetch from the position is answered."""
        self.fetcher._records[tp] = FetchResult(
            tp, partition_records=fetched(log, position), assignment=self.assignment, backoff=0
        )

    def take(self, epoch: int, tp: TopicPartition = TP) -> list[Chunk]:
        return self.thread._drain(self.fetcher, {tp: epoch})

    @property
    def wants_more(self) -> bool:
        """Whether the next fetch was asked for, because nothing is left of the last one."""
        return bool(self.fetcher._wait_consume_future.done()) and TP not in self.fetcher._records
