"""A batch of valid events in columns, and how each event type is treated.

Events are read a few at a time and freed as soon as their columns are made, while they are still
in the processor's own cache: thousands at once cost more, the more the busier the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core.decode import Decoded, Decoder
from stream.core.dedupe import NEVER
from stream.core.event import Event, Invalid, Outcome
from stream.core.integers import NO_INTS, Ints, Mask
from stream.core.labels import LabelColumn
from stream.core.table import Digests
from stream.core.topic import ColumnHandler, Keeper, Nothing, Reference, RowHandler, Topic

#: So many records are read at once.
PIECE: Final = 1000

_id_of: Final = attrgetter("event_id")


class Refusal(NamedTuple):
    """A record that was not accepted: its place in the batch, the outcome and the reason."""

    place: int
    outcome: Outcome
    path: str
    reason: str


class Kind(NamedTuple):
    """How to treat an event type."""

    topic: str
    keeper: Keeper
    struct: type[Event]
    handle: RowHandler
    columns: ColumnHandler[Any] | None
    #: Of types that may be orphans.
    reference: Reference | None
    never_late: bool
    by_currency: bool


class OfKind(NamedTuple):
    """The events of one type: their places in the batch, and what they say, in columns."""

    kind: Kind
    places: Ints
    said: Any


class _Piece(NamedTuple):
    """Valid events of a few records; ``origins`` are their places among the batch's records."""

    origins: Ints
    occurred: Ints
    labels: LabelColumn
    ids: Ints
    keys: Ints
    currencies: dict[int, str]
    groups: list[OfKind]


class Batch:
    """Valid events of a batch in columns, and what is found out about each.

    ``kinds`` say what is read of each type, ``digests`` what stands for ids. Events after ``until``
    (ms), where there is such a time, are left out.
    """

    def __init__(
        self,
        decoder: Decoder,
        values: Sequence[bytes | None],
        kinds: Mapping[type[Event], Kind],
        digests: Digests,
        until: int | None,
    ) -> None:
        self._decoder = decoder
        self._values = values
        #: The records that are no valid events, in order.
        self.invalid: list[Refusal] = []
        pieces = [
            self._read(values[first : first + PIECE], first, kinds, digests, until)
            for first in range(0, len(values), PIECE)
        ]
        self.labels = LabelColumn.joined([piece.labels for piece in pieces])
        self._origins, self.occurred, self.ids, self.keys = (
            np.concatenate([column(piece) for piece in pieces] or [NO_INTS]) for column in _COLUMNS
        )
        n = len(self.labels)
        #: By place, where there is one.
        self.currencies: dict[int, str] = {}
        self.groups = list(self._joined(pieces))
        #: The number of each event's group.
        self.group_of = np.zeros(n, dtype=np.int64)
        for number, group in enumerate(self.groups):
            self.group_of[group.places] = number
        self.arrived = np.full(n, NEVER, dtype=np.int64)
        #: Whose outcome is not certain, or whose row must be found in its turn.
        self.in_doubt = np.zeros(n, dtype=bool)
        #: Who goes to the handler of single events, in its turn.
        self.one_by_one = np.zeros(n, dtype=bool)
        self.accepted = np.ones(n, dtype=bool)
        #: The segments' rows, −1 where it is to be found in its turn.
        self.rows = np.full(n, -1, dtype=np.int64)
        self.at: Ints = self.occurred

    def __len__(self) -> int:
        return len(self.labels)

    def _read(
        self,
        values: Sequence[bytes | None],
        first: int,
        kinds: Mapping[type[Event], Kind],
        digests: Digests,
        until: int | None,
    ) -> _Piece:
        decoded = self._decoder.decode(values)
        if sum(len(group.events) for group in decoded.groups) < len(values):
            self.invalid += _refusals(decoded, first)
        return _piece(decoded, first, kinds, digests, until)

    def _joined(self, pieces: Sequence[_Piece]) -> Iterator[OfKind]:
        """The groups of all pieces, with places in the batch."""
        found: dict[type[Event], list[OfKind]] = {}
        offset = 0
        for piece in pieces:
            for place, currency in piece.currencies.items():
                self.currencies[place + offset] = currency
            for group in piece.groups:
                moved = group._replace(places=group.places + offset)
                found.setdefault(group.kind.struct, []).append(moved)
            offset += len(piece.labels)
        for groups in found.values():
            yield joined(groups)

    def origin(self, place: int) -> int:
        """The place in the batch of records."""
        return int(self._origins[place])

    def kind(self, place: int) -> Kind:
        """How to treat an event."""
        kind: Kind = self.groups[int(self.group_of[place])].kind
        return kind

    def event(self, place: int) -> Event:
        """An event, read anew: that is rare."""
        return self._decoder.valid(self._values[self.origin(place)])


