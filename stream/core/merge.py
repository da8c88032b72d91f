"""The parts of a KPI family, as the shards have told them, ready to be added up.

``Family`` takes the records of the family's shares in the order of their log. Whatever it shows is
a total: a share is taken in as a whole, and of a shard that begins anew the former life counts
until the new one has told everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import zstandard

from stream.core.alerts.quantities import counted
from stream.core.cells import COUNTER_BITS, summed
from stream.core.contents import Contents
from stream.core.durations import about
from stream.core.ends_of_time import AFTER_ALL
from stream.core.errors import UNREADABLE
from stream.core.evaluate import Share
from stream.core.groups import Key, Rollup
from stream.core.health import HealthSums
from stream.core.integers import NO_INTS, Ints
from stream.core.label_set import Base, LabelSet
from stream.core.net import Net, Piece
from stream.core.settings import SECOND, Settings, Window
from stream.core.share_records import checked
from stream.core.sharing import BEHIND_MS, ROWS, Beat, ShareRecord, fingerprint, unpack
from stream.core.tally import GRACE_MS, Tally
from stream.core.values import Segment

#: A shard that was not heard of for longer than this (ms) is missing.
SILENCE_MS: Final = 15 * SECOND
#: A shard whose own time is further ahead than this (ms) lets go of what is wanted of it: first of
#: the health of panes that ended ``BEHIND_MS`` ago, and then of panes after their time of grace.
LEAD_MS: Final = BEHIND_MS - SECOND
#: (row, counter) keys and values.
_Cells = tuple[Ints, Ints]


class PaneSums:
    """The panes of one window, and the sum of those asked for last, brought up to date by pane.

    A pane may come in several parts.
    """

    def __init__(self) -> None:
        self.panes: dict[tuple[int, int], _Cells] = {}
        self._summed: dict[tuple[int, int], _Cells] = {}
        self._sum: _Cells = (NO_INTS, NO_INTS)

    def between(self, first: int, last: int) -> _Cells:
        """Keys and values of the panes ``first`` to ``last``, summed."""
        wanted = {part: cells for part, cells in self.panes.items() if first <= part[0] <= last}
        gone = [cells for pane, cells in self._summed.items() if wanted.get(pane) is not cells]
        new = [cells for pane, cells in wanted.items() if self._summed.get(pane) is not cells]
        if len(gone) + len(new) > len(wanted):
            self._sum, gone, new = (NO_INTS, NO_INTS), [], list(wanted.values())
        if gone or new:
            keys, values = self._sum
            self._sum = summed(
                np.concatenate([keys, *(k for k, _ in new), *(k for k, _ in gone)]),
                np.concatenate([values, *(v for _, v in new), *(-v for _, v in gone)]),
            )
        self._summed = wanted
        return self._sum


class _Told:
    """What was told of a label set: the set without its counts, and pieces of those by number."""

    def __init__(self) -> None:
        self.head: tuple[bytes, Segment, int, dict[int, Base]] | None = None
        self.pieces: dict[int, Piece] = {}

    def label_set(self) -> tuple[bytes, LabelSet] | None:
        """A new one each time, since none may change; pieces that are the same are shared."""
        if self.head is None:
            return None
        key, segment, since, bases = self.head
        net = Net(sorted(self.pieces.values(), key=lambda piece: piece.start))
        return key, LabelSet(segment, since, net, bases)


class Part:
    """What one life of a shard has told of a family."""

    def __init__(self, life: str, settings: Settings) -> None:
        self.life = life
        self.beat: Beat | None = None
        #: Whether that was left in a log that may have lost what came after it.
        self.is_left = False
        #: Until when (ms) nothing may be asked of it, since it was far ahead: while it waits for
        #: its time, it tells nothing more of the health of panes that are over by that.
        self.unsettled_to = 0
        self.rows: list[Segment | None] = []
        self._active: dict[bytes, LabelSet] = {}
        self._told: dict[str, _Told] = {}
        #: Of which label sets something was told since the sum was last asked for.
        self._renewed: set[str] = set()
        #: By window, slot and part: the pane, and for each rollup its series.
        self._health: dict[tuple[str, str, int], tuple[int, list[Any]]] = {}
        self._settings = settings
        self._windows = {w.label: w for w in settings.windows}
        self._panes = {w.label: PaneSums() for w in settings.windows}
        #: The pane of each slot and part.
        self._slots: dict[tuple[str, str, int], int] = {}
        self._labels: dict[str, bytes] = {}
        self._unit_ms = Tally(settings.windows).unit_ms
        #: The highest row that a pane has told something of.
        self._row = -1
        self._contents = Contents()

    @property
    def is_cut(self) -> bool:
        """Whether the log has not all that was told, as where it was made anew meanwhile."""
        return self.beat is not None and self.beat.mark != self._contents.mark

    @property
    def lacks_rows(self) -> bool:
        """Whether something is counted in rows that were not told."""
        return self._row >= len(self.rows)

    def share(self) -> Share:
        """What it contributes to the totals."""
        for name in self._renewed:
            self._renew(name)
        self._renewed.clear()
        return Share(self, self.rows, self._active, self)

    def between(self, window: str, first: int, last: int) -> tuple[Ints, Ints]:
        """(row, counter) keys and values of a window's panes ``first`` to ``last``."""
        return self._panes[window].between(first, last)

    def sums(
        self, window: Window, at: int, rollup: Rollup, find: Callable[[Key], int], series: Ints
    ) -> HealthSums:
        """The sums of health scores for a rollup in a window at time ``at``."""
        pane, place = at // window.pane_ms, self._settings.rollups.index(rollup)
        told = [told for (label, *_), told in self._health.items() if label == window.label]
        # Where the pane was not told (yet), the one before it is the best that is known.
        known = max((t[0] for t in told if t[0] <= pane), default=None)
        rows = [row for of, rollups in told if of == known for row in rollups[place]]
        numbers = [find(tuple(key)) for key, *_ in rows]
        columns = list(zip(*(rest for _, *rest in rows), strict=True)) or [(), (), ()]
        return HealthSums(*(np.array(c, dtype=np.int64) for c in (numbers, *columns)))

    def take(self, record: ShareRecord, kind: str, place: Sequence[Any], data: Any) -> None:
        """Take in a record that was ``checked``; no data: what it held is gone."""
        self._contents.note(*record)
        if kind == "rows":
            self._take_rows(place[0], data or [])
        elif kind == "pane" and place[0] in self._panes:
            self._take_pane(place[0], place[1], place[2], data)
        elif kind == "active":
            self._take_head(place[0], data)
        elif kind == "piece":
            self._take_piece(place[0], place[1], data)
        elif kind == "health" and place[0] in self._panes:
            self._take_health(place[0], place[1], place[2], data)

    def _take_rows(self, block: int, rows: Sequence[Segment | None]) -> None:
        first = block * ROWS
        self.rows.extend([None] * (first + len(rows) - len(self.rows)))
        self.rows[first : first + len(rows)] = rows

    def _take_pane(self, label: str, slot: str, part: int, data: Any) -> None:
        panes = self._panes[label].panes
        former = self._slots.pop((label, slot, part), None)
        if former is not None:
            panes.pop((former, part), None)
        if data is not None:
            pane, keys, values = data
            panes[pane, part] = keys, values
            if keys.size:
                self._row = max(self._row, int(keys.max()) >> COUNTER_BITS)
            self._slots[label, slot, part] = pane

    def _take_health(self, label: str, slot: str, part: int, data: Any) -> None:
        if data is None:
            self._health.pop((label, slot, part), None)
        else:
            self._health[label, slot, part] = data

    def _take_head(self, name: str, data: Any) -> None:
        told = self._told.setdefault(name, _Told())
        told.head = None
        if data is not None:
            key, segment, since, bases = data
            by_unit = {base[0] // self._unit_ms: base for base in bases}
            told.head = key, segment, since, by_unit
        self._renewed.add(name)

    def _take_piece(self, name: str, number: int, piece: Piece | None) -> None:
        pieces = self._told.setdefault(name, _Told()).pieces
        if piece is None:
            pieces.pop(number, None)
        else:
            pieces[number] = piece
        self._renewed.add(name)

    def _renew(self, name: str) -> None:
        """Put a label set as it was told last in the place of what it was before."""
        told = self._told[name]
        former = self._labels.pop(name, None)
        if former is not None:
            self._active.pop(former, None)
        found = told.label_set()
        if found is not None:
            self._labels[name], self._active[found[0]] = found[0], found[1]
        elif not told.pieces:
            del self._told[name]

    def expire(self, at: int) -> None:
        """Forget the panes that no window needs at ``at``."""
        for label, sums in self._panes.items():
            first = self._windows[label].first_pane(at - GRACE_MS)
            for part in [p for p in sums.panes if p[0] < first]:
                del sums.panes[part]


class _Voice:
    """A shard as a family hears it: the life that counts, the one to come, a share under way."""

    def __init__(self) -> None:
        self.current: Part | None = None
        self.coming: Part | None = None
        #: The life that spoke last.
        self.latest: Part | None = None
        #: The records of a share of which some are still missing.
        self.share: list[tuple[Part, ShareRecord, str, Sequence[Any], Any]] = []
        self.beat: tuple[Part, Beat, bool] | None = None
        #: When its latest share was taken in, by the clock of the one who reads.
        self.heard = 0
        #: Keys whose latest record could not be read, and which life had spoken last before it.
        self.unread: dict[bytes | None, Part | None] = {}
        #: From when to when others than our like have told it since, if any have.
        self.strange: tuple[int, int] | None = None

    @property
    def stays_cut(self) -> bool:
        """Whether its part lacks something that nobody is about to tell again."""
        part = self.current
        return part is not None and part.is_cut and not part.is_left and self.coming is None


class Family:
    """Adds up what ``shards`` shards tell of one KPI family."""

    def __init__(self, settings: Settings, shards: int) -> None:
        self._settings = settings
        self._fingerprint = fingerprint(settings)
        self._voices = [_Voice() for _ in range(shards)]
        #: Grows with every share that said more than how far its shard has come.
        self.version = 0
        #: Whether what is taken in was left in a log that may have lost what came after it, so that
        #: a shard's part was true once, and is shown when more of it comes.
        self.is_left = False
        #: Keys that say of no shard's part what they are of.
        self._unknown: set[bytes | None] = set()

    @property
    def damaged(self) -> set[bytes | None]:
        """Keys whose latest record could not be read."""
        return self._unknown.union(*(voice.unread for voice in self._voices))

    def take(self, key: bytes | None, value: bytes | None, now: int = AFTER_ALL) -> None:
        """Take in a record of the family's log; ``now`` is the reader's clock.

        A worker whose clock is ahead is not taken to have spoken later than it was heard.
        """
        self._unknown.discard(key)
        try:
            kind, number, *place = (key or b"").decode().split("/")
            shard = int(number)
        except ValueError:
            if value is not None:
                self._unknown.add(key)
            return
        if not 0 <= shard < len(self._voices):
            return
        voice = self._voices[shard]
        voice.unread.pop(key, None)
        try:
            self._take(voice, (key or b"", value), kind, place, now)
        except (zstandard.ZstdError, ValueError, *UNREADABLE):
            if value is not None:
                voice.unread[key] = voice.latest

    def _take(
        self,
        voice: _Voice,
        record: ShareRecord,
        kind: str,
        place: Sequence[str],
        now: int,
    ) -> None:
        part, data, value = voice.latest, None, record[1]
        if value is not None:
            life, data = unpack(value)
            if not life.startswith(self._fingerprint):
                # A worker of another version or configuration. After a silence a new spell begins.
                first, last = voice.strange or (now, now)
                voice.strange = (first if now - last <= SILENCE_MS else now), now
                # What it deletes does not say whose it is, and is not ours, as what it adds.
                voice.latest = None
                return
            voice.strange = None
            part = voice.latest = self._part(voice, life)
        if part is None:
            return
        where, found = checked(self._settings, kind, place, data)
        if kind != "beat":
            voice.share.append((part, record, kind, where, found))
        elif found is None:
            return
        else:
            self._close(voice, now)
            voice.beat = part, found, self.is_left
        if voice.beat is None or len(voice.share) >= voice.beat[1].following:
            self._close(voice, now)

    def _part(self, voice: _Voice, life: str) -> Part:
        for part in (voice.current, voice.coming):
            if part is not None and part.life == life:
                return part
        # Only one owner at a time can write, so a life that is new in the log is the latest.
        voice.coming = Part(life, self._settings)
        return voice.coming

    def _close(self, voice: _Voice, now: int) -> None:
        """Take in a share, at once; what is missing of it was told again later."""
        for part, record, kind, place, data in voice.share:
            part.take(record, kind, place, data)
        if voice.share:
            self.version += 1
        voice.share = []
        if voice.beat is None:
            return
        part, part.beat, part.is_left = voice.beat
        voice.beat, voice.heard = None, now
        if part.beat.at - now > LEAD_MS:
            part.unsettled_to = part.beat.at + BEHIND_MS
        if part is voice.coming and part.beat.whole:
            voice.current, voice.coming = part, None
            # What was told before this life counts no more, and it has told everything.
            voice.unread = {key: life for key, life in voice.unread.items() if life is part}
            self.version += 1

    @property
    def is_cut(self) -> bool:
        """Whether something lacks that nobody is about to tell again."""
        return any(voice.stays_cut for voice in self._voices)

    def stranger(self, now: int) -> int | None:
        """A shard that a worker of another configuration or version tells; None where none is so.

        It has done so for as long as makes a shard silent, and still does: what such a worker has
        left in the log is read in less.
        """
        for number, voice in enumerate(self._voices):
            first, last = voice.strange or (now, now)
            if last - first > SILENCE_MS >= now - last:
                return number
        return None

    def missing(self, now: int) -> str | None:
        """Why the sum over the shards is no total at ``now`` (ms); None where it is one."""
        stranger = self.stranger(now)
        if stranger is not None:
            return f"a worker of another configuration or version tells shard {stranger}"
        for number, voice in enumerate(self._voices):
            if voice.current is None or voice.current.beat is None:
                return f"shard {number} has not told its part yet"
            if voice.unread:
                return f"{counted(len(voice.unread), 'record')} of shard {number} can't be read"
            if voice.current.lacks_rows:
                return f"shard {number} has not told all labels"
            if voice.current.is_cut:
                told = f"not all that shard {number} has told is there"
                return f"{told}; start its worker again" if voice.stays_cut else told
            silence = now - min(voice.current.beat.at, voice.heard)
            if silence > SILENCE_MS:
                return f"shard {number} was not heard of for {silence // SECOND} s"
            if voice.current.is_left:
                return f"shard {number} has not told more since its part was read again"
        return self.ahead(now)

    def ahead(self, now: int) -> str | None:
        """Which shard's own time is too far ahead of ``now`` (ms), or was until a moment ago."""
        for number, voice in enumerate(self._voices):
            part = voice.current
            if part is None or part.beat is None:
                continue
            if said := far_ahead(number, part.beat.at - now):
                return said
            if now < part.unsettled_to:
                return f"shard {number} was far ahead of this worker's clock until a moment ago"
        return None

    def lead(self, now: int) -> int:
        """How far (ms) the time of the shard that is furthest is ahead of ``now``, or behind."""
        return max((beat.at for beat in self._beats()), default=now) - now

    def beats(self) -> list[Beat]:
        """The latest beat of each shard that was heard of."""
        return list(self._beats())

    def _beats(self) -> Iterator[Beat]:
        for voice in self._voices:
            if voice.current is not None and voice.current.beat is not None:
                yield voice.current.beat

    def latest(self) -> int | None:
        """The greatest ``occurred_at`` (ms) of the family's topic; None before its first event."""
        return max((b.clock for b in self._beats() if b.clock is not None), default=None)

    def first(self) -> int | None:
        """The earliest ``occurred_at`` (ms) ever accepted, of any topic; None before that."""
        return min((b.first for b in self._beats() if b.first is not None), default=None)

    def complete_to(self) -> int:
        """The latest time such that all that the sources held then is in the sum; 0: never."""
        if len(self.beats()) < len(self._voices):
            return 0
        heard = min(voice.heard for voice in self._voices)
        return min(heard, *(beat.complete_to for beat in self._beats()))

    def state(self, at: int) -> tuple[int, ...]:
        """What the sum at ``at`` depends on: as long as this is the same, so is the sum."""
        return (self.version, *(at // window.pane_ms for window in self._settings.windows))

    def shares(self, at: int) -> list[Share]:
        """What the shards contribute; what no window needs at ``at`` is forgotten."""
        shares = []
        for voice in self._voices:
            if voice.current is not None:
                voice.current.expire(at)
                shares.append(voice.current.share())
        return shares


def far_ahead(number: int, lead: int) -> str | None:
    """That a shard's own time is too far (ms) ahead of this worker's clock; None where it isn't."""
    if lead <= LEAD_MS:
        return None
    return f"shard {number} is {about(lead)} ahead of this worker's clock"
