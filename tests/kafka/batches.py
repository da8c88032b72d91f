"""Record batches as they lie in a topic's log, made without a broker."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka import TopicPartition, codec
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

from stream.kafka.records import FetchedRecords

TP = TopicPartition("cx.visit", 0)

_CONTROL = 0x20
#: What the client calls the codecs of batches.
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
GZIP = CODECS["gzip"]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": codec.gzip_encode,
    "snappy": codec.snappy_encode,
    "lz4": codec.lz4_encode,
    "zstd": codec.zstd_encode,
}


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


#: Names may be any bytes.
Headers = Sequence[tuple[bytes, bytes | None]]
#: Key, value and headers.
Sent = tuple[bytes | None, bytes | None, Headers]


def batch_of(
    records: Sequence[Sent], base: int = 0, number: int = 0, pack: Callable[[bytes], bytes] = bytes
) -> bytes:
    """A batch as another client than ours may write it."""
    packed = pack(b"".join(_record(place, *record) for place, record in enumerate(records)))
    now, last = 1_700_000_000_000, len(records) - 1
    told = struct.pack(">hiqqqhii", number, last, now, now, -1, -1, -1, len(records)) + packed
    rest = struct.pack(">ibI", -1, 2, calc_crc32c(told)) + told
    return struct.pack(">qi", base, len(rest)) + rest


def _record(place: int, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    body = b"\0" + varint(0) + varint(place) + _sized(key) + _sized(value) + varint(len(headers))
    body += b"".join(_sized(name) + _sized(said) for name, said in headers)
    return varint(len(body)) + body


def _sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content


def varint(number: int) -> bytes:
    written = bytearray()
    encode_varint(number, written.append)
    return bytes(written)


def fetched(
    log: bytes,
    position: int = 0,
    aborted: Sequence[tuple[int, int]] = (),
    committed: bool = True,
    records: Callable[[bytes], Any] = FetchedRecords,
) -> PartitionRecords:
    """What the client makes of a fetch's answer."""
    return PartitionRecords(
        TP, records(log), list(aborted), position, None, None, True, int(committed)
    )
