"""From decoded records to their outcomes and to the keepers, many records at a time.

What depends on the records before it is the exception: an id that may have come before, a time
that may be late, an entity of which it is not certain that it is remembered. Such records are
looked at one by one, in their order; all others as columns. The clock, which every record can move,
is worked out from those whose outcome is certain. Of an entity that comes twice the first events
come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from stream.core.batch import Batch, Kind, OfKind, Refusal, joined, kinds_of, some_of
from stream.core.decode import Decoder
from stream.core.dedupe import NEVER, SeenIds
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.event import Event, Outcome
from stream.core.integers import (
    NO_INTS,
    Ints,
    Mask,
    among,
    come_again,
    distinct,
    ranks,
    starts_of_runs,
)
from stream.core.progress import Progress
from stream.core.segments import Segments
from stream.core.settings import DAY, MINUTE, SECOND, SHORTEST_MEMORY, Settings
from stream.core.table import Digests
from stream.core.topic import Arrivals, ColumnHandler, Keeper, Reference, Topic

#: Events further ahead of the clock than this are refused.
FUTURE_MS: Final = MINUTE
#: Why they are, and why events that no window has room for are.
_TOO_EARLY: Final = f"is more than {FUTURE_MS // SECOND} s ahead of the clock"
_TOO_LATE: Final = f"is older than every window and than {SHORTEST_MEMORY // DAY} days"
#: So many of a topic's first records are taken in before those that come with them.
_HEAD: Final = 256
#: Fewer events of repeated entities than this are not worth another round of columns.
_FEW: Final = 32


class Intake:
    """Finds the outcome of every record and hands the accepted ones to their keepers.

    ``columns`` False: every record is looked at on its own; the result is the same.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        seen: Mapping[str, SeenIds],
        segments: Segments,
        topics: Sequence[tuple[Topic, Keeper]],
        digests: Digests,
        *,
        event_time: bool,
        until: int | None,
        columns: bool = True,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._seen = seen
        self._segments = segments
        self._digests = digests
        self._event_time = event_time
        self._until = until
        self._columns = columns
        self._kinds = {kind.struct: kind for kind in kinds_of(topics, columns=columns)}
        self._late = BEFORE_ALL, BEFORE_ALL
        #: How many records of each topic were taken in, as long as those are fewer than ``_HEAD``.
        self._begun: dict[str | None, int] = {}

    # A batch ------------------------------------------------------------------------------------

    def take(
        self, topic: str | None, decoder: Decoder, values: Sequence[bytes | None]
    ) -> list[Refusal]:
        """Take in a batch of records; those that were not accepted, in order."""
        begun = self._begun.get(topic, 0)
        if begun >= _HEAD:
            return self._take(topic, decoder, values)
        # Labels that nothing is known of yet are looked up one by one, so those that all have come
        # with few records first.
        head = _HEAD - begun
        self._begun[topic] = begun + len(values)
        refused = self._take(topic, decoder, values[:head])
        for refusal in self._take(topic, decoder, values[head:]):
            refused.append(refusal._replace(place=refusal.place + head))
        return refused

    def _take(
        self, topic: str | None, decoder: Decoder, values: Sequence[bytes | None]
    ) -> list[Refusal]:
        batch = Batch(decoder, values, self._kinds, self._digests, self._until)
        if batch.invalid:
            self._progress.count(topic or "", "invalid", len(batch.invalid))
        if not len(batch):
            return batch.invalid
        by_topic = self._by_topic(batch)
        self._find_rows(batch)
        self._find_doubts(batch, by_topic)
        refused = self._settle_doubts(batch)
        self._accept(batch, by_topic)
        for places in by_topic.values():
            self._handle(batch, places)
        return sorted([*batch.invalid, *refused]) if refused else batch.invalid

    def _by_topic(self, batch: Batch) -> dict[str, Ints]:
        """The places of each topic's events, in order."""
        found: dict[str, list[Ints]] = {}
        for group in batch.groups:
            found.setdefault(group.kind.topic, []).append(group.places)
        return {
            topic: np.sort(np.concatenate(places)) if len(places) > 1 else places[0]
            for topic, places in found.items()
        }

    def _find_rows(self, batch: Batch) -> None:
        """Look up the rows that need not be found in their turn."""
        if self._columns:
            until = self._progress.now
            if self._event_time:
                until = max(until, int(batch.occurred.max()))
            batch.rows = self._segments.known_rows(batch.labels, batch.currencies, until)
        batch.in_doubt |= batch.rows < 0

    def _find_doubts(self, batch: Batch, by_topic: Mapping[str, Ints]) -> None:
        """Note whose outcome depends on what comes before, and who is handled one by one."""
        now, occurred = self._progress.now, batch.occurred
        latest = max(now, int(occurred.max())) if self._event_time else now
        late_before = self._late_before(latest)
        if not self._columns or (not self._event_time and len(by_topic) > 1):
            batch.one_by_one[:] = True
        if not self._event_time:
            batch.in_doubt |= occurred > now + FUTURE_MS
        self._find_ordered(batch, latest)
        for kind, places, _ in batch.groups:
            if not kind.never_late:
                batch.in_doubt[places] |= occurred[places] < late_before
            if kind.columns is None:
                batch.one_by_one[places] = True
        for topic, places in by_topic.items():
            batch.arrived[places] = self._seen[topic].arrivals(batch.ids[places])
            batch.in_doubt[places] |= _repeated(batch.ids[places])
            batch.in_doubt[places] |= batch.arrived[places] != NEVER
            self._find_strays(batch, topic, places)
            # Whatever else comes of an entity must keep its place among them.
            alone = batch.one_by_one[places]
            if alone.any() and not alone.all():
                keys = batch.keys[places]
                batch.one_by_one[places] |= among(keys, np.sort(keys[alone])) & (keys != 0)
        batch.in_doubt |= batch.one_by_one

    def _find_strays(self, batch: Batch, topic: str, own: Ints) -> None:
        """Note which of a topic's entities have events that may be orphans when their turn comes.

        None is where all events of the entity, and what is remembered of it, are within the reach
        of one another, the first leaves something to refer to, and all are sure to be accepted;
        that may be in doubt of an event that comes alone.
        """
        may_be = np.zeros(len(batch), dtype=bool)
        reference: Reference | None = None
        for kind, places, _ in batch.groups:
            if kind.topic == topic and kind.reference is not None:
                reference = kind.reference
                may_be[places] = True
        if reference is None:
            return
        own = own[among(batch.keys[own], distinct(batch.keys[may_be]))]
        own = own[np.argsort(batch.keys[own], kind="stable")]
        keys, occurred = batch.keys[own], batch.occurred[own]
        known, times = reference.times(keys)
        starts = np.flatnonzero(starts_of_runs(keys))
        counts = np.diff(starts, append=keys.size)
        times = np.where(known, times, occurred)
        earliest = np.minimum.reduceat(np.minimum(occurred, times), starts)
        latest = np.maximum.reduceat(np.maximum(occurred, times), starts)
        certain = (counts == 1) | ~np.logical_or.reduceat(batch.in_doubt[own], starts)
        founded = known[starts] | ~may_be[own[starts]]
        safe = founded & certain & (latest - earliest <= reference.reach_ms)
        batch.one_by_one[own] |= np.repeat(~safe, counts)

    def _find_ordered(self, batch: Batch, until: int) -> None:
        """Note who must come in order for the sake of labels."""
        keepers: dict[Keeper, dict[type[Event], Ints]] = {}
        for kind, places, _ in batch.groups:
            keepers.setdefault(kind.keeper, {})[kind.struct] = places
        for keeper, by_type in keepers.items():
            ordered = keeper.need_order(by_type, batch.labels, batch.rows, until)
            batch.one_by_one[ordered] = True

    # One by one ---------------------------------------------------------------------------------

    def _settle_doubts(self, batch: Batch) -> list[Refusal]:
        """Find the outcomes that are in doubt, in order; the refusals."""
        places = np.flatnonzero(batch.in_doubt)
        if not places.size:
            return []
        # The latest of the certain events before each.
        certain = np.where(batch.in_doubt, BEFORE_ALL, batch.occurred)
        before = np.concatenate(([BEFORE_ALL], np.maximum.accumulate(certain)[:-1]))
        now, clocks = self._progress.now, dict(self._progress.clocks)
        arrivals: dict[tuple[str, int], int] = {}
        refusals = []
        columns = (
            *(batch.group_of, before, batch.occurred, batch.keys, batch.ids),
            *(batch.arrived, batch.one_by_one),
        )
        for place, group, latest, occurred, key, identity, known, alone in zip(
            places.tolist(), *(column[places].tolist() for column in columns), strict=True
        ):
            labels, kind = batch.labels[place], batch.groups[group].kind
            topic = kind.topic
            if self._event_time:
                now = clock = max(now, latest)
            else:
                clock = max(clocks.get(topic, BEFORE_ALL), latest)
            arrived = arrivals.get((topic, identity), known)
            refusal = self.refusal(kind, occurred, arrived, key, clock, now)
            if refusal is not None:
                batch.accepted[place] = False
                self._progress.count(topic, refusal[0])
                refusals.append(Refusal(batch.origin(place), *refusal))
                continue
            clock = clocks[topic] = arrivals[topic, identity] = max(clock, occurred)
            if self._event_time:
                now = clock
            if batch.rows[place] < 0:
                batch.rows[place] = self._segments.row(labels, batch.currencies.get(place), now)
            if alone:
                row = int(batch.rows[place])
                kind.handle(batch.event(place), key, occurred, now, row, labels)
        return refusals

    def refusal(
        self, kind: Kind, occurred: int, arrived: int, key: int, clock: int, now: int
    ) -> tuple[Outcome, str, str] | None:
        """The outcome, field path and reason of an event that is not accepted.

        ``arrived``: when its id was accepted before, or ``NEVER``; ``clock``: its topic's event
        time.
        """
        if self._seen[kind.topic].is_repeat(arrived, clock):
            return "duplicate", "event_id", "an event with this id was accepted before"
        if not self._event_time and (refusal := future(occurred, now)) is not None:
            return refusal
        if not kind.never_late and occurred < self._late_before(now):
            return "late", "occurred_at", _TOO_LATE
        if kind.reference is not None and kind.reference.is_lacking(key, occurred):
            return "orphan", "type", "what this event refers to is not remembered"
        return None

    def _late_before(self, now: int) -> int:
        """What is late at ``now``, which is mostly the time of the question before."""
        if self._late[0] != now:
            self._late = now, self._settings.late_before(now)
        return self._late[1]

    def refusal_now(self, event: Event, occurred: int) -> tuple[Outcome, str, str] | None:
        """``refusal`` of an event that would come next."""
        kind = self._kinds[type(event)]
        keys = kind.keeper.keys(kind.struct, [event])
        ids = np.array([self._digests.of(event.event_id)])
        arrived = int(self._seen[kind.topic].arrivals(ids)[0])
        now = self._progress.now
        clock = now if self._event_time else self._progress.clocks.get(kind.topic, BEFORE_ALL)
        key = 0 if keys is None else int(keys[0])
        return self.refusal(kind, occurred, arrived, key, clock, now)

    # All together -------------------------------------------------------------------------------

    def _accept(self, batch: Batch, by_topic: Mapping[str, Ints]) -> None:
        """Let clocks and counts move on, and remember the ids."""
        progress = self._progress
        times = np.where(batch.accepted, batch.occurred, BEFORE_ALL)
        if self._event_time:
            batch.at = np.maximum(np.maximum.accumulate(times), progress.now)
            progress.now = int(batch.at[-1])
        else:
            batch.at = np.full(times.size, progress.now, dtype=np.int64)
        self._segments.saw(batch.rows[batch.accepted], batch.at[batch.accepted])
        for topic, places in by_topic.items():
            accepted = batch.accepted[places]
            n = int(np.count_nonzero(accepted))
            if not n:
                continue
            former = progress.clocks.get(topic, BEFORE_ALL)
            own = times[places]
            clocks = np.maximum(np.maximum.accumulate(own), former)
            arrivals = batch.at[places] if self._event_time else clocks
            progress.clocks[topic] = int(clocks[-1])
            progress.count(topic, "accepted", n)
            first = int(own[accepted].min())
            progress.first = first if progress.first is None else min(progress.first, first)
            chosen = places[accepted]
            self._seen[topic].add(batch.ids[chosen], arrivals[accepted], batch.in_doubt[chosen])

    def _handle(self, batch: Batch, places: Ints) -> None:
        """Hand a topic's accepted events to the keeper, those of one entity in their order."""
        places = places[batch.accepted[places] & ~batch.one_by_one[places]]
        if not places.size:
            return
        turns = _ranks(batch.keys[places])
        for turn in range(int(turns.max()) + 1):
            chosen = places[turns == turn]
            if turn and chosen.size < _FEW:
                self._handle_each(batch, places[turns >= turn])
                return
            # What was handled already, with those that it must keep its order with, has no turn.
            turns[among(places, self._handle_columns(batch, chosen, places[turns > turn]))] = turn

    def _handle_columns(self, batch: Batch, places: Ints, later: Ints) -> Ints:
        """Events of one topic, no two of the same entity: all in columns, the unusual apart.

        ``later`` are those whose turn is still to come; the ones that had to be handled now.
        """
        early = [NO_INTS]
        is_in = np.zeros(len(batch), dtype=bool)
        is_in[places] = True
        by_handler: dict[ColumnHandler[Any], list[OfKind]] = {}
        for group in batch.groups:
            chosen = is_in[group.places]
            if group.kind.columns is not None and chosen.any():
                some = some_of(group, chosen)
                by_handler.setdefault(group.kind.columns, []).append(some)
        for handler, groups in by_handler.items():
            together = joined(groups)
            unusual = handler.handle(self._arrivals(batch, together.places, together.said))
            if unusual.any():
                alone = together.places[unusual]
                kin = self._kin(batch, handler, alone, later)
                self._handle_each(batch, np.sort(np.concatenate((alone, kin))))
                early.append(kin)
        return np.sort(np.concatenate(early))

    def _kin(self, batch: Batch, handler: ColumnHandler[Any], alone: Ints, later: Ints) -> Ints:
        """Those of ``later`` that must keep their order with events that are handled alone."""
        if handler.kin is None or not later.size:
            return NO_INTS
        is_in = np.zeros(len(batch), dtype=bool)
        is_in[alone] = is_in[later] = True
        groups = [g for g in batch.groups if g.kind.columns == handler and is_in[g.places].any()]
        together = joined([some_of(group, is_in[group.places]) for group in groups])
        kin, is_alone = handler.kin(together.said), among(together.places, alone)
        return together.places[among(kin, distinct(kin[is_alone])) & ~is_alone]

    def _arrivals(self, batch: Batch, places: Ints, said: Any) -> Arrivals[Any]:
        labels = batch.labels
        if places.size < len(batch):
            labels = labels.take(places)
        return Arrivals(
            said,
            batch.keys[places],
            batch.occurred[places],
            batch.at[places],
            batch.rows[places],
            labels,
        )

    def _handle_each(self, batch: Batch, places: Ints) -> None:
        for place, key, occurred, at, row in zip(
            places.tolist(),
            batch.keys[places].tolist(),
            batch.occurred[places].tolist(),
            batch.at[places].tolist(),
            batch.rows[places].tolist(),
            strict=True,
        ):
            handle = batch.kind(place).handle
            handle(batch.event(place), key, occurred, at, row, batch.labels[place])


def future(occurred: int, now: int) -> tuple[Outcome, str, str] | None:
    """The refusal of an event that is too far ahead of the clock, which is at ``now`` (ms)."""
    if occurred <= now + FUTURE_MS:
        return None
    return "future", "occurred_at", _TOO_EARLY


def _repeated(keys: Ints) -> Mask:
    """Which keys are there more than once."""
    return among(keys, come_again(keys))


def _ranks(keys: Ints) -> Ints:
    """How many of the same key come before each; 0 for the key 0, which is of no entity."""
    found = np.zeros(keys.size, dtype=np.int64)
    places = np.flatnonzero(among(keys, come_again(keys[keys != 0])))
    if places.size:
        places = places[np.argsort(keys[places], kind="stable")]
        found[places] = ranks(keys[places])
    return found
