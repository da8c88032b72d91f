"""What a record of a share may hold, checked before any of it is taken in.

Who writes shares is trusted, but not to be without a fault: a record that can't be read must
neither end the reader nor take the rest of its share with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from stream.core.cells import LOW_BITS, MAX_ROWS, SUM_LIMIT
from stream.core.integers import Ints
from stream.core.net import Piece
from stream.core.settings import Settings
from stream.core.sharing import ROWS, Beat
from stream.core.tally import cells_of

#: What a sum of a counter, a time or a number of a pane may be.
_Number = Annotated[int, Meta(ge=-SUM_LIMIT, le=SUM_LIMIT)]
#: By kind: what follows the shard's number in the key, and the form of the data.
_Segment = tuple[str | None, ...]
#: What is told of a series of health.
_Row = tuple[_Segment, _Number, _Number, _Number]
#: A column of integers.
_Packed = tuple[bytes, bytes]
_FORMS: Final[Mapping[str, tuple[Sequence[Callable[[str], Any]], Any]]] = {
    "beat": ((), Beat),
    "rows": ((int,), list[_Segment | None]),
    "pane": ((str, str, int), tuple[_Number, _Packed, _Packed]),
    "active": ((str,), tuple[bytes, _Segment, _Number, list[tuple[_Number, _Number, _Number]]]),
    "piece": ((str, int), tuple[_Number, _Number, list[_Number], list[_Number]]),
    "health": ((str, str, int), tuple[_Number, list[list[_Row]]]),
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
    elif kind == "health":
        _check_health(settings, found[1])
    return where, found


def _check_segments(settings: Settings, segments: Sequence[_Segment]) -> None:
    # The currency stands behind the dimensions.
    if any(len(segment) != len(settings.dimensions) + 1 for segment in segments):
        raise ValueError("it has another number of dimensions")


def _check_health(settings: Settings, rollups: Sequence[Sequence[Any]]) -> None:
    for names, series in zip(settings.rollups, rollups, strict=True):
        if any(len(key) != len(names) for key, *_ in series):
            raise ValueError("it has another number of labels")


def _pane(number: int, *dumped: _Packed) -> tuple[int, Ints, Ints]:
    keys, amounts = cells_of(dumped)
    if keys.size != amounts.size:
        raise ValueError("it has not as many values as keys")
    if keys.size and not 0 <= keys.min() <= keys.max() < 1 << LOW_BITS:
        raise ValueError("it has cells of no row")
    return number, keys, amounts
