"""The parts of a KPI family, as the shards have told them, ready to be added up.

``Family`` takes the records of the family's shares in the order of their log. Whatever it shows is
a total: a share is taken in as a whole, and of a shard that begins anew the former life counts
until the new one has told everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import zstandard

from stream.core.alerts.quantities import counted
from stream.core.durations import about
from stream.core.ends_of_time import AFTER_ALL
from stream.core.errors import UNREADABLE
from stream.core.evaluate import Share
from stream.core.parts import Part
from stream.core.settings import SECOND, Settings
from stream.core.share_records import checked
from stream.core.sharing import BEHIND_MS, Beat, ShareRecord, fingerprint, unpack

#: A shard that was not heard of for longer than this (ms) is missing.
SILENCE_MS: Final = 15 * SECOND
#: A shard whose own time is further ahead than this (ms) lets go of what is wanted of it: first of
#: the health of panes that ended ``BEHIND_MS`` ago, and then of panes after their time of grace.
LEAD_MS: Final = BEHIND_MS - SECOND


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

    def starts(self) -> dict[str, int]:
        """From when on (ms) windows that began empty hold what happened in all shards, by label."""
        found: dict[str, int] = {}
        for beat in self._beats():
            for label, start in beat.starts.items():
                found[label] = max(start, found.get(label, start))
        return found

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
