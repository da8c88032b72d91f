"""Sends dead letters again, each once: records and ledger are written in one transaction."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from stream.config import KafkaConfig
from stream.core.alerts.quantities import counted
from stream.core.durations import label
from stream.core.errors import StopError
from stream.deadletters.filters import Filter
from stream.deadletters.ledger import Ledger
from stream.deadletters.letter import Letter
from stream.deadletters.redrive import MOST_ROUNDS, Judge, Judged, Report, size
from stream.kafka import ids
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.ending import completed
from stream.kafka.letters import Bounds, LetterReader, LettersUnusable
from stream.kafka.log import (
    FENCED,
    FlushFailed,
    Outgoing,
    RecordBeyondLimit,
    TransactionalWriter,
)
from stream.kafka.wording import in_words

#: A transaction has at most so many records, and ends when it has so many bytes.
MOST_RECORDS: Final = 500
MOST_BYTES: Final = 1024 * 1024
_BATCH_BYTES: Final = 256 * 1024
_ANOTHER: Final = "another redrive of this group has taken over"
_AGAIN: Final = "run it again for the rest, no record is sent twice"


class RedriveStopped(StopError):
    """Sending ended before its end; the message says why, and what holds."""


async def _at_once(records: int) -> None:
    """No pace: the next records follow at once."""


@dataclass(frozen=True)
class Order:
    """Which letters to send again, and how."""

    wanted: Filter
    #: The clock, in ms since the epoch.
    clock: Callable[[], int]
    #: Letters of records that were sent again so often are left.
    most_rounds: int = MOST_ROUNDS
    #: Whether to send also what today's rules refuse.
    even_if_refused: bool = False
    #: At most so many letters.
    limit: int | None = None
    #: Forget what was sent from dead-letter topics that were deleted and made anew.
    forget: bool = False
    #: Called with the number of records after each transaction; waits until the next may follow.
    pace: Callable[[int], Awaitable[None]] = _at_once
    #: Records in a transaction.
    batch: int = MOST_RECORDS
    #: Told how many offsets were passed.
    progress: Callable[[int, Report], None] = field(default=lambda passed, report: None)


async def rehearse(reader: LetterReader, order: Order, report: Report) -> None:
    """Find out what would be sent; nothing is written, and nobody is fenced.

    Raises:
        BrokerUnreachable: the broker has stopped answering.
        LettersUnusable: the ledger can't be used.
    """
    ledger = await reader.ledger()
    await _fit(reader, ledger, order)
    async for _, judged in _judged(reader, ledger, order, report):
        report.add(judged)


async def redrive(kafka: KafkaConfig, reader: LetterReader, order: Order, report: Report) -> None:
    """Send what is wanted; ``report`` holds at any time what is committed.

    Whoever redrives letters of this group at the same time is fenced, and ends. When this is
    cancelled, the transaction that is under way is completed first.

    Raises:
        BrokerUnreachable: the broker has stopped answering.
        LettersUnusable: the ledger can't be used.
        RedriveStopped: fenced, or the outcome of a transaction is not known.
    """
    await reader.create_ledger()
    targets = await reader.targets()
    limits = [t.limit for t in targets.values() if t.partitions]
    writer = TransactionalWriter(
        kafka,
        ids.of_redrive(kafka.group),
        largest=max([MOST_BYTES, *limits]),
        # A topic's limit is that of a batch, however small the records in it are.
        batch=min([_BATCH_BYTES, *limits]),
    )
    try:
        await writer.start()
        # Only now is nobody else writing, and the ledger complete.
        ledger = await reader.ledger()
        await _fit(reader, ledger, order)
        timeout_ms = kafka.transaction_timeout_ms
        sending = _Sending(writer, reader, ledger, report, order, timeout_ms)
        async for previous, judged in _judged(reader, ledger, order, report):
            await sending.take(judged, previous)
        await sending.flush()
    except FENCED as error:
        raise _stopped(report, f"{_ANOTHER}; {_AGAIN}") from error
    except KafkaError as error:
        said = in_words(error, "write to")
        raise BrokerUnreachable(f"Kafka at {kafka.bootstrap}: {said}") from error
    finally:
        await writer.stop()


def _stopped(report: Report, why: str) -> RedriveStopped:
    return RedriveStopped(f"stopped after {counted(report.sent.total(), 'record')}: {why}")


class _Sending:
    """The transaction in the making."""

    def __init__(
        self,
        writer: TransactionalWriter,
        reader: LetterReader,
        ledger: Ledger,
        report: Report,
        order: Order,
        timeout_ms: int,
    ) -> None:
        """``timeout_ms``: after so long the broker ends a transaction."""
        self._writer = writer
        self._names = reader.names
        self._ledger = ledger
        self._ledger_topic = reader.ledger_topic
        self._report = report
        self._order = order
        self._timeout_ms = timeout_ms
        self._bytes = 0
        self._batch: list[Judged] = []

    async def take(self, judged: Judged, previous: int | None) -> None:
        """Send a letter, or note why not; ``previous`` is the offset of the one right before it."""
        letter = judged.letter
        if judged.verdict != "send":
            self._report.add(judged)
            if judged.verdict == "sent before":
                dead = self._names.dead_letters(letter.topic)
                self._ledger.join(dead, letter.partition, letter.offset, previous)
            return
        self._batch.append(judged)
        self._bytes += size(letter)
        dead = self._names.dead_letters(letter.topic)
        self._ledger.add(dead, letter.partition, letter.offset, letter.at, previous)
        if len(self._batch) >= self._order.batch or self._bytes >= MOST_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken, all or nothing, and count it once it is committed."""
        batch, self._batch, self._bytes = self._batch, [], 0
        records = [self._again(judged.letter) for judged in batch]
        records += [Outgoing(self._ledger_topic, 0, *change) for change in self._ledger.changes()]
        if not records:
            return
        await completed(self._commit(records, batch))
        await self._order.pace(len(batch))

    def _again(self, letter: Letter) -> Outgoing:
        source = self._names.source(letter.topic)
        return Outgoing(source, letter.target, letter.key, letter.value, letter.headers_again())

    async def _commit(self, records: list[Outgoing], batch: list[Judged]) -> None:
        began = time.monotonic()
        try:
            await self._writer.write(records)
        except RecordBeyondLimit as error:
            raise _stopped(self._report, str(error)) from error
        except FlushFailed as error:
            reason = str(error)
            if isinstance(error.__cause__, FENCED):
                reason = self._fenced(time.monotonic() - began)
            lacks_right = isinstance(error.__cause__, TopicAuthorizationFailedError)
            first = "grant it, then " if lacks_right else ""
            raise _stopped(self._report, f"{reason}; {first}{_AGAIN}") from error
        for judged in batch:
            self._report.add(judged)

    def _fenced(self, seconds: float) -> str:
        """Why a transaction of so many seconds was fenced: a broker's own fence looks alike."""
        if seconds * 1000 < self._timeout_ms:
            return f"{_ANOTHER}, or the broker has ended the transaction"
        return (
            f"the transaction took {seconds:.0f} s, the broker ends one after"
            f" kafka.transaction_timeout ({label(self._timeout_ms)})"
        )


