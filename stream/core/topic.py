"""What a topic is: event types, what is remembered of their entities, counters and KPIs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from stream.core.active import ActiveStore
from stream.core.event import Event, EventType
from stream.core.integers import NO_INTS, Ints, Mask
from stream.core.kpi import Column, Counter, Kpi
from stream.core.labels import LabelColumn, Labels
from stream.core.layout import Layout
from stream.core.memory import Memory
from stream.core.settings import Settings
from stream.core.signals import SignalTable
from stream.core.table import ABSENT, Digests
from stream.core.tally import Tally

#: How many contributions of equal events a keeper remembers, so as not to work them out again.
MEMO: Final = 4096


class Store(Protocol):
    """A part of the state: changes between flushes, and blocks that hold it absolutely."""

    name: str

    def changes(self) -> list[Any]:
        """What changed since the last call, as plain data for msgpack.

        It comes in parts of a bounded size each, as many as it takes: a part must fit into a
        record, whatever has changed.
        """

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in a part that ``changes`` gave, save for blocks that already hold it."""

    def touched(self) -> Iterable[str]:
        """The blocks that have changed since the last call."""

    def dump(self, block: str) -> Any:
        """All that a block holds, as plain data."""

    def load(self, block: str, dumped: Any) -> None:
        """Put a dumped block in place."""

    def expire(self, at: int) -> Iterable[str]:
        """Forget what is too old at ``at``; the blocks that are gone."""


@dataclass(frozen=True, slots=True)
class Context:
    """What keepers of a shard work with."""

    settings: Settings
    layout: Layout
    tally: Tally
    active: ActiveStore
    signals: SignalTable
    digests: Digests


#: What events say, a named tuple of columns.
Said = TypeVar("Said", bound=tuple[Any, ...])


class Nothing(NamedTuple):
    """No columns: all is said by the type, the entity and the time."""


class Arrivals(NamedTuple, Generic[Said]):
    """Accepted events of one type or several that are handled alike, in columns.

    No two of them are of the same entity. ``said`` is what the handler has read of them, ``keys``
    are the digests of the entities' ids, ``occurred`` and ``at`` are in ms, ``rows`` are those of
    the events' segments.
    """

    said: Said
    keys: Ints
    occurred: Ints
    at: Ints
    rows: Ints
    labels: LabelColumn


#: Handles one accepted event: (event, key, occurred, at, row, labels), as in ``Arrivals``.
RowHandler = Callable[[Any, int, int, int, int, Labels], None]


@dataclass(frozen=True, slots=True)
class Reference:
    """What an event refers to: an entity that is remembered with a time near its own."""

    memory: Memory
    #: The field with the time, in ms: that of an event of the entity.
    field: str
    #: How far from it the event may be, before or after, in ms.
    reach_ms: int
    #: Whether it may be any time before.
    of_any_age: bool = False

    def is_lacking(self, key: int, occurred: int) -> bool:
        """Whether the event of an entity at a time (ms) refers to nothing that is remembered."""
        known = self.memory.value(key, self.field)
        if known is None or occurred - known > self.reach_ms:
            return True
        return not self.of_any_age and known - occurred > self.reach_ms

    def times(self, keys: Ints) -> tuple[Mask, Ints]:
        """Which entities are remembered, and with which times; any time where one is not."""
        slots = self.memory.find(keys)
        return slots != ABSENT, self.memory.field(self.field)[slots]


@dataclass(frozen=True, slots=True)
class ColumnHandler(Generic[Said]):
    """Handles many events at once; those that are not the usual are left to the row handler."""

    #: What it needs of some valid events, accepted or not: columns, each as long as the events.
    read: Callable[[Sequence[Any]], Said]
    #: Handles the usual among accepted ones, and says which ones it has left alone.
    handle: Callable[[Arrivals[Said]], Mask]
    #: ``read`` with what was found out of each event when the events were checked.
    read_judged: Callable[[Sequence[Any], Ints], Said] | None = None
    #: Numbers that tell of whom events are that must keep their order where one of them is left
    #: alone, though they are of several entities.
    kin: Callable[[Said], Ints] | None = None

    def said(self, events: Sequence[Any], judged: Ints | None) -> Said:
        """What events say; ``judged`` where they were checked together."""
        if judged is None or self.read_judged is None:
            return self.read(events)
        return self.read_judged(events, judged)


def nothing(events: Sequence[Any]) -> Nothing:
    """What events say that only say that they were, and when."""
    return Nothing()


def flags(values: Sequence[bool | None]) -> Ints:
    """1 for true, 0 for false and for what was left out."""
    return np.array(values, dtype=bool).astype(np.int64)


def numbers(values: Sequence[float | None]) -> Column:
    """Numbers, NaN for what was left out."""
    if values.count(None) == len(values):
        return np.full(len(values), np.nan)
    return np.array(values, dtype=np.float64)


class Keeper:
    """Turns a topic's accepted events into counts, with what it remembers of their entities.

    Every type has a handler of single events, which is its definition. Types of which there are
    many may have one of columns too, that does the same to the usual of them at once.
    """

    #: The field with the id of the entity that is remembered, for types that have it.
    entity: ClassVar[str] = ""

    def __init__(self, context: Context) -> None:
        self.settings = context.settings
        self.layout = context.layout
        self.tally = context.tally
        self.active = context.active
        self.digests = context.digests

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        """What to do with an accepted event, by its type."""
        return {}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        """What to do with many, for types where there is a way."""
        return {}

    def references(self) -> Mapping[type[Event], Reference]:
        """Types that may be orphans, and what they refer to; the same for all of a topic.

        All other types of the topic that have the entity leave one that can be referred to.
        """
        return {}

    def keys(
        self, struct: type[Event], events: Sequence[Any], said: tuple[Any, ...] | None = None
    ) -> Ints | None:
        """What stands for the entities of events of a type; None where none is remembered.

        ``said`` is what the type's ``ColumnHandler`` has read of them, where it has.
        """
        if self.entity not in struct.__struct_fields__:
            return None
        return self.digests.many(map(attrgetter(self.entity), events))

    def need_order(
        self, places: Mapping[type[Event], Ints], labels: LabelColumn, rows: Ints, until: int
    ) -> Ints:
        """The places of events that must come in their order among all, for their labels' sake.

        ``places`` are those of the topic's events in a batch, by type; ``labels`` and ``rows`` (−1
        where one is not known yet) those of the whole batch, which comes by ``until``, in ms.
        """
        return NO_INTS

    def stores(self) -> Sequence[Store]:
        """What is remembered."""
        return ()

    def remembered(self) -> Mapping[str, int]:
        """How many entities there are, by kind."""
        return {store.name: len(store) for store in self.stores() if isinstance(store, Memory)}

    def advance(self, at: int) -> None:
        """Time has come to ``at``, and all that happened before was seen."""

    def recovered(self) -> None:
        """The stores were loaded: make anew what follows from them."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A source topic and all that the product knows of it."""

    name: str
    #: What its KPIs are about, for people.
    title: str
    types: tuple[EventType, ...]
    keeper: type[Keeper]
    counters: tuple[Counter, ...] = ()
    sketches: tuple[str, ...] = ()
    kpis: tuple[Kpi, ...] = ()

    def __post_init__(self) -> None:
        fed = tuple(replace(kpi, topic=self.name) for kpi in self.kpis)
        object.__setattr__(self, "kpis", fed)
