"""How large a record is for Kafka, so that all who ask whether one fits get the same answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: What a record batch needs around its only record's key, value and headers, generously.
_AROUND_RECORD: Final = 128


def batch_bytes(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] = ()
) -> int:
    """How many bytes a record batch has that holds one record, at most."""
    around = sum(
        _with_length(len(name.encode(errors="replace"))) + _with_length(len(said or b""))
        for name, said in headers
    )
    return len(key or b"") + len(value or b"") + around + _AROUND_RECORD


def _with_length(size: int) -> int:
    """So many bytes and the number that says how many: seven bits a byte, the first for its sign.

    Of a hundred thousand small headers the numbers are most, so they must be no more than they are.
    """
    return size + ((size << 1 | 1).bit_length() + 6) // 7