_COLUMNS: Final = tuple(map(attrgetter, ("origins", "occurred", "ids", "keys")))


def joined(groups: Sequence[OfKind]) -> OfKind:
    """Groups of which the same is read as one, in the order of their places."""
    if len(groups) == 1:
        return groups[0]
    kind, _, said = groups[0]
    places = np.concatenate([group.places for group in groups])
    columns = [np.concatenate(parts) for parts in zip(*(g.said for g in groups), strict=True)]
    if (places[1:] < places[:-1]).any():
        order = np.argsort(places)
        places, columns = places[order], [column[order] for column in columns]
    return OfKind(kind, places, said._make(columns))


def some_of(group: OfKind, chosen: Mask) -> OfKind:
    """Those events of a group."""
    if chosen.all():
        return group
    said = group.said._make(column[chosen] for column in group.said)
    return OfKind(group.kind, group.places[chosen], said)


def _refusals(decoded: Decoded, first: int) -> Iterator[Refusal]:
    for place, event in enumerate(decoded.events, first):
        if isinstance(event, Invalid):
            yield Refusal(place, "invalid", event.path, event.reason)


def _piece(
    decoded: Decoded,
    first: int,
    kinds: Mapping[type[Event], Kind],
    digests: Digests,
    until: int | None,
) -> _Piece:
    """Columns of the valid events up to ``until``."""
    events, occurred, labels, groups = decoded
    inside = np.zeros(len(events), dtype=bool)
    for group in groups:
        inside[group.places] = True
    if until is not None:
        inside &= occurred <= until
    origins = np.flatnonzero(inside)
    if origins.size < len(events):
        events = [events[i] for i in origins.tolist()]
        occurred, labels = occurred[origins], labels.take(origins)
    moved = np.cumsum(inside) - 1
    keys = np.zeros(len(events), dtype=np.int64)
    currencies: dict[int, str] = {}
    found = []
    for struct, decoded_places, of_kind, judged in groups:
        kind, kept = kinds[struct], inside[decoded_places]
        if not kept.all():
            of_kind = [of_kind[i] for i in np.flatnonzero(kept).tolist()]
            judged = None if judged is None else judged[kept]
        if not of_kind:
            continue
        places = moved[decoded_places[kept]]
        said = Nothing() if kind.columns is None else kind.columns.said(of_kind, judged)
        own = kind.keeper.keys(struct, of_kind, said)
        if own is not None:
            keys[places] = own
        if kind.by_currency:
            for place, event in zip(places.tolist(), of_kind, strict=True):
                if event.amount is not None and event.currency is not None:
                    currencies[place] = event.currency
        found.append(OfKind(kind, places, said))
    ids = digests.many(map(_id_of, events))
    return _Piece(origins + first, occurred, labels, ids, keys, currencies, found)


def kinds_of(topics: Sequence[tuple[Topic, Keeper]], *, columns: bool = True) -> Iterator[Kind]:
    """How to treat each event type of these topics."""
    for topic, keeper in topics:
        handlers, references = keeper.handlers(), keeper.references()
        in_columns = keeper.columns() if columns else {}
        for kind in topic.types:
            struct = kind.struct
            yield Kind(
                topic.name,
                keeper,
                struct,
                handlers[struct],
                in_columns.get(struct),
                references.get(struct),
                kind.never_late,
                kind.by_currency,
            )