async def _fit(reader: LetterReader, ledger: Ledger, order: Order) -> None:
    """See to it that the ledger speaks of the letters that there are.

    Raises:
        LettersUnusable: a dead-letter topic was made anew, or is compacted.
    """
    others = await reader.made_anew(ledger)
    await reader.refuse_compacted(others)
    if others and not order.forget:
        raise LettersUnusable(
            f"{_named(reader, others)}: this is not the topic that letters were sent from before,"
            " it was made anew; --anew forgets what was sent from the former one"
        )
    for bounds in others:
        ledger.forget(reader.names.dead_letters(bounds.topic), bounds.partition)
    for bounds in reader.bounds:
        # What was deleted by age needs no remembering.
        ledger.forget(reader.names.dead_letters(bounds.topic), bounds.partition, bounds.first)


def _named(reader: LetterReader, partitions: list[Bounds]) -> str:
    first = partitions[0]
    more = f" and {len(partitions) - 1} more" if len(partitions) > 1 else ""
    return f"{reader.names.dead_letters(first.topic)} partition {first.partition}{more}"


async def _judged(
    reader: LetterReader, ledger: Ledger, order: Order, report: Report
) -> AsyncIterator[tuple[int | None, Judged]]:
    """The group's wanted letters with what is to become of each, and the offset of that before.

    It ends when the limit is reached.
    """
    targets = await reader.targets()

    def was_sent(letter: Letter) -> bool:
        dead = reader.names.dead_letters(letter.topic)
        return ledger.has(dead, letter.partition, letter.offset)

    judges = {
        topic: Judge(
            topic,
            target,
            was_sent,
            most_rounds=order.most_rounds,
            even_if_refused=order.even_if_refused,
        )
        for topic, target in targets.items()
    }
    to_send = 0
    place: tuple[str, int] | None = None
    previous: int | None = None
    async for passed, found in reader.batches(order.wanted.since):
        letters = [x for x in found if x.is_of(reader.names.group)]
        if len(letters) < len(found):
            others = (x for x in found if not x.is_of(reader.names.group))
            report.others += sum(map(order.wanted.wants, others))
        if not letters:
            order.progress(passed, report)
            continue
        if place != (letters[0].topic, letters[0].partition):
            place, previous = (letters[0].topic, letters[0].partition), None
        before = dict(
            zip((x.offset for x in letters), _offsets_before(letters, previous), strict=True)
        )
        previous = letters[-1].offset
        wanted = [x for x in letters if order.wanted.wants(x)]
        for judged in judges[place[0]].judge(wanted, order.clock()):
            if judged.verdict == "send" and to_send == order.limit:
                report.complete = False
                return
            to_send += judged.verdict == "send"
            yield before[judged.letter.offset], judged
        order.progress(passed, report)


def _offsets_before(letters: list[Letter], previous: int | None) -> list[int | None]:
    return [previous, *(x.offset for x in letters[:-1])]
