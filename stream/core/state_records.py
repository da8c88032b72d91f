"""How the records of a state log are written, and how damage to them is noticed.

Each record has a checksum of what it holds, and says under which key it was written. With each
flush goes a mark of all blocks that are in the log then, so that one that is gone, or older than
the log says, is noticed too. Formats up to 6 had none of these.

No record is larger than a topic takes, however much has changed or a block holds: what a flush
tells goes into as many deltas as it needs, and a block's bytes into as many records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import Any, Final, NamedTuple

import msgspec
import zstandard

from stream.core.contents import Contents, Mark
from stream.core.errors import UNREADABLE, StopError
from stream.core.text import printable

#: Key and value of a log record; no value deletes the key.
LogRecord = tuple[bytes, bytes | None]

HEADER: Final = b"header"
DELTA: Final = b"delta/"
BLOCK: Final = b"block/"

#: What always helps where a state can't be used.
REMEDY: Final = (
    "stop all workers of the group, then `cxkpi state rebuild` counts anew from the earliest"
    " records, `cxkpi state reset` from now on"
)

#: A record of more bytes, unpacked, is none that was ever written.
_LARGEST: Final = 1 << 32
_LEVEL: Final = 1
#: A block has no more bytes than this in a record; what is beyond goes into further ones.
MOST_BLOCK_BYTES: Final = 8 * 1024 * 1024
#: Stands in the keys of those before their number, and in no block's name.
_FURTHER: Final = b"#"
#: A delta has no more bytes than this before they are packed, or those of one part of a store's
#: changes, which has a bound of its own.
MOST_DELTA_BYTES: Final = 4 * 1024 * 1024
_encode: Final = msgspec.msgpack.Encoder().encode
_compressor: Final = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
_decompressor: Final = zstandard.ZstdDecompressor()


class StateRefused(StopError):
    """The state can't be used as it is; the message says why and what to do."""

    def __init__(self, message: str) -> None:
        """The message may have words of records that can't be read."""
        super().__init__(printable(message))


class Delta(NamedTuple):
    """What has changed since the flush before. Formats up to 6 end with the changes."""

    sequence: int
    #: Deltas up to this one are deleted.
    covered: int
    #: The shard's time, in ms.
    now: int
    #: By the name of the store.
    changes: dict[str, Any]
    #: Of all blocks that were in the log then; None where that was not told.
    mark: Mark | None = None
    #: The blocks that the flush deleted: store and name.
    deleted: Sequence[tuple[str, str]] = ()


def damaged(key: bytes, why: object) -> StateRefused:
    """What is raised for a record that is not as it was written."""
    return StateRefused(f"record {_shown(key)} of the state log is damaged: {why}; {REMEDY}")


def _shown(key: bytes) -> str:
    """A key as people can read it."""
    return key.decode(errors="backslashreplace")


def delta_key(sequence: int) -> bytes:
    """The key of a flush's delta."""
    return DELTA + b"%d" % sequence


def block_key(name: str, block: str) -> bytes:
    """The key of a block of a store."""
    return BLOCK + f"{name}:{block}".encode()


def is_block(key: bytes) -> bool:
    """Whether a record is a block."""
    return key.startswith(BLOCK)


def is_further(key: bytes) -> bool:
    """Whether a record holds what went beyond the first one of a block."""
    return is_block(key) and _FURTHER in key


def first_key(key: bytes) -> bytes:
    """The key of a block's first record, given that of any."""
    return key.split(_FURTHER, 1)[0]


def further_key(key: bytes, number: int) -> bytes:
    """The key of a block's further record, from 1."""
    return key + _FURTHER + b"%d" % number


def block_of(key: bytes) -> tuple[str, str]:
    """The store of a block's record, and the block's name."""
    name, block = key[len(BLOCK) :].decode().split(":", 1)
    return name, block


def pack(data: Any) -> bytes:
    """A record's value."""
    return _compressor.compress(_encode(data))


def unpack(key: bytes, value: bytes) -> Any:
    """What ``pack`` was given.

    Raises:
        StateRefused: the value is damaged.
    """
    try:
        # The head of a frame is not among what its checksum is of.
        if zstandard.frame_content_size(value) > _LARGEST:
            raise damaged(key, "it says that it is too large")
        return msgspec.msgpack.decode(_decompressor.decompress(value))
    except (zstandard.ZstdError, *UNREADABLE) as error:
        raise damaged(key, error) from error


