"""The labels of events, read once per distinct set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Annotated, Final
from weakref import WeakValueDictionary

import msgspec
import numpy as np
from msgspec import Meta

from stream.core.errors import UNREADABLE
from stream.core.event import Refused
from stream.core.integers import Ints
from stream.core.names import has_more_names

MAX_ENTRIES: Final = 16
MAX_VALUE: Final = 64
#: So many bytes a set of labels may have in the mean before fewer of them are remembered; one that
#: has more is large.
_MOST_BYTES: Final = 2048
_LONGEST_NAME_SHOWN: Final = 64
#: Labels of more bytes may have so many entries that all are not read to find that they are many.
_LONG: Final = 512
#: Bytes of a key. Labels whose values are all as long as they may be, of three bytes a character,
#: have no more where their names have up to 56: 16 · (192 + 56 + 6) and the braces. Nothing else
#: bounds names, and keys are kept for as long as a subscription is active.
LONGEST_KEY: Final = 4096
#: Begins keys that are no labels but their digest: no JSON does.
_DIGEST: Final = b"blake2b:"
#: So many sets are remembered, if nothing else is said.
LABEL_SETS: Final = 10_000

Value = Annotated[str, Meta(min_length=1, max_length=MAX_VALUE)]
_decode: Final = msgspec.json.Decoder(
    Annotated[dict[str, Value | None], Meta(max_length=MAX_ENTRIES)] | None
).decode
_decode_entries: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str | None).decode


class Labels:
    """A set of labels, immutable. While one is alive, equal labels are the same object.

    ``values`` has no nulls; ``key`` is the same for equal labels, whatever their order was: they
    themselves in JSON, or a digest of that where it is longer than ``LONGEST_KEY``. Where they are
    ``large``, whoever keeps many must not keep them.
    """

    __slots__ = ("__weakref__", "key", "large", "values")

    def __init__(self, values: dict[str, str], key: bytes, *, large: bool) -> None:
        self.values: Final = values
        self.key: Final = key
        self.large: Final = large

    def __repr__(self) -> str:
        return f"Labels({self.values})"


_interned: WeakValueDictionary[bytes, Labels] = WeakValueDictionary()


def bounded(key: bytes) -> bytes:
    """What stands for a key of any length: itself, or its digest.

    Equal digests of different labels are less likely than a broken machine (2⁻²⁵⁶ for each pair).
    """
    if len(key) <= LONGEST_KEY:
        return key
    return _DIGEST + blake2b(key, digest_size=32).hexdigest().encode()


def intern(values: dict[str, str]) -> Labels:
    """The one object for these labels."""
    ordered = dict(sorted(values.items()))
    written = msgspec.json.encode(ordered)
    key = bounded(written)
    labels = _interned.get(key)
    if labels is None:
        labels = _interned[key] = Labels(ordered, key, large=len(written) > _MOST_BYTES)
    return labels


NO_LABELS: Final = intern({})


class LabelColumn:
    """The labels of many events, as numbers: those of their places in ``sets``.

    ``sets`` grow, and what stands in a place stays there. Equal labels may have several places.
    """

    __slots__ = ("numbers", "sets")

    def __init__(self, numbers: Ints, sets: list[Labels]) -> None:
        self.numbers: Final = numbers
        self.sets: Final = sets

    @classmethod
    def of(cls, labels: Iterable[Labels]) -> LabelColumn:
        """A column of its own."""
        sets = list(labels)
        return cls(np.arange(len(sets)), sets)

    @classmethod
    def joined(cls, columns: Sequence[LabelColumn]) -> LabelColumn:
        """Several as one, in their order."""
        if len({id(column.sets) for column in columns}) == 1:
            return cls(np.concatenate([column.numbers for column in columns]), columns[0].sets)
        return cls.of(labels for column in columns for labels in column.listed())

    def listed(self) -> list[Labels]:
        """All of them, in order."""
        return list(map(self.sets.__getitem__, self.numbers.tolist()))

    def __len__(self) -> int:
        return self.numbers.size

    def __getitem__(self, place: int) -> Labels:
        return self.sets[self.numbers.item(place)]

    def take(self, places: Ints) -> LabelColumn:
        """Those at some places."""
        return LabelColumn(self.numbers.take(places), self.sets)


class _Numbers(dict[bytes, int]):
    """Numbers of sets by how they were written; the first look-up of one reads it."""

    def __init__(self) -> None:
        super().__init__()
        #: By number; the first is that of records whose labels are not looked at.
        self.sets: list[Labels] = [NO_LABELS]
        self.nbytes = 0

    def __missing__(self, raw: bytes) -> int:
        labels = _read(raw)
        number = self[raw] = len(self.sets)
        self.sets.append(labels)
        self.nbytes += len(raw)
        return number


class LabelCache:
    """Reads labels, and numbers them by how they were written.

    Where ``bound`` sets are known, or more bytes than so many have, ``make_room`` starts anew, with
    numbers and ``sets`` that have nothing to do with those before. So what is read between two
    calls may come on top.
    """

    def __init__(self, bound: int = LABEL_SETS) -> None:
        self._bound: Final = bound
        self._numbers = _Numbers()

    @property
    def sets(self) -> list[Labels]:
        """The labels by number, a list that only grows."""
        return self._numbers.sets

    def make_room(self) -> None:
        """Start anew where too much is remembered; else numbers stay as they are."""
        known = self._numbers
        if len(known) >= self._bound or known.nbytes >= self._bound * _MOST_BYTES:
            self._numbers = _Numbers()

    def read(self, raw: bytes | msgspec.Raw) -> Labels:
        """The labels in ``raw``, a JSON object or null; a label that is null is absent.

        Raises:
            Refused: no object of texts, too many entries, or a value too long or empty. Its
                ``path`` names the label.
        """
        self.make_room()
        return self.sets[self.number(raw)]

    def number(self, raw: bytes | msgspec.Raw) -> int:
        """The number of ``read``.

        Raises:
            Refused: as ``read``.
        """
        return self._numbers[bytes(raw)]

    def numbers(self, raws: Sequence[bytes | msgspec.Raw]) -> Ints:
        """``number`` of many.

        Raises:
            Refused: as ``read``, for the first that can't be read.
        """
        # Joined and split, many are copied in half the time of one by one. A text that holds the
        # separator, which no JSON does, shows in the number of parts.
        parts = b"\0".join(raws).split(b"\0")
        if len(parts) != len(raws):
            parts = list(map(bytes, raws))
        return np.fromiter(map(self._numbers.__getitem__, parts), np.int64, len(parts))


def _read(raw: bytes) -> Labels:
    if len(raw) > _LONG and has_more_names(raw, MAX_ENTRIES):
        raise _too_many()
    try:
        values = _decode(raw)
    except msgspec.ValidationError:
        raise _refusal(raw) from None
    except UNREADABLE:
        raise Refused("is not JSON", "labels") from None
    return intern({k: v for k, v in values.items() if v is not None}) if values else NO_LABELS


def _too_many() -> Refused:
    return Refused(f"has more than {MAX_ENTRIES} entries", "labels")


def _refusal(raw: bytes) -> Refused:
    """Which label breaks which rule."""
    try:
        values = _decode_entries(raw)
    except msgspec.ValidationError:
        return Refused("must be an object of texts", "labels")
    except UNREADABLE:
        return Refused("is not JSON, or nested too deeply", "labels")
    if len(values) > MAX_ENTRIES:
        return _too_many()
    for name, written in values.items():
        path = f"labels.{name[:_LONGEST_NAME_SHOWN]}"
        try:
            value = _decode_text(written)
        except msgspec.ValidationError:
            return Refused("must be a text", path)
        except UNREADABLE:
            return Refused("is not JSON, or nested too deeply", "labels")
        if value is not None and not 1 <= len(value) <= MAX_VALUE:
            return Refused(f"must have 1 to {MAX_VALUE} characters", path)
    return Refused("breaks a rule", "labels")
