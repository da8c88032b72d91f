"""Asks for the ids of topics, which tell one that was made anew from the former of its name.

Brokers of Kafka 2.8 and newer have them (KIP-516). The client's own requests for metadata end
before the version that tells them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any, Final

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_UUID_BYTES: Final = 16


class Uuid(AbstractType):  # type: ignore[misc]
    """16 bytes, as hexadecimal text; empty where all of them are zero, which stands for none."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        """The bytes of a text."""
        return bytes.fromhex(value).rjust(_UUID_BYTES, b"\0")

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        """The text of the next bytes."""
        value = data.read(_UUID_BYTES)
        if len(value) != _UUID_BYTES:
            raise ValueError("Buffer underrun decoding Uuid")
        return value.hex() if any(value) else ""


class _Response(Response):  # type: ignore[misc]
    """Its fields are called as in those versions that the client has."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString()),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Request(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", Uuid), ("topic", CompactString()), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(MetadataRequest):  # type: ignore[misc]
    """What there is of topics, of which none is made, with their ids where the broker tells them.

    The client's own question has a broker with ``auto.create.topics.enable`` make those that are
    not there.
    """

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__(list(topics), allow_auto_topic_creation=False)
        self._asked = topics

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """The request in the best version of those that a broker offers, by the kind of request."""
        least, most = versions.get(self.API_KEY, (0, 0))
        if least <= _Request.API_VERSION <= most:
            return _Request([("", topic, {}) for topic in self._asked], False, False, False, {})
        return super().prepare(versions)


def id_of(topic: Mapping[str, Any]) -> str:
    """The id of a topic that is ``described``; empty where none is told."""
    return str(topic.get("topic_id", ""))
