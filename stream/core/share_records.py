"""What a record of a share may hold, checked before any of it is taken in.

Who writes shares is trusted, but not to be without a fault: a record that can't be read must
neither end the reader nor take the rest of its share with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from stream.core.cells import MAX_ROWS, Ints
from stream.core.net import Piece
from stream.core.settings import Settings
from stream.core.sharing import ROWS, Beat

#: By kind: what follows the shard's number in the key, and the form of the data.
_Segment = tuple[str | None, ...]
_FORMS: Final[Mapping[str, tuple[Sequence[Callable[[str], Any]], Any]]] = {
    "beat": ((), Beat),
    "rows": ((int,), list[_Segment | None]),
    "pane": ((str, str), tuple[int, bytes, bytes]),
    "active": ((str,), tuple[bytes, _Segment, int, list[tuple[int, int, int]]]),
    "piece": ((str, int), tuple[int, int, list[int], list[int]]),
    "health": ((str, str), tuple[int, list[list[tuple[_Segment, int, int, int]]]]),
}


def checked(
    settings: Settings, kind: str, place: Sequence[str], data: Any
) -> tuple[tuple[Any, ...], Any]:
    """The place and the data of a record, ready to be used; no data where it was deleted.

    Raises:
        ValueError, msgspec.ValidationError: it is none that a worker of these settings writes.
    """
    if kind not in _FORMS:
        raise ValueError(f"there is no kind {kind!r}")
    parts, form = _FORMS[kind]
    where = tuple(read(part) for read, part in zip(parts, place, strict=True))
    if kind == "rows" and not 0 <= where[0] < MAX_ROWS // ROWS:
        raise ValueError("there are no such rows")
    if data is None:
        return where, None
    found = msgspec.convert(data, form)
    if kind == "rows":
        if len(found) > ROWS:
            raise ValueError("it has more rows than a record holds")
        _check_segments(settings, [segment for segment in found if segment is not None])
    elif kind == "pane":
        found = _pane(*found)
    elif kind == "active":
        _check_segments(settings, [found[1]])
    elif kind == "piece":
        found = Piece.load(found)
    elif kind == "health" and len(found[1]) != len(settings.rollups):
        raise ValueError("it has another number of rollups")
    return where, found


def _check_segments(settings: Settings, segments: Sequence[_Segment]) -> None:
    # The currency stands behind the dimensions.
    if any(len(segment) != len(settings.dimensions) + 1 for segment in segments):
        raise ValueError("it has another number of dimensions")


def _pane(number: int, low: bytes, values: bytes) -> tuple[int, Ints, Ints]:
    keys = np.frombuffer(low, dtype=np.uint32).astype(np.int64)
    amounts = np.frombuffer(values, dtype=np.int64)
    if keys.size != amounts.size:
        raise ValueError("it has not as many values as keys")
    return number, keys, amounts
