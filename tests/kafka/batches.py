"""Record batches as they lie in a topic's log, made without a broker."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

TP = TopicPartition("cx.visit", 0)

_CONTROL = 0x20
#: What the client calls the codecs of batches.
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
GZIP = CODECS["gzip"]


@dataclass(frozen=True)
class Batch:
    """A batch that holds offsets from ``base`` to before ``base + width``, some of them removed."""

    base: int
    width: int
    kept: tuple[int, ...]
    producer: int = -1
    kind: Literal["records", "commit", "abort"] = "records"
    codec: int = 0
    value: bytes | None = b'{"a":1}'

    def encode(self) -> bytes:
        transactional = self.producer >= 0
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=self.codec,
            is_transactional=int(transactional),
            producer_id=self.producer,
            producer_epoch=0 if transactional else -1,
            base_sequence=0 if transactional else -1,
            batch_size=64 * 1024 * 1024,
        )
        if self.kind == "records":
            for place in self.kept:
                value = self.value and self.value + b"%d" % (self.base + place)
                headers = [("trace", b"%d" % place)] if place % 3 == 0 else []
                builder.append(place, 1_700_000_000_000, b"k%d" % place, value, headers)
        else:
            marker = struct.pack(">hh", 0, 1 if self.kind == "commit" else 0)
            builder.append(0, 1_700_000_000_000, marker, struct.pack(">hi", 0, 0), [])
        data = bytearray(builder.build())
        struct.pack_into(">q", data, 0, self.base)
        struct.pack_into(">i", data, 23, self.width - 1)
        if self.kind != "records":
            data[22] |= _CONTROL
        struct.pack_into(">I", data, 17, calc_crc32c(memoryview(data)[21:]))
        return bytes(data)


def old_batch(base: int, magic: Literal[0, 1], codec: int, values: Sequence[bytes]) -> bytes:
    """A batch in a format of before Kafka 0.11, as it may still lie in an old topic."""
    builder = LegacyRecordBatchBuilder(magic, codec, 64 * 1024 * 1024)
    # Of the two, the older format numbers packed records from the log's beginning.
    first = base if magic == 0 or not codec else 0
    for number, value in enumerate(values):
        builder.append(first + number, 1_700_000_000_000, b"k%d" % number, value)
    data = builder.build()
    if codec:
        struct.pack_into(">q", data, 0, base + len(values) - 1)
    return bytes(data)


def log_of(batches: Sequence[Batch]) -> bytes:
    return b"".join(batch.encode() for batch in batches)


def fetched(
    log: bytes, position: int = 0, aborted: Sequence[tuple[int, int]] = (), committed: bool = True
) -> PartitionRecords:
    """What the client makes of a fetch's answer."""
    return PartitionRecords(
        TP, MemoryRecords(log), list(aborted), position, None, None, True, int(committed)
    )