def unpacked_header(value: bytes) -> list[Any]:
    """The number of the format, and what a header of that format holds.

    Raises:
        StateRefused: the record is damaged.
    """
    header = unpack(HEADER, value)
    if not isinstance(header, list) or not header or not isinstance(header[0], int):
        raise damaged(HEADER, "it is no header")
    return header


def packed_block(key: bytes, sequence: int, dumped: Any) -> bytes:
    """The value of a block's record; ``sequence`` is the flush that writes it."""
    return pack([sequence, dumped, key])


def block_records(key: bytes, value: bytes) -> list[LogRecord]:
    """The records that a block's value goes into."""
    first, *more = (
        value[start : start + MOST_BLOCK_BYTES] for start in range(0, len(value), MOST_BLOCK_BYTES)
    )
    return [(key, first), *((further_key(key, n), part) for n, part in enumerate(more, start=1))]


def _place_in_block(key: bytes) -> int:
    place = key.rsplit(_FURTHER, 1)[1]
    if not place.isdigit():
        raise damaged(key, "it has no such key")
    return int(place)


def joined(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The records with each block in one, under its key.

    Raises:
        StateRefused: a record's key says that it belongs to a block, but not where.
    """
    whole = {key: value for key, value in records.items() if not is_further(key)}
    more: dict[bytes, list[bytes]] = {}
    for key in sorted(filter(is_further, records), key=_place_in_block):
        more.setdefault(first_key(key), []).append(records[key])
    for key, values in more.items():
        whole[key] = b"".join((whole.get(key, b""), *values))
    return whole


def unpacked_block(key: bytes, value: bytes) -> tuple[int, Any]:
    """The flush that wrote a block, and the block.

    Raises:
        StateRefused: the record is damaged, or was written under another key.
    """
    sequence, dumped, *of = unpack(key, value)
    if of and of != [key]:
        raise damaged(key, "it holds something else")
    return sequence, dumped


def unpacked_delta(key: bytes, value: bytes) -> Delta:
    """A delta.

    Raises:
        StateRefused: the record is damaged, or was written under another key.
    """
    try:
        delta = msgspec.convert(unpack(key, value), Delta)
    except msgspec.ValidationError as error:
        raise damaged(key, error) from error
    if delta_key(delta.sequence) != key:
        raise damaged(key, "it holds another delta")
    return delta


def in_deltas(
    changes: Mapping[str, Sequence[Any]], deleted: Iterable[tuple[str, str]]
) -> list[tuple[dict[str, Any], list[tuple[str, str]]]]:
    """The parts of stores' changes and the deleted blocks of a flush, for a delta each."""
    found: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [({}, [])]
    size = 0
    encoded = ((name, _encode(part)) for name, parts in changes.items() for part in parts)
    for name, part in encoded:
        if name in found[-1][0] or 0 < size > MOST_DELTA_BYTES - len(part):
            found.append(({}, []))
            size = 0
        found[-1][0][name] = msgspec.Raw(part)
        size += len(part)
    for block in deleted:
        more = len(_encode(block))
        if 0 < size > MOST_DELTA_BYTES - more:
            found.append(({}, []))
            size = 0
        found[-1][1].append(block)
        size += more
    return found


def are_checked(records: Mapping[bytes, bytes]) -> bool:
    """Whether all values have checksums, which those of formats up to 6 have not."""
    return all(zstandard.get_frame_parameters(value).has_checksum for value in records.values())


class Blocks(Contents):
    """The blocks that are in the log, each with the flush that wrote it."""

    def further(self, key: bytes) -> list[bytes]:
        """The keys of a block's further records that are in the log."""
        numbered = (further_key(key, number) for number in count(1))
        return list(takewhile(self.__contains__, numbered))

    def follow(self, records: Iterable[LogRecord], sequence: int) -> None:
        """Note what a flush does."""
        for key, value in records:
            if not is_block(key):
                continue
            if value is None:
                self.drop(key)
            else:
                self.put(key, sequence)
