"""Counts the headers of records before they are made, where they could take much memory.

A header of two bytes becomes an object of eighty, and 64 kB may unpack to thirty million of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.util import decode_varint

#: So many headers a record has at most, where its batch has more than ``COUNTED_BEYOND`` bytes.
MOST_HEADERS: Final = 10_000
#: Batches up to so many bytes, unpacked, are not looked at: what their headers take is bounded by
#: them, and looking takes as long as reading.
COUNTED_BEYOND: Final = 1024 * 1024
#: What a header takes at least once it is made, in bytes.
HEADER_BYTES: Final = 80
#: The last byte of a number is no more than this, those before it are more.
_LAST: Final = 0x7F


class TooManyHeaders(CorruptRecordException):  # type: ignore[misc]
    """A record of a large batch has more headers than are read."""

    def __init__(self) -> None:
        super().__init__(f"a record has more than {MOST_HEADERS} headers")
        #: Why no record of the batch can be taken.
        self.reason = f"is in a large batch with a record of more than {MOST_HEADERS} headers"


def headers_size(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """What a record's headers take in memory, in bytes, about."""
    return sum([len(name) + len(value or b"") + HEADER_BYTES for name, value in headers])


def refuse_many_headers(content: bytes | memoryview) -> None:
    """Look at all records of a batch that is unpacked, if it is large.

    Raises:
        TooManyHeaders: one has more than are read.
    """
    if len(content) > COUNTED_BEYOND:
        try:
            # Each byte is asked for by itself, which bytes answer sooner.
            _look_at_records(bytes(content))
        except (IndexError, ValueError):
            # The client finds that as well, and reads no further.
            return


def _look_at_records(content: bytes) -> None:
    """Go from record to record, and in each to the number of its headers.

    A record's length alone does not tell whether there can be many: brokers take records that say a
    wrong one, and the client notices that once it has made the headers.
    """
    at, end = 0, len(content)
    while at < end:
        length, begin = decode_varint(content, at)
        if length <= 0:
            raise ValueError(length)
        # Behind the attributes, of one byte, are time and offset.
        at = begin + 1
        for _ in range(2):
            while content[at] > _LAST:
                at += 1
            at += 1
        for _ in range(2):
            size = content[at]
            if size > _LAST:
                size, at = decode_varint(content, at)
                at += max(size, 0)
            else:
                # An odd one is negative, which stands for neither key nor value.
                at += 1 if size & 1 else 1 + (size >> 1)
        # What has one byte or two is no number of more than eight thousand.
        if content[at] > _LAST and content[at + 1] > _LAST:
            count, _ = decode_varint(content, at)
            if count > MOST_HEADERS:
                raise TooManyHeaders
        at = begin + length
