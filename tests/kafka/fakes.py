"""What stands in for the parts of a shard that talk to a broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.errors import TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from stream.kafka.log import Outgoing

UNKNOWN = UnknownTopicOrPartitionError.errno
FORBIDDEN = TopicAuthorizationFailedError.errno


class KeptWriter:
    """Keeps transactions instead of writing them."""

    def __init__(self, *_: object) -> None:
        self.written: list[list[Outgoing]] = []

    async def write(self, records: Iterable[Outgoing]) -> None:
        self.written.append(list(records))

    async def stop(self) -> None: ...


class DecidedRegistry:
    """A registry of values that has nothing to decide."""

    is_behind = False

    async def settle(self) -> None: ...


class ListedTopics:
    """A broker that lists topics, and tells of others only where they are asked for by name.

    ``unlisted`` has what it says of these: an error code, one after the other, the last for ever;
    0 is a topic of one partition. What else is asked for no broker knows.
    """

    def __init__(self, listed: Iterable[str], unlisted: Mapping[str, Iterable[int]]) -> None:
        self._listed = [*listed]
        self._codes = {topic: [*codes] for topic, codes in unlisted.items()}
        #: How often topics were asked for by name.
        self.looks = 0

    async def list_topics(self) -> list[str]:
        return self._listed

    async def described(self, _: object, topics: Iterable[str]) -> list[dict[str, Any]]:
        self.looks += 1
        return [
            {"topic": t, "error_code": self._code(t), "partitions": [0], "topic_id": ""}
            for t in topics
        ]

    def _code(self, topic: str) -> int:
        if topic in self._listed:
            return 0
        codes: list[int] = self._codes.get(topic, [UNKNOWN])
        return codes.pop(0) if len(codes) > 1 else codes[0]
