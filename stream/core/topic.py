"""What a topic is: event types, what is remembered of their entities, counters and KPIs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from stream.core.active import ActiveStore
from stream.core.event import Event, EventType
from stream.core.kpi import Counter, Kpi
from stream.core.labels import Labels
from stream.core.layout import Layout
from stream.core.segments import Segments
from stream.core.settings import Settings
from stream.core.signals import SignalTable
from stream.core.tally import Tally

#: How many contributions of equal events a keeper remembers, so as not to work them out again.
MEMO: Final = 4096


class Store(Protocol):
    """A part of the state: changes between flushes, and blocks that hold it absolutely."""

    name: str

    def changes(self) -> Any:
        """What changed since the last call, or None; plain data for msgpack."""

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Take in what ``changes`` gave, save for blocks that already hold it."""

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
    segments: Segments
    active: ActiveStore
    signals: SignalTable


class Keeper:
    """Turns a topic's accepted events into counts, with what it remembers of their entities.

    Handlers take (event, occurred, at, labels): both times in ms, ``at`` that of the arrival.
    """

    def __init__(self, context: Context) -> None:
        self.settings = context.settings
        self.layout = context.layout
        self.tally = context.tally
        self.segments = context.segments
        self.active = context.active

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        """What to do with an accepted event, by its type."""
        return {}

    def orphans(self) -> Mapping[type[Event], Callable[[Any, int], bool]]:
        """Types that may be orphans, and whether an event (at its ``occurred_at``) is one."""
        return {}

    def stores(self) -> Sequence[Store]:
        """What is remembered."""
        return ()

    def advance(self, at: int) -> None:
        """Time has come to ``at``, and all that happened before was seen."""

    def recovered(self) -> None:
        """The stores were loaded: make anew what follows from them."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A source topic and all that the product knows of it."""

    name: str
    types: tuple[EventType, ...]
    keeper: type[Keeper]
    counters: tuple[Counter, ...] = ()
    sketches: tuple[str, ...] = ()
    kpis: tuple[Kpi, ...] = ()
