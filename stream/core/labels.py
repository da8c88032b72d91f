"""The labels of events, read once per distinct set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta

from stream.core.event import Refused
from stream.core.memo import Memo

MAX_ENTRIES: Final = 16
MAX_VALUE: Final = 64
#: Longer sets are read each time, so that the cache's size is bounded in bytes too.
_LONGEST_CACHED: Final = 2048
_LONGEST_NAME_SHOWN: Final = 64
#: So many sets are remembered, if nothing else is said.
LABEL_SETS: Final = 10_000

Value = Annotated[str, Meta(min_length=1, max_length=MAX_VALUE)]
_decode: Final = msgspec.json.Decoder(
    Annotated[dict[str, Value | None], Meta(max_length=MAX_ENTRIES)] | None
).decode


class Labels:
    """A set of labels, immutable. While one is alive, equal labels are the same object.

    ``values`` has no nulls; ``key`` is the same for equal labels, whatever their order was.
    """

    __slots__ = ("__weakref__", "key", "values")

    def __init__(self, values: dict[str, str], key: bytes) -> None:
        self.values: Final = values
        self.key: Final = key

    def __repr__(self) -> str:
        return f"Labels({self.values})"


_interned: WeakValueDictionary[bytes, Labels] = WeakValueDictionary()


def intern(values: dict[str, str]) -> Labels:
    """The one object for these labels."""
    ordered = dict(sorted(values.items()))
    key = msgspec.json.encode(ordered)
    labels = _interned.get(key)
    if labels is None:
        labels = _interned[key] = Labels(ordered, key)
    return labels


NO_LABELS: Final = intern({})


class LabelCache:
    """Reads labels, remembering up to ``bound`` sets by how they were written."""

    def __init__(self, bound: int = LABEL_SETS) -> None:
        self._known: Final = Memo(_read, bound, lambda raw: len(raw) <= _LONGEST_CACHED)

    def read(self, raw: bytes | msgspec.Raw) -> Labels:
        """The labels in ``raw``, a JSON object or null; a label that is null is absent.

        Raises:
            Refused: no object of texts, too many entries, or a value too long or empty. Its
                ``path`` names the label.
        """
        return self._known[bytes(raw)]

    def read_all(self, raws: Sequence[bytes | msgspec.Raw]) -> list[Labels]:
        """``read`` of many.

        Raises:
            Refused: as ``read``, for the first that can't be read.
        """
        # Joined and split, many are copied in half the time of one by one. A text that holds the
        # separator, which no JSON does, shows in the number of parts.
        parts = b"\0".join(raws).split(b"\0")
        if len(parts) != len(raws):
            parts = list(map(bytes, raws))
        return list(map(self._known.__getitem__, parts))


def _read(raw: bytes) -> Labels:
    try:
        values = _decode(raw)
    except msgspec.ValidationError:
        raise _refusal(raw) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("is not JSON", "labels") from None
    return intern({k: v for k, v in values.items() if v is not None}) if values else NO_LABELS


def _refusal(raw: bytes) -> Refused:
    """Which label breaks which rule."""
    try:
        values: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refused("is not JSON, or nested too deeply", "labels")
    if not isinstance(values, dict):
        return Refused("must be an object of texts", "labels")
    if len(values) > MAX_ENTRIES:
        return Refused(f"has more than {MAX_ENTRIES} entries", "labels")
    for name, value in values.items():
        path = f"labels.{name[:_LONGEST_NAME_SHOWN]}"
        if not isinstance(value, str | None):
            return Refused("must be a text", path)
        if value is not None and not 1 <= len(value) <= MAX_VALUE:
            return Refused(f"must have 1 to {MAX_VALUE} characters", path)
    return Refused("breaks a rule", "labels")
