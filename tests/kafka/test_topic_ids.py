"""Brokers tell the ids of topics, by which one that was made anew is another."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from aiokafka.protocol.metadata import MetadataRequest

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka.administration import administration, counts, create, topic_ids
from stream.kafka.topic_ids import TopicsRequest, id_of


def test_ids_are_read_as_brokers_write_them() -> None:
    """An id of zeros is that of a topic which an older controller has made."""
    request = TopicsRequest(["a"]).prepare({MetadataRequest.API_KEY: (0, 10)})
    assert request.encode() == b"\2" + bytes(16) + b"\2a\0" + bytes(3) + b"\0"
    assert request.build_request_header(7, "x").encode().endswith(b"x\0")
    known = b"\0\0" + b"\2a" + bytes(15) + b"\x1f" + b"\0" + b"\1" + bytes(4) + b"\0"
    unknown = b"\0\3" + b"\2b" + bytes(16) + b"\0" + b"\1" + bytes(4) + b"\0"
    answer = bytes(4) + b"\1" + b"\2c" + bytes(4) + b"\3" + known + unknown + bytes(4) + b"\0"
    found = request.RESPONSE_TYPE.decode(answer).to_object()["topics"]
    assert [(t["topic"], t["error_code"], id_of(t)) for t in found] == [
        ("a", 0, "1f".rjust(32, "0")),
        ("b", 3, ""),
    ]
    with pytest.raises(ValueError, match="underrun"):
        request.RESPONSE_TYPE.decode(answer[:20])


async def test_topics_have_ids_that_change_as_they_are_made_anew(broker: Broker) -> None:
    name, kafka = f"made-{uuid4().hex}", KafkaConfig(bootstrap=broker.bootstrap, replication=1)
    found = []
    async with administration(kafka) as admin:
        for _ in range(2):
            await create(admin, kafka, {name: 1}, {})
            await counts(admin, [name])
            found.append(await topic_ids(admin, {"a": name, "b": f"no-{name}"}))
            await admin.delete_topics([name])
            while name in await admin.list_topics():  # noqa: ASYNC110 - a topic sets no event.
                await asyncio.sleep(0.1)
    first, second = found
    assert first.keys() == second.keys() == {"a"}
    assert first != second
    assert all(len(ids["a"]) == 32 for ids in found)
