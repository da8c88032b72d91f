"""Chunks that wait for others of their topic, so that they are counted together."""

from __future__ import annotations

from typing import Any, Final

from stream.kafka.header_count import headers_size
from stream.kafka.transport import Chunk

#: So many records are worth a batch of their own: what a batch costs, however small it is, is about
#: what a hundred records cost.
BATCH_RECORDS: Final = 500
#: So many bytes are counted without waiting, so that memory stays bounded.
BATCH_BYTES: Final = 256 * 1024


class Inbox:
    """The records of one shard that were received and not yet counted.

    Each topic's chunks must follow each other without a hole.
    """

    def __init__(self) -> None:
        self._chunks: dict[str, Chunk] = {}
        self._bytes: dict[str, int] = {}

    def add(self, topic: str, chunk: Chunk) -> Chunk | None:
        """Put in a chunk; all that waits of its topic as one, where that is enough for a batch."""
        waiting = self._chunks.get(topic)
        if waiting is None:
            if len(chunk.records) >= BATCH_RECORDS:
                return chunk
            waiting = self._chunks[topic] = chunk
        else:
            waiting.records += chunk.records
            waiting.end = chunk.end
        size = self._bytes.get(topic, 0) + sum(map(_size, chunk.records))
        self._bytes[topic] = size
        if len(waiting.records) < BATCH_RECORDS and size < BATCH_BYTES:
            return None
        del self._bytes[topic]
        return self._chunks.pop(topic)

    def take(self) -> list[tuple[str, Chunk]]:
        """Everything that waits, by topic; nothing waits then."""
        found = list(self._chunks.items())
        self._chunks, self._bytes = {}, {}
        return found


def _size(record: Any) -> int:
    """The bytes of what was sent, and of what holds headers: they may be many and empty."""
    return len(record.value or b"") + len(record.key or b"") + headers_size(record.headers)
