"""Reads dead letters, committed ones only, and the ledger of those that were sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.errors import StopError
from stream.deadletters.ledger import Ledger, LedgerDamaged
from stream.deadletters.letter import ALERT_TOPIC, Letter, letter
from stream.deadletters.redrive import Target
from stream.kafka.admin import AdminClient
from stream.kafka.administration import (
    USUAL_LIMIT,
    TopicsUnfit,
    create,
    described,
    largest_batch,
)
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.ending import say_goodbye
from stream.kafka.log import LogUnread, read_log
from stream.kafka.reading import reader
from stream.kafka.refusal import client_is_quiet, connecting, readable_options
from stream.kafka.retention import unkept, untaken
from stream.kafka.topics import Names
from stream.kafka.wording import in_words

#: The broker has gone when it has sent nothing of what it has for so long, in seconds.
_SILENCE: Final = 30.0
_LEDGER_CONFIG: Final = {"cleanup.policy": "compact", "max.message.bytes": str(USUAL_LIMIT)}


class LettersUnusable(StopError):
    """The dead letters or their ledger can't be used as they are; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition of a dead-letter topic: offsets from ``first`` up to, not including, ``end``."""

    topic: str
    partition: int
    first: int
    end: int


class LetterReader:
    """Dead letters as they are at the start; an async context manager. It writes nothing."""

    def __init__(self, kafka: KafkaConfig, topics: Iterable[str] = ()) -> None:
        """``topics`` without prefix; none: all of events."""
        self._kafka = kafka
        self.names = Names(kafka.topic_prefix, kafka.group)
        wanted = set(topics)
        self._topics = [t for t in (*TOPICS, ALERT_TOPIC) if t in wanted] or list(TOPICS)
        self._consumer: Any = None
        self._admin: Any = None
        self._there: set[str] = set()
        #: Topics that we may not describe; whether they exist is not told.
        self._hidden: set[str] = set()
        #: Full names of the dead-letter topics that do not exist, and of those that are hidden.
        self.missing: list[str] = []
        self.hidden: list[str] = []
        #: All partitions, in order of topic and number.
        self.bounds: list[Bounds] = []

    @property
    def ledger_topic(self) -> str:
        """Where it is written which letters were sent again."""
        return f"{self._kafka.group}-redrive"

    @property
    def knows_what_was_sent(self) -> bool:
        """Whether the ledger may be described."""
        return self.ledger_topic not in self._hidden

    @property
    def total(self) -> int:
        """How many offsets there are to read; some hold no letter."""
        return sum(b.end - b.first for b in self.bounds)

    async def __aenter__(self) -> Self:
        """Connect and look at the topics.

        Raises:
            BrokerUnreachable: no broker answers, or it does not let us in.
            LettersUnusable: none of the dead-letter topics exists, or may be described.
        """
        self._admin = AdminClient(**readable_options(self._kafka))
        self._consumer = reader(self._kafka)
        async with connecting(self._kafka, self._stop):
            with client_is_quiet():
                await self._admin.start()
                await self._consumer.start()
            await self._look()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self._stop()

    async def _stop(self) -> None:
        await say_goodbye(self._consumer.stop, self._admin.close)

    def _unreachable(self, reason: str) -> BrokerUnreachable:
        return BrokerUnreachable(f"Kafka at {self._kafka.bootstrap}: {reason}")

    async def _look(self) -> None:
        self._there = set(await self._admin.list_topics())
        full = {self.names.dead_letters(topic): topic for topic in self._topics}
        sources = map(self.names.source, self._topics)
        await self._find_hidden({self.ledger_topic, *full, *sources} - self._there)
        self.hidden = [name for name in full if name in self._hidden]
        self.missing = [name for name in full if name not in self._there | self._hidden]
        if not self._there & full.keys():
            self._refuse_hidden(*full)
            are = "is no topic" if len(self.missing) == 1 else "are no topics"
            raise LettersUnusable(
                f"there {are} {', '.join(self.missing)}: no worker has run here with this"
                " kafka.topic_prefix"
            )
        counts = await self._partitions(name for name in full if name in self._there)
        places = [TopicPartition(name, number) for name, n in counts.items() for number in range(n)]
        first = await self._consumer.beginning_offsets(places)
        end = await self._consumer.end_offsets(places)
        self.bounds = sorted(
            (Bounds(full[p.topic], p.partition, first[p], end[p]) for p in places),
            key=lambda b: (self._topics.index(b.topic), b.partition),
        )

    async def _find_hidden(self, absent: set[str]) -> None:
        """A topic that may not be described is left out of all topics, as if it were not there."""
        asked = await described(self._admin, sorted(absent))
        forbidden = TopicAuthorizationFailedError.errno
        self._hidden = {d["topic"] for d in asked if d["error_code"] == forbidden}

    def _refuse_hidden(self, *topics: str) -> None:
        """Raise LettersUnusable where any of these may not be described."""
        if hidden := [topic for topic in topics if topic in self._hidden]:
            raise LettersUnusable(
                f"the right to describe {', '.join(hidden)} is missing: grant it, and the right to"
                " read"
            )

    async def _limit(self, name: str) -> int:
        """The largest record batch that a topic takes; Kafka's default where it isn't told."""
        return await largest_batch(self._admin, name) or USUAL_LIMIT

    async def _partitions(self, names: Iterable[str]) -> dict[str, int]:
        found = await described(self._admin, names)
        return {d["topic"]: len(d["partitions"]) for d in found if not d["error_code"]}

    async def targets(self) -> dict[str, Target]:
        """The source topics as they are, by name without prefix; a missing one has no partition.

        Raises:
            BrokerUnreachable: the broker does not say.
            LettersUnusable: one that has letters may not be described.
        """
        names = {topic: self.names.source(topic) for topic in self._topics}
        lettered = {names[b.topic] for b in self.bounds if b.first < b.end}
        self._refuse_hidden(*sorted(lettered))
        there = [name for name in names.values() if name in self._there]
        try:
            counts = await self._partitions(there) if there else {}
            return {
                topic: Target(
                    counts.get(name, 0),
                    await self._limit(name) if name in counts else 0,
                )
                for topic, name in names.items()
            }
        except KafkaError as error:
            raise self._unreachable(in_words(error)) from error

    async def batches(self, since: int | None = None) -> AsyncIterator[tuple[int, list[Letter]]]:
        """All letters, partition by partition in their order, and how many offsets were passed.

        ``since`` leaves out what was refused before that moment (ms). Some batches have no letters.

        Raises:
            BrokerUnreachable: the broker has stopped answering.
        """
        begun = 0
        for bounds in self.bounds:
            if bounds.first < bounds.end:
                async for position, letters in self._read(bounds, since):
                    yield begun + position - bounds.first, letters
            begun += bounds.end - bounds.first

    async def _read(
        self, bounds: Bounds, since: int | None
    ) -> AsyncIterator[tuple[int, list[Letter]]]:
        place = self._place(bounds)
        start = bounds.first if since is None else await self._first_after(place, since, bounds)
        position = start
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        heard = asyncio.get_running_loop().time()
        while position < bounds.end:
            found = (await self._ask(self._consumer.getmany(place, timeout_ms=500))).get(place, ())
            after = await self._ask(self._consumer.position(place))
            now = asyncio.get_running_loop().time()
            if after > position:
                heard = now
            elif now - heard > _SILENCE:
                raise self._unreachable("no answer")
            position = after
            letters = [_letter(bounds.topic, r) for r in found if r.offset < bounds.end]
            yield min(position, bounds.end), letters

    async def _ask(self, question: Any) -> Any:
        """The client's answer.

        Raises:
            BrokerUnreachable: there is none in time, or an error.
        """
        try:
            return await asyncio.wait_for(question, _SILENCE)
        except TimeoutError:
            raise self._unreachable("no answer") from None
        except KafkaError as error:
            raise self._unreachable(in_words(error)) from error

    async def _first_after(self, place: TopicPartition, since: int, bounds: Bounds) -> int:
        found = await self._ask(self._consumer.offsets_for_times({place: max(0, since)}))
        there = found.get(place)
        return bounds.end if there is None else min(max(there.offset, bounds.first), bounds.end)

    def _place(self, bounds: Bounds) -> TopicPartition:
        return TopicPartition(self.names.dead_letters(bounds.topic), bounds.partition)

    async def at(self, bounds: Bounds, offset: int) -> Letter | None:
        """The letter at an offset; None where there is none.

        Raises:
            BrokerUnreachable: the broker does not answer.
        """
        if not bounds.first <= offset < bounds.end:
            return None
        found = await self._first(Bounds(bounds.topic, bounds.partition, offset, bounds.end))
        return found if found is not None and found.offset == offset else None

    async def _first(self, bounds: Bounds) -> Letter | None:
        async for _, letters in self._read(bounds, None):
            if letters:
                return letters[0]
        return None

    async def _is_former(self, bounds: Bounds, offset: int, at: int) -> bool:
        """Whether a partition is that whose letter at ``offset`` was refused ``at`` then (ms).

        That letter must still be what it was. Where it was compacted away, the first one that is
        left is no later; all letters of a topic that was made anew are.
        """
        found = await self.at(bounds, offset)
        if found is not None:
            return found.at == at
        first = await self._first(bounds) if offset < bounds.end else None
        return first is not None and first.at <= at

    async def ledger(self) -> Ledger:
        """Which letters were sent again, up to now; looks at the topics again after that.

        So whatever letter the ledger speaks of lies within the bounds.

        Raises:
            LettersUnusable: the ledger is damaged, or may not be described.
            BrokerUnreachable: it can't be read.
        """
        self._refuse_hidden(self.ledger_topic)
        if self.ledger_topic not in self._there:
            return Ledger()
        try:
            records = await read_log(self._kafka, self.ledger_topic, 0)
            await self._look()
            return Ledger.read(records)
        except KafkaError as error:
            raise self._unreachable(in_words(error)) from error
        except LedgerDamaged as error:
            raise LettersUnusable(
                f"topic {self.ledger_topic}, which says what was sent again, can't be used: {error}"
            ) from error
        except LogUnread as error:
            raise self._unreachable(str(error)) from error

    async def create_ledger(self) -> None:
        """Create the ledger's topic, where it is missing.

        Raises:
            LettersUnusable: it can't be created, or would lose what was sent.
        """
        self._refuse_hidden(self.ledger_topic)
        if self.ledger_topic in self._there:
            own = [self.ledger_topic]
            asked = unkept(self._admin, self._kafka.bootstrap, own, USUAL_LIMIT)
            if reason := await self._ask(asked):
                raise LettersUnusable(reason)
            return
        wanted = {self.ledger_topic: 1}
        try:
            await self._ask(create(self._admin, self._kafka, wanted, _LEDGER_CONFIG))
        except TopicsUnfit as error:
            raise LettersUnusable(str(error)) from error
        self._there.add(self.ledger_topic)

    async def made_anew(self, ledger: Ledger) -> list[Bounds]:
        """Partitions that are not those which the ledger speaks of: their topic was made anew.

        Raises BrokerUnreachable.
        """
        others: list[Bounds] = []
        for bounds in self.bounds:
            last = ledger.last(self.names.dead_letters(bounds.topic), bounds.partition)
            # What was deleted by age is not missed.
            if last is None or last[0] < bounds.first:
                continue
            if not await self._is_former(bounds, *last):
                others.append(bounds)
        return others

    async def refuse_compacted(self, partitions: Iterable[Bounds]) -> None:
        """See that partitions that seem to be others have not lost their letters to compaction.

        Raises:
            BrokerUnreachable: the broker does not answer.
            LettersUnusable: they may have.
        """
        topics = dict.fromkeys(self.names.dead_letters(b.topic) for b in partitions)
        asked = untaken(self._admin, self._kafka.bootstrap, topics)
        if reason := await self._ask(asked):
            raise LettersUnusable(reason)


def _letter(topic: str, record: Any) -> Letter:
    return letter(
        topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
