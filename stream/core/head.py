"""What records that may be invalid say of their type and their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from stream.core.errors import UNREADABLE
from stream.core.event import Refused
from stream.core.halves import without_halves
from stream.core.timestamps import parse

_Head = TypeVar("_Head")


class _Typed(msgspec.Struct):
    type: msgspec.Raw = msgspec.Raw(b"null")


class _Timed(msgspec.Struct):
    occurred_at: Any = None


_read_typed: Final = msgspec.json.Decoder(_Typed).decode
_read_timed: Final = msgspec.json.Decoder(_Timed).decode
_read_text: Final = msgspec.json.Decoder(str | None).decode


def kind_of(value: bytes) -> Any:
    """What an object says of its type; something that is no text where that can't be read.

    Raises:
        msgspec.ValidationError: the record is another value than an object.
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError: it can't be read at all.
    """
    kind = _read(_read_typed, value).type
    try:
        return _read_text(kind)
    except UNREADABLE:
        # It is well formed, but no text, and may hold anything.
        return kind


def type_of(value: bytes) -> Any:
    """What a record that may be invalid says of its type; None where unreadable."""
    try:
        return kind_of(value)
    except UNREADABLE:
        return None


def occurred_at(value: bytes) -> int | None:
    """``occurred_at`` in ms of a record that may be invalid otherwise; None where unreadable."""
    try:
        return parse(_read(_read_timed, value).occurred_at)
    except (*UNREADABLE, TypeError, Refused):
        return None


def _read(read: Callable[[bytes], _Head], value: bytes) -> _Head:
    try:
        return read(value)
    except UNREADABLE:
        return read(without_halves(value))
