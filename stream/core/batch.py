"""A batch of valid events in columns, and how each event type is treated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core.cells import Ints
from stream.core.decode import Decoded, Group
from stream.core.dedupe import NEVER
from stream.core.event import Event
from stream.core.labels import Labels
from stream.core.table import digests
from stream.core.topic import ColumnHandler, Keeper, RowHandler, Topic

_id_of: Final = attrgetter("event_id")


class Kind(NamedTuple):
    """How to treat an event type."""

    topic: str
    keeper: Keeper
    struct: type[Event]
    handle: RowHandler
    columns: ColumnHandler | None
    is_orphan: Callable[[int, int], bool] | None
    never_late: bool
    by_currency: bool


class Batch:
    """Valid events of a batch in columns, and what is found out about each."""

    def __init__(self, decoded: Decoded, groups: Sequence[Group], places: Ints | None) -> None:
        events, self.occurred, labels, _ = decoded
        self.places = places
        self.events: Sequence[Any] = events
        self.labels: Sequence[Labels] = labels
        if places is not None:
            chosen = places.tolist()
            self.events, self.labels = [events[i] for i in chosen], [labels[i] for i in chosen]
            self.occurred = self.occurred[places]
        self.groups = groups
        n = len(self.events)
        self.ids = digests(map(_id_of, self.events), n)
        self.keys = np.zeros(n, dtype=np.int64)
        self.arrived = np.full(n, NEVER, dtype=np.int64)
        self.kinds: list[Kind] = []
        #: By place, where there is one.
        self.currencies: dict[int, str] = {}
        #: Whose outcome is not certain, or whose row must be found in its turn.
        self.in_doubt = np.zeros(n, dtype=bool)
        #: Who goes to the handler of single events, in its turn.
        self.one_by_one = np.zeros(n, dtype=bool)
        self.accepted = np.ones(n, dtype=bool)
        #: The segments' rows, −1 where it is to be found in its turn.
        self.rows = np.full(n, -1, dtype=np.int64)
        self.at: Ints = self.occurred

    def origin(self, place: int) -> int:
        """The place in the batch of records."""
        return place if self.places is None else int(self.places[place])


def kinds_of(topics: Sequence[tuple[Topic, Keeper]]) -> Iterator[Kind]:
    """How to treat each event type of these topics."""
    for topic, keeper in topics:
        handlers, columns, orphans = keeper.handlers(), keeper.columns(), keeper.orphans()
        for kind in topic.types:
            struct = kind.struct
            yield Kind(
                topic.name,
                keeper,
                struct,
                handlers[struct],
                columns.get(struct),
                orphans.get(struct),
                kind.never_late,
                kind.by_currency,
            )
