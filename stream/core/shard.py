"""A shard: one partition of all source topics, from raw records to counters and memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stream.core.active import ActiveStore
from stream.core.batch import Refusal
from stream.core.catalogue import LAYOUT, TOPICS
from stream.core.decode import Decoder
from stream.core.dedupe import SeenIds
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.evaluate import Share
from stream.core.event import Invalid
from stream.core.health import LocalHealth
from stream.core.intake import Intake
from stream.core.labels import LABEL_SETS, LabelCache
from stream.core.memory import Memory
from stream.core.progress import Progress
from stream.core.segments import Segments
from stream.core.settings import Settings
from stream.core.signals import SignalTable
from stream.core.table import Digests
from stream.core.tally import Tally, WindowStore
from stream.core.topic import Context, Keeper, Store
from stream.core.values import Values

__all__ = ["Refusal", "Shard"]


class Shard:
    """Takes in batches of records; holds everything that is known of them.

    ``event_time``: the time is that of the events, not of a clock, and one for all topics, as in
    ``replay``; valid events after ``until`` are left out then. ``values`` is shared by all shards.
    ``columns`` False looks at every record on its own, with the same result. ``seed`` is that of
    the digests which stand for ids, until the shard is recovered from a state, which has its own.
    """

    def __init__(
        self,
        settings: Settings,
        values: Values,
        *,
        event_time: bool = False,
        until: int | None = None,
        columns: bool = True,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self._until = until
        self.digests = Digests(seed)
        self.progress = Progress()
        self.tally = Tally(settings.windows)
        self.windows = WindowStore(settings.windows, self.tally)
        self.segments = Segments(settings, values)
        self.active = ActiveStore(
            settings, self.tally.unit_ms, values, self.segments.placed, self.segments.may_fill
        )
        self.signals = SignalTable(settings.health_weights, self.digests)
        self._event_time = event_time
        self._seen = {name: SeenIds(name, settings.dedupe_ms) for name in TOPICS}
        self._decoders: dict[str | None, Decoder] = {}
        # Where there is room for more segments, there are more sets of labels that come again.
        self._labels = LabelCache(max(LABEL_SETS, 2 * settings.max_segments))
        context = Context(settings, LAYOUT, self.tally, self.active, self.signals, self.digests)
        self._keepers: tuple[Keeper, ...] = tuple(t.keeper(context) for t in TOPICS.values())
        self._intake = Intake(
            settings,
            self.progress,
            self._seen,
            self.segments,
            list(zip(TOPICS.values(), self._keepers, strict=True)),
            self.digests,
            event_time=event_time,
            until=until,
            columns=columns,
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
        self, topic: str | None, values: Sequence[bytes | None], now: int = BEFORE_ALL
    ) -> list[Refusal]:
        """Take in records of a topic (None: of any) in order; those that were not accepted.

        ``now`` is the clock's time in ms; it is not used where events are the clock. Every record
        has one outcome, which is counted.
        """
        if not self._event_time:
            self.progress.now = max(self.progress.now, now)
        return self._intake.take(topic, self._decoder(topic), values)

    def _decoder(self, topic: str | None) -> Decoder:
        decoder = self._decoders.get(topic)
        if decoder is None:
            decoder = self._decoders[topic] = Decoder(topic, self._labels)
        return decoder

    def time_of(self, value: bytes) -> int | None:
        """``occurred_at`` of a record, if it would be accepted now; changes nothing."""
        decoded = self._decoder(None).decode([value])
        event, occurred = decoded.events[0], int(decoded.at[0])
        if isinstance(event, Invalid) or (self._until is not None and occurred > self._until):
            return None
        return occurred if self._intake.refusal_now(event, occurred) is None else None

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
        for store in self.stores():
            clock = at
            if isinstance(store, SeenIds) and not self._event_time:
                clock = self.progress.clocks.get(store.topic, at)
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
            sizes |= keeper.remembered()
        return sizes

    def forgotten(self) -> dict[str, int]:
        """How many entities were forgotten before their time, by kind, since the state began."""
        return {memory.name: memory.forgotten for memory in self._memories()}

    def newly_forgotten(self) -> dict[str, int]:
        """Those of them that the log, which the shard was recovered from, did not tell of."""
        return {memory.name: memory.newly_forgotten for memory in self._memories()}

    def _memories(self) -> Iterator[Memory]:
        return (store for store in self.stores() if isinstance(store, Memory))

    def close(self) -> None:
        """Let go of what is shared with other shards."""
        self.segments.close()
