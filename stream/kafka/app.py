"""The Faust app: one agent over all source topics, fed in chunks by our transport."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

import faust
from faust.types.auth import SASLMechanism

from stream.config import KafkaConfig
from stream.core.errors import StopError
from stream.kafka.assignor import ShardAssignor
from stream.kafka.connection import tls_context
from stream.kafka.group import REBALANCE_SECONDS, answer_seconds
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import TopicMap
from stream.kafka.transport import FETCH_PARTITION_BYTES, ChunkConsumer, ChunkSchema
from stream.kafka.wording import in_words

#: Chunks that may wait for the agent, over all partitions.
_WAITING_CHUNKS = 8


class MonitorApp(faust.App):
    """A Faust app whose transport asks ``source`` what to read."""

    source: ShardOwner
    #: How many partitions each source topic has, by its full name.
    partitions: Mapping[str, int]

    def _create_directories(self) -> None:
        """Make none: they are for Faust's own tables, and whoever is killed leaves them behind."""


def build(kafka: KafkaConfig, topics: TopicMap, owner: ShardOwner) -> MonitorApp:
    """The app, not started. Faust assigns the partitions; shards, state and positions are ours.

    Raises:
        OSError: a certificate can't be read.
    """
    session = kafka.session_timeout_ms / 1000
    app = MonitorApp(
        kafka.group,
        broker=[f"batchkafka://{server}" for server in kafka.servers],
        broker_credentials=_credentials(kafka),
        broker_client_id=_client_id(),
        broker_session_timeout=session,
        broker_heartbeat_interval=session / 4,
        broker_rebalance_timeout=REBALANCE_SECONDS,
        broker_request_timeout=answer_seconds(kafka),
        consumer_max_fetch_size=FETCH_PARTITION_BYTES,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        # A topic's own ``maxsize`` never reaches its queue.
        stream_buffer_maxsize=_WAITING_CHUNKS,
        # Without standbys Faust falls back to an assignor that tears shards apart (faust#402).
        table_standby_replicas=1,
        PartitionAssignor=ShardAssignor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        # It would listen on all addresses and show what it has to anybody.
        web_enabled=False,
    )
    app.source = owner
    app.partitions = {topics.names.source(t): n for t, n in topics.partitions.items()}
    source = app.topic(
        *(topics.names.source(t) for t in topics.partitions),
        schema=ChunkSchema(),
        acks=False,
    )

    @app.agent(source)
    async def ingest(chunks: Any) -> None:
        async for chunk in chunks:
            owner.apply(chunk)

    return app


def _client_id() -> str:
    """What brokers and tools call this process: by Faust's own name nobody would know it."""
    return f"cxkpi-worker-{socket.gethostname()}-{os.getpid()}"


async def start(app: MonitorApp) -> None:
    """Start the app and give the owner the thread that reads."""
    app.finalize()
    consumer = app.consumer
    if not isinstance(consumer, ChunkConsumer):
        raise TypeError("the transport batchkafka is not installed")
    app.source.thread = consumer.thread
    await app.start()


def _credentials(kafka: KafkaConfig) -> Any:
    context = tls_context(kafka) if kafka.uses_tls else None
    if kafka.uses_sasl:
        password = kafka.sasl_password
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=password.get_secret_value() if password else None,
            mechanism=SASLMechanism(kafka.sasl_mechanism),
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


async def stop(app: MonitorApp) -> None:
    """Stop the app and leave the group."""
    await app.stop()


class AppCrashed(StopError):
    """A part of the app has failed for good."""


def check(app: MonitorApp) -> None:
    """Raise AppCrashed where a part of the app has failed for good."""
    if app.crashed or app.should_stop:
        reason = app.crash_reason
        said = "it was told to stop" if reason is None else in_words(reason)
        raise AppCrashed(f"reading from Kafka has failed: {said}")
