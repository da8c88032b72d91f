"""Reads record batches of which the client's compiled reader can't read the names of headers.

It takes names for UTF-8 and raises where one is not, which ends whoever reads: the record lies
where it lies, and is read again at each start. Kafka itself asks nothing of a name. So a batch is
kept as it came, and read a second time, leniently and in Python, where that happens.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from stream.kafka import codecs

#: What begins a batch: its offset and its length without these two.
_OVERHEAD: Final = struct.Struct(">qi")
#: What of a batch's beginning matters here: first offset, attributes, first and latest time, and
#: how many records there are. Such a beginning has the format that is in use since Kafka 0.11;
#: those before it have no headers.
_BEGINNING: Final = struct.Struct(">q4x4xx4xh4xqq8x2x4xi")
_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_UNPACK: Final[dict[int, Callable[[codecs.Packed], memoryview]]] = {
    1: codecs.counted(codecs.ungzip),
    2: codecs.counted(codecs.unsnappy),
    3: codecs.counted(codecs.unlz4),
    4: codecs.counted(codecs.unzstd),
}


class LenientRecord(NamedTuple):
    """A record like the client's own; of names, bytes that are no UTF-8 are written as escapes."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    checksum: None = None


#: Stands for the record that a batch of markers has lost: compaction may leave the batch alone, and
#: none of the transaction. It reads as the end of one that was committed, as by Java's client.
NO_ABORT: Final = LenientRecord(0, 0, 0, b"\0\0\0\1", None, ())


def lenient(batch: memoryview) -> Iterator[LenientRecord]:
    """The records of a batch.

    Raises:
        CorruptRecordException: they can't be read, or are larger than is read.
    """
    first, attributes, since, latest, count = _BEGINNING.unpack_from(batch)
    codec = attributes & _CODEC
    content: codecs.Packed = batch[_BEGINNING.size :]
    if codec:
        content = _UNPACK[codec](content)
    appended = bool(attributes & _LOG_APPEND_TIME)
    at = 0
    for _ in range(count):
        try:
            delta, place, key, value, headers, at = _record(content, at)
        except (IndexError, ValueError) as error:
            raise CorruptRecordException(f"a record can't be read: {error}") from error
        timestamp = latest if appended else since + delta
        yield LenientRecord(first + place, timestamp, int(appended), key, value, headers)


_Parts = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


def _record(content: codecs.Packed, at: int) -> _Parts:
    """Time and offset after those of the batch, key, value, headers, and where the next begins."""
    length, begin = _number(content, at)
    delta, at = _number(content, begin + 1)
    place, at = _number(content, at)
    key, at = _bytes(content, at)
    value, at = _bytes(content, at)
    count, at = _number(content, at)
    if count < 0:
        raise ValueError(f"it has {count} headers")
    headers = []
    for _ in range(count):
        name, at = _bytes(content, at)
        said, at = _bytes(content, at)
        headers.append(((name or b"").decode(errors="backslashreplace"), said))
    if at != begin + length:
        raise ValueError(f"it has {at - begin} bytes, not {length}")
    return delta, place, key, value, headers, at


def _number(content: codecs.Packed, at: int) -> tuple[int, int]:
    """A number, and where what follows begins; the client's own reads on behind the end."""
    number, end = decode_varint(content, at) if at < len(content) else (0, at + 1)
    if end > len(content):
        raise ValueError("it ends too soon")
    return int(number), int(end)


def _bytes(content: codecs.Packed, at: int) -> tuple[bytes | None, int]:
    length, at = _number(content, at)
    if length < 0:
        return None, at
    end = at + length
    if end > len(content):
        raise ValueError("it ends too soon")
    return bytes(content[at:end]), end


class FetchedRecords:
    """Stands in for the client's ``MemoryRecords``: its batches can be read a second time."""

    def __init__(self, data: bytes) -> None:
        self._records = MemoryRecords(data)
        self._data = memoryview(data)
        self._begin = self._end = 0
        self.size_in_bytes = self._records.size_in_bytes
        self.has_next = self._records.has_next

    def next_batch(self) -> Any:
        """The next batch for whoever reads as the client does; None where there is none."""
        batch = self.compiled()
        return batch and _Batch(batch, self.raw)

    def compiled(self) -> Any:
        """The next batch as the client itself has it, which can't read some names."""
        batch = self._records.next_batch()
        if batch is not None:
            self._begin = self._end
            _, length = _OVERHEAD.unpack_from(self._data, self._begin)
            self._end = self._begin + _OVERHEAD.size + length
        return batch

    @property
    def raw(self) -> memoryview:
        """The bytes of the batch that was asked for last."""
        return self._data[self._begin : self._end]

    @property
    def content(self) -> memoryview:
        """Its records, where they are not compressed and may have headers."""
        return self.raw[_BEGINNING.size :]


class _Batch:
    """A batch of the client's whose records can be read whatever their headers are called."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """Its first record, by which the client tells how a transaction ended."""
        return next(self._batch, NO_ABORT)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except UnicodeDecodeError:
            yield from islice(lenient(self._raw), read, None)


def read_any_name() -> None:
    """Let the client read records whatever their headers are called, for all of this process."""
    cast("Any", fetcher).MemoryRecords = FetchedRecords
