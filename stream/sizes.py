"""How large a record is for Kafka, so that all who ask whether one fits get the same answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: What a record batch needs around its only record's key, value and headers, and a header around
#: its name and value, generously.
_AROUND_RECORD: Final = 128
_AROUND_HEADER: Final = 10


def batch_bytes(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] = ()
) -> int:
    """How many bytes a record batch has that holds one record, at most."""
    around = sum(
        len(name.encode(errors="replace")) + len(said or b"") + _AROUND_HEADER
        for name, said in headers
    )
    return len(key or b"") + len(value or b"") + around + _AROUND_RECORD
