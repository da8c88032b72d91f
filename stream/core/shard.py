"""A shard: one partition of all source topics, from raw records to counters and memories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stream.core.active import ActiveStore
from stream.core.catalogue import LAYOUT, TOPICS
from stream.core.decode import Decoder
from stream.core.dedupe import SeenIds
from stream.core.evaluate import Share
from stream.core.event import Event, Invalid, Outcome
from stream.core.health import LocalHealth
from stream.core.labels import Labels
from stream.core.memory import Memory, digest
from stream.core.segments import Segments
from stream.core.settings import MINUTE, SHORTEST_MEMORY, Settings
from stream.core.signals import SignalTable
from stream.core.tally import Tally, WindowStore
from stream.core.topic import Context, Keeper, Store
from stream.core.values import Values

#: Events further ahead of the clock than this are refused.
FUTURE_MS = MINUTE

_LONG_AGO = -(1 << 60)


class Refusal(NamedTuple):
    """A record that was not accepted: its place in the batch, the outcome and the reason."""

    place: int
    outcome: Outcome
    path: str
    reason: str


class Progress:
    """Positions, clocks and outcome counts: small, so kept as one absolute record."""

    name = "progress"
    _BLOCK = "all"

    def __init__(self) -> None:
        #: Next offset to read, by topic.
        self.positions: dict[str, int] = {}
        #: The greatest ``occurred_at`` of accepted events, by topic.
        self.clocks: dict[str, int] = {}
        self.outcomes: dict[str, dict[Outcome, int]] = {}
        #: Records that were gone from the source before they were read, by topic.
        self.skipped: dict[str, int] = {}
        #: Records before these positions had their dead letters written by a state that was
        #: replaced by this one, by topic.
        self.buried: dict[str, int] = {}
        #: The earliest ``occurred_at`` ever accepted.
        self.first: int | None = None
        #: The latest time that the shard has seen.
        self.now = _LONG_AGO
        self._last: Any = None
        self._touched = False

    def count(self, topic: str, outcome: Outcome, n: int = 1) -> None:
        """Count records of an outcome."""
        outcomes = self.outcomes.setdefault(topic, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + n

    def _all(self) -> Any:
        return [
            dict(self.positions),
            dict(self.clocks),
            {topic: dict(counts) for topic, counts in self.outcomes.items()},
            dict(self.skipped),
            dict(self.buried),
            self.first,
            self.now,
        ]

    def changes(self) -> Any:
        """Everything, where positions or counts have moved since the last call."""
        now = self._all()
        if self._last is not None and now[:-1] == self._last[:-1]:
            return None
        self._last = now
        self._touched = True
        return now

    def apply(self, change: Any, at: int, is_newer: Callable[[str], bool]) -> None:
        """Put it in place, unless the block already holds it."""
        if is_newer(self._BLOCK):
            self.load(self._BLOCK, change)
            self._touched = True

    def touched(self) -> set[str]:
        """The one block, where anything moved since the last call."""
        touched, self._touched = self._touched, False
        return {self._BLOCK} if touched else set()

    def dump(self, block: str) -> Any:
        """Everything."""
        return self._all()

    def load(self, block: str, dumped: Any) -> None:
        """Put a dump in place."""
        self.positions, self.clocks, self.outcomes, self.skipped, *rest = dumped
        self.buried, self.first, self.now = rest
        self._last = self._all()

    def expire(self, at: int) -> Iterator[str]:
        """Nothing of it expires."""
        return iter(())


class _Kind(NamedTuple):
    """How to treat an event type."""

    topic: str
    handle: Callable[[Any, int, int, Labels], None]
    is_orphan: Callable[[Any, int], bool] | None
    never_late: bool


class Shard:
    """Takes in batches of records; holds everything that is known of them.

    ``event_time``: the time is that of the events, not of a clock, and one for all topics, as in
    ``replay``; valid events after ``until`` are left out then. ``values`` is shared by all shards.
    """

    def __init__(
        self,
        settings: Settings,
        values: Values,
        *,
        event_time: bool = False,
        until: int | None = None,
    ) -> None:
        self.settings = settings
        self._until = until
        self.progress = Progress()
        self.tally = Tally(settings.windows)
        self.windows = WindowStore(settings.windows, self.tally)
        self.segments = Segments(settings, values)
        self.active = ActiveStore(settings, self.tally.unit_ms, values)
        self.signals = SignalTable(settings.health_weights)
        self._event_time = event_time
        self._seen = {name: SeenIds(name, settings.dedupe_ms) for name in TOPICS}
        self._decoders: dict[str | None, Decoder] = {}
        context = Context(settings, LAYOUT, self.tally, self.segments, self.active, self.signals)
        self._keepers: tuple[Keeper, ...] = tuple(t.keeper(context) for t in TOPICS.values())
        self._kinds = dict(self._make_kinds())

    def _make_kinds(self) -> Iterator[tuple[type[Event], _Kind]]:
        for topic, keeper in zip(TOPICS.values(), self._keepers, strict=True):
            handlers: Mapping[type[Event], Callable[[Any, int, int, Labels], None]]
            handlers, orphans = keeper.handlers(), keeper.orphans()
            for kind in topic.types:
                struct = kind.struct
                yield (
                    struct,
                    _Kind(topic.name, handlers[struct], orphans.get(struct), kind.never_late),
                )

    def stores(self) -> list[Store]:
        """All parts of the state; segments come first, since recovery needs them first."""
        return [
            self.segments,
            self.progress,
            self.windows,
            self.active,
            *self._seen.values(),
            *(store for keeper in self._keepers for store in keeper.stores()),
        ]

    def ingest(
        self, topic: str | None, values: Sequence[bytes | None], now: int = _LONG_AGO
    ) -> list[Refusal]:
        """Take in records of a topic (None: of any) in order; those that were not accepted.

        ``now`` is the clock's time in ms; it is not used where events are the clock. Every record
        has one outcome, which is counted.
        """
        progress = self.progress
        if not self._event_time:
            progress.now = max(progress.now, now)
        decoder = self._decoder(topic)
        refusals: list[Refusal] = []
        accepted: dict[str, int] = {}
        for i, (event, occurred, labels) in enumerate(zip(*decoder.decode(values), strict=True)):
            if isinstance(event, Invalid):
                progress.count(topic or "", "invalid")
                refusals.append(Refusal(i, "invalid", event.path, event.reason))
                continue
            if self._until is not None and occurred > self._until:
                continue
            kind = self._kinds[type(event)]
            key = digest(event.event_id)
            refusal = self._refusal(kind, event, occurred, key)
            if refusal is not None:
                progress.count(kind.topic, refusal[0])
                refusals.append(Refusal(i, *refusal))
                continue
            self._accept(kind.topic, occurred, key)
            kind.handle(event, occurred, progress.now, labels)
            accepted[kind.topic] = accepted.get(kind.topic, 0) + 1
        for name, n in accepted.items():
            progress.count(name, "accepted", n)
        return refusals

    def _decoder(self, topic: str | None) -> Decoder:
        decoder = self._decoders.get(topic)
        if decoder is None:
            decoder = self._decoders[topic] = Decoder(topic)
        return decoder

    def _refusal(
        self, kind: _Kind, event: Event, occurred: int, key: bytes
    ) -> tuple[Outcome, str, str] | None:
        """The outcome, field path and reason of an event that is not accepted."""
        now = self.progress.now
        clock = now if self._event_time else self.progress.clocks.get(kind.topic, _LONG_AGO)
        if self._seen[kind.topic].has(key, clock):
            return "duplicate", "event_id", "an event with this id was accepted before"
        if not self._event_time and occurred > now + FUTURE_MS:
            return "future", "occurred_at", "is more than 60 s ahead of the clock"
        if (
            occurred < now - SHORTEST_MEMORY
            and not kind.never_late
            and occurred < self.settings.late_before(now)
        ):
            return "late", "occurred_at", "is older than every window and than 7 days"
        if kind.is_orphan is not None and kind.is_orphan(event, occurred):
            return "orphan", "type", "what this event refers to is not remembered"
        return None

    def _accept(self, topic: str, occurred: int, key: bytes) -> None:
        progress = self.progress
        clock = max(occurred, progress.clocks.get(topic, _LONG_AGO))
        progress.clocks[topic] = clock
        if self._event_time:
            clock = progress.now = max(progress.now, occurred)
        if progress.first is None or occurred < progress.first:
            progress.first = occurred
        self._seen[topic].add(key, clock)

    def time_of(self, value: bytes) -> int | None:
        """``occurred_at`` of a record, if it would be accepted now; changes nothing."""
        (event,), (occurred,), _ = self._decoder(None).decode([value])
        if isinstance(event, Invalid) or (self._until is not None and occurred > self._until):
            return None
        kind = self._kinds[type(event)]
        refusal = self._refusal(kind, event, occurred, digest(event.event_id))
        return occurred if refusal is None else None

    def advance(self, at: int) -> None:
        """All that happened before ``at`` was seen: what waits for that time comes due."""
        for keeper in self._keepers:
            keeper.advance(at)

    def fold(self, at: int) -> None:
        """Bring the windows up to date at time ``at``."""
        self.progress.now = max(self.progress.now, at)
        self.windows.fold(self.progress.now)

    def expire(self, at: int) -> Iterator[tuple[str, str]]:
        """Forget what is too old at ``at``; yields (store, block) of the blocks that are gone."""
        ids = {id(seen): name for name, seen in self._seen.items()}
        for store in self.stores():
            topic = ids.get(id(store))
            clock = at if topic is None or self._event_time else self.progress.clocks.get(topic, at)
            for block in store.expire(clock):
                yield store.name, block

    def share(self) -> Share:
        """What the shard contributes to the totals; it changes as the shard does."""
        return Share(self.windows, self.segments.rows, self.active.sets, LocalHealth(self.signals))

    def settle(self, at: int) -> None:
        """Forget what is too old, where nobody keeps a log of the changes."""
        self.fold(at)
        for _ in self.expire(at):
            continue
        for store in self.stores():
            store.changes()
            store.touched()
        for renewed in (self.windows.renewed, self.segments.renamed, self.active.renewed):
            renewed.clear()

    def recovered(self) -> None:
        """The stores were loaded: make anew what follows from them."""
        for keeper in self._keepers:
            keeper.recovered()

    def remembered(self) -> dict[str, int]:
        """How many entities and event ids are in memory, by kind."""
        sizes = {"event_ids": sum(len(seen) for seen in self._seen.values())}
        for keeper in self._keepers:
            for store in keeper.stores():
                if isinstance(store, Memory):
                    sizes[store.name] = len(store)
        return sizes

    def close(self) -> None:
        """Let go of what is shared with other shards."""
        self.segments.close()
