"""A broker that takes connections and hangs is told soon, whatever requests may take later."""

from __future__ import annotations

import asyncio
import time

import pytest

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka import connection, refusal
from stream.kafka.administration import administration
from stream.kafka.connection import BrokerUnreachable


async def test_a_broker_that_never_answers_is_not_waited_for_by_the_time_out_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(connection, "FIRST_ANSWER_MS", 200)
    monkeypatch.setattr(refusal, "_SECONDS", 0.2)
    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        began = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="no Kafka broker answers at"):
            async with administration(KafkaConfig(bootstrap=f"127.0.0.1:{port}")):
                pass
        assert time.monotonic() - began < KafkaConfig().request_timeout_ms / 1000


async def test_what_is_asked_later_may_take_as_long_as_requests_may(broker: Broker) -> None:
    async with administration(KafkaConfig(bootstrap=broker.bootstrap)) as admin:
        assert admin._client._request_timeout_ms == KafkaConfig().request_timeout_ms
