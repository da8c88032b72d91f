"""Unpacks compressed batches into memory that is bounded; the client itself knows no bound.

A topic's limit is one of packed bytes. Half a megabyte of them may unpack into gigabytes, and would
do so again at each start, since the batch stays where it is.
"""

from __future__ import annotations

import struct
import sys
import threading
import zlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import cramjam
import numpy as np
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from stream.kafka.header_count import refuse_many_headers

Packed = bytes | memoryview

#: What a batch may unpack to. Producers bound batches before they are packed, mostly to a megabyte;
#: those of Java's client, which bounds what it expects to be left, reach some twenty.
MOST_UNPACKED: Final = 64 * 1024 * 1024
#: So many times its size a batch mostly unpacks to at most. What is reserved and not written to
#: costs nothing.
_MOSTLY: Final = 64
_LEAST_RESERVED: Final = 64 * 1024
#: What cramjam says where the room that it was given does not suffice, and nothing else does.
_NO_ROOM: Final = "failed to write whole buffer"
#: Java's client cuts what it packs with snappy into blocks, and begins so.
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD: Final = 16


#: What begins what is packed with gzip, and what tells zlib so.
_GZIP: Final = b"\x1f\x8b\x08"
_GZIP_HEAD: Final = 16
#: So many bytes are unpacked at a time where it is not done in one go; they come to 4 MiB at most.
_PART: Final = 4 * 1024


class TooLarge(CorruptRecordException):  # type: ignore[misc]
    """A batch unpacks to more than is read at once."""

    def __init__(self) -> None:
        super().__init__(f"a batch unpacks to more than {MOST_UNPACKED >> 20} MiB")
        #: Why none of its records can be taken.
        self.reason = f"is in a batch that unpacks to more than {MOST_UNPACKED >> 20} MiB"


class _Mine(threading.local):
    """What this thread has unpacked so far, in bytes."""

    unpacked = 0


_mine = _Mine()


def unpacked_bytes() -> int:
    """How many bytes the client has unpacked in this thread so far: a number that only grows."""
    return _mine.unpacked


def ungzip(packed: Packed) -> memoryview:
    """The content of a batch; what follows it and is not packed is left out, as by Java's client.

    Raises:
        TooLarge, CorruptRecordException: it is none that can be unpacked.
    """
    try:
        return _unpacked(cramjam.gzip, packed)
    except TooLarge:
        raise
    except CorruptRecordException:
        return _members(packed)


def _members(packed: Packed) -> memoryview:
    """The content of all that is packed in a row, up to what is not."""
    packed = memoryview(packed)
    unpacked = _room(MOST_UNPACKED)
    at, end = _member(packed, 0, unpacked, 0)
    while bytes(packed[at : at + len(_GZIP)]) == _GZIP:
        at, end = _member(packed, at, unpacked, end)
    return unpacked[:end]


def _member(packed: memoryview, at: int, unpacked: memoryview, end: int) -> tuple[int, int]:
    """Unpack what is packed at ``at`` to ``end``, and say where both go on."""
    member = zlib.decompressobj(zlib.MAX_WBITS + _GZIP_HEAD)
    while not member.eof:
        # What is left of it is copied each time, so that it must be little.
        part = packed[at : at + _PART]
        try:
            piece = member.decompress(part)
        except zlib.error as error:
            raise CorruptRecordException(f"a batch can't be unpacked: {error}") from error
        if end + len(piece) > MOST_UNPACKED:
            raise TooLarge
        if not part and not piece and not member.eof:
            raise CorruptRecordException("a batch can't be unpacked: it breaks off")
        unpacked[end : end + len(piece)] = piece
        end += len(piece)
        at += len(part) - len(member.unused_data)
    return at, end


def unsnappy(packed: Packed) -> memoryview:
    """The content of a batch that was packed whole or in blocks, whose lengths are told."""
    try:
        blocks = _snappy_blocks(memoryview(packed))
        sizes = [cramjam.snappy.decompress_raw_len(block) for block in blocks]
        if sum(sizes) > MOST_UNPACKED:
            raise TooLarge
        unpacked = _room(sum(sizes))
        end = 0
        for block, size in zip(blocks, sizes, strict=True):
            cramjam.snappy.decompress_raw_into(block, unpacked[end : end + size])
            end += size
    except (cramjam.DecompressionError, struct.error) as error:
        raise CorruptRecordException(f"a batch can't be unpacked: {error}") from error
    return unpacked


def _snappy_blocks(packed: memoryview) -> list[memoryview]:
    if bytes(packed[: len(_XERIAL)]) != _XERIAL:
        return [packed]
    blocks, at = [], 0
    while at < len(packed):
        if bytes(packed[at : at + len(_XERIAL)]) == _XERIAL:
            # No block has that length: the next of several that were put in a row begins.
            at += _XERIAL_HEAD
            continue
        (length,) = struct.unpack_from(">I", packed, at)
        blocks.append(packed[at + 4 : at + 4 + length])
        at += 4 + length
    return blocks


def unlz4(packed: Packed) -> memoryview:
    """The content of a batch."""
    return _unpacked(cramjam.lz4, packed)


def unzstd(packed: Packed) -> memoryview:
    """The content of a batch."""
    return _unpacked(cramjam.zstd, packed)


def _unpacked(codec: Any, packed: Packed) -> memoryview:
    reserved = max(_MOSTLY * len(packed), _LEAST_RESERVED)
    while True:
        unpacked = _room(min(reserved, MOST_UNPACKED))
        try:
            return unpacked[: codec.decompress_into(packed, unpacked)]
        except cramjam.DecompressionError as error:
            if str(error) != _NO_ROOM:
                raise CorruptRecordException(f"a batch can't be unpacked: {error}") from error
            if reserved >= MOST_UNPACKED:
                raise TooLarge from None
        reserved = MOST_UNPACKED


def _room(size: int) -> memoryview:
    """So many bytes, which take memory only as they are written to; a bytearray is all zeros."""
    return np.empty(size, np.uint8).data


def noted(unpack: Callable[[Packed], memoryview]) -> Callable[[Packed], memoryview]:
    """The same function, such that ``unpacked_bytes`` counts what comes of it."""

    @wraps(unpack)
    def unpack_and_note(packed: Packed) -> memoryview:
        unpacked = unpack(packed)
        _mine.unpacked += len(unpacked)
        return unpacked

    return unpack_and_note


def counted(unpack: Callable[[Packed], memoryview]) -> Callable[[Packed], memoryview]:
    """The same function for batches whose records have headers: it refuses too many."""

    @wraps(unpack)
    def unpack_and_count(packed: Packed) -> memoryview:
        unpacked = noting(packed)
        refuse_many_headers(unpacked)
        return unpacked

    noting = noted(unpack)
    return unpack_and_count


def bound_client() -> None:
    """Let the client unpack by what is here, for whoever reads in this process."""
    for batch, bounded in ((DefaultRecordBatch, counted), (LegacyRecordBatch, noted)):
        module: Any = sys.modules[batch.__module__]
        module.gzip_decode = bounded(ungzip)
        module.snappy_decode = bounded(unsnappy)
        module.lz4_decode = bounded(unlz4)
        module.zstd_decode = bounded(unzstd)
