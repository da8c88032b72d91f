"""Transactions that write a compacted log, and reading such a log to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
)

from stream.config import KafkaConfig
from stream.core.errors import RetryError, StopError
from stream.kafka.connection import BrokerUnreachable, abandon, calm, client_options
from stream.kafka.ending import cancelled, say_goodbye
from stream.kafka.reading import begin_at, fold, reader, started, to_end
from stream.kafka.transient import is_transient
from stream.kafka.wording import in_words, missing_right

#: So long Kafka's client may try to take over an id, in seconds. By itself it does so without end.
START_SECONDS: Final = 60.0
#: A flush that takes longer is given up: its outcome is unknown then.
FLUSH_SECONDS: Final = 15.0
#: A batch has no more bytes than this, unless it holds one record.
LARGEST_BATCH: Final = 256 * 1024
#: What the client raises once another has taken over the id.
FENCED: Final = (ProducerFenced, InvalidProducerEpoch)
#: Reading a log is given up when nothing has come of it for so long.
_SILENCE: Final = 120.0
_LONGEST_KEY_SHOWN: Final = 64


class Outgoing(NamedTuple):
    """A record to be written in a transaction."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class FlushFailed(RetryError):
    """A transaction failed, was fenced, or its outcome is unknown: what is in memory is void."""


class FlushStopped(FlushFailed):
    """A transaction was cut short because the writer was let go of meanwhile: no fault."""


class RecordBeyondLimit(StopError):
    """A record is larger than the writer was told that any may be: the next try would be, too.

    None of its transaction is written, and the writer is of no more use.

    What a broker says to a record that its topic does not take is another thing: its topic may have
    another limit when it is tried again.
    """


class LogUnread(RetryError):
    """A log can't be read now; nothing was changed."""


class TransactionalWriter:
    """Writes transactions under an id that only one process at a time can have.

    Starting it fences whoever had the id before and aborts what that one left open.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        transactional_id: str,
        largest: int,
        batch: int = LARGEST_BATCH,
    ) -> None:
        """``largest`` is the most that a record may have, ``batch`` several together, in bytes."""
        self._producer = AIOKafkaProducer(
            **client_options(kafka),
            transactional_id=transactional_id,
            transaction_timeout_ms=kafka.transaction_timeout_ms,
            max_request_size=largest,
            max_batch_size=batch,
            linger_ms=0,
        )
        calm(self._producer.client)
        self._who = transactional_id
        self._where = kafka.bootstrap
        self._largest = largest
        #: Where the last record of each partition stands.
        self._last: dict[tuple[str, int], int] = {}
        self._writing: asyncio.Future[None] | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Take over the id.

        Raises:
            BrokerUnreachable: nobody coordinates its transactions for some time; try again.
            Exception: what Kafka's client raises.
        """
        patience = asyncio.timeout(START_SECONDS)
        try:
            async with patience:
                await self._producer.start()
        except TimeoutError:
            if not patience.expired():
                raise
            raise BrokerUnreachable(
                f"no transactions for {self._who} at {self._where} within"
                f" {START_SECONDS:.0f} s: look at the topic __transaction_state, which needs a"
                " leader for each partition and as many brokers as"
                " transaction.state.log.replication.factor; a partition without a leader may also"
                " keep a former transaction from its end"
            ) from None
        # After the client's own, which fails what waits.
        routine = self._producer._sender.sender_task  # noqa: SLF001
        routine.add_done_callback(lambda _: _look_at_all(self._producer))

    async def write(self, records: Iterable[Outgoing]) -> None:
        """Write records, all or none.

        Raises:
            FlushFailed: whether they are written is not known; the writer is of no more use.
            FlushStopped: so it is because of ``stop``.
            RecordBeyondLimit: a record is larger than ``largest``; none is written.
            Exception: a mistake, which no further try mends; what holds of FlushFailed holds too.
        """
        writing = self._writing = asyncio.ensure_future(self._write(records))
        try:
            await asyncio.wait({writing}, timeout=FLUSH_SECONDS)
        finally:
            given_up = writing.cancel()
        if given_up:
            raise FlushFailed(f"no answer within {FLUSH_SECONDS:.0f} s")
        if writing.cancelled():
            if self._is_stopped:
                raise FlushStopped("it was let go of")
            raise FlushFailed("the client gave it up")
        error = writing.exception()
        if error is None:
            return
        if not is_transient(error):
            raise error
        cause = self._cause() or error
        if right := missing_right(cause, "write to"):
            raise FlushFailed(right) from cause
        if isinstance(error, FlushFailed) and not isinstance(cause, FENCED):
            raise error
        raise FlushFailed(repr(cause)) from cause

    def _cause(self) -> BaseException | None:
        """What has ended the transaction, where the client knows it.

        What it raises may be no more than what followed from that: a record was sent, or a batch
        arrived, when there was no transaction any more.
        """
        ending = self._producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001
        if ending is None or not ending.done() or ending.cancelled():
            return None
        return ending.exception()  # type: ignore[no-any-return]

    async def _write(self, records: Iterable[Outgoing]) -> None:
        # Not the client's own context: on an error its exit waits for an abort, perhaps for ever.
        producer = self._producer
        await producer.begin_transaction()
        sent, written = [], []
        for record in records:
            sent.append(await self._send(record))
            # Where a later one is refused, nobody asks any more what became of this one.
            sent[-1].add_done_callback(_look_at)
            written.append((record.topic, record.partition))
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for (topic, partition), done in zip(written, outcomes, strict=True):
            if isinstance(done, Exception) and not isinstance(done, KafkaError):
                # The client has made it, where no traceback says so.
                raise KafkaError(repr(done)) from done
            # A fence is of the whole transaction, whichever record hears of it.
            if isinstance(done, KafkaError) and is_transient(done) and not isinstance(done, FENCED):
                where = f"topic {topic}" + ("" if partition is None else f" partition {partition}")
                raise FlushFailed(f"{in_words(done)} for {where}") from done
            if isinstance(done, BaseException):
                raise done
        last = self._ends(outcomes)
        await producer.commit_transaction()
        self._last |= last

    def _ends(self, written: Iterable[Any]) -> dict[tuple[str, int], int]:
        """Where the last record of each partition stands now.

        Raises:
            FlushFailed: a partition does not go on from there: its topic was made anew, or a
                leader without the latest records was elected, and what was said to readers before
                is no longer there.
        """
        offsets: dict[tuple[str, int], list[int]] = {}
        for topic, partition, _, offset, *_ in written:
            offsets.setdefault((topic, partition), []).append(offset)
        # What the broker had already it does not place: the client counts on from −1.
        known = {where: found for where, found in offsets.items() if min(found) >= 0}
        for (topic, partition), found in known.items():
            if min(found) <= self._last.get((topic, partition), -1):
                raise FlushFailed(
                    f"topic {topic} partition {partition} was made anew or has lost records"
                )
        return {where: max(found) for where, found in known.items()}

    async def _send(self, record: Outgoing) -> asyncio.Future[Any]:
        topic, partition, key, value, headers = record
        if key is not None or value is not None or partition is None:
            try:
                return await self._producer.send(  # type: ignore[no-any-return]
                    topic, value=value, key=key, partition=partition, headers=list(headers) or None
                )
            except MessageSizeTooLargeError:
                # The client's own: the broker's comes with the outcome.
                size = len(key or b"") + len(value or b"")
                raise RecordBeyondLimit(
                    f"record {(key or b'')[:_LONGEST_KEY_SHOWN]!r} for topic {topic} partition"
                    f" {partition} has {size} bytes, more than the {self._largest} that any may"
                    " have"
                ) from None
        # Kafka takes a record of nothing, but aiokafka sends one only as a batch of its own.
        batch = self._producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=list(headers))
        return await self._producer.send_batch(batch, topic, partition=partition)  # type: ignore[no-any-return]

    async def stop(self) -> None:
        """Let go; what is open is left to the next owner of the id, or to the time-out."""
        self._is_stopped = True
        if self._writing is not None:
            await cancelled((self._writing,))
        await say_goodbye(partial(abandon, self._producer))


def _look_at(sent: asyncio.Future[Any]) -> None:
    """An error that nobody looked at would be logged, with a traceback."""
    if not sent.cancelled():
        sent.exception()


def _look_at_all(producer: Any) -> None:
    """Look at what a client that has failed, or was fenced, leaves to nobody.

    Those are the end of its transaction, whenever that was begun or given up, and of each batch
    that waits that it is sent.
    """
    ending = producer._txn_manager.wait_for_transaction_end()  # noqa: SLF001
    waiting = producer._message_accumulator  # noqa: SLF001
    batches = [*chain.from_iterable(waiting._batches.values()), *waiting._pending_batches]  # noqa: SLF001
    for future in (ending, *(batch._drain_waiter for batch in batches)):  # noqa: SLF001
        if future is not None and future.done():
            _look_at(future)


async def read_log(
    kafka: KafkaConfig, topic: str, partition: int, *, beside_writer: bool = False
) -> dict[bytes, bytes]:
    """The latest value of each key that was committed, up to the end as it is now.

    That takes as long as it takes, while something comes.
    What was committed behind a transaction that is still open counts: its end is waited for.
    ``beside_writer``: somebody may be writing, so what is not closed by now is left out, or a part
    of a transaction might be read.

    Raises:
        LogUnread: the log can't be read, or nothing comes any more.
    """
    tp = TopicPartition(topic, partition)
    try:
        async with started(reader(kafka)) as consumer:
            return await _read(consumer, tp, beside_writer=beside_writer)
    except Exception as error:
        if not is_transient(error):
            raise
        why = in_words(error)
        raise LogUnread(f"{topic} partition {partition} can't be read: {why}") from error


async def _read(
    consumer: AIOKafkaConsumer, tp: TopicPartition, *, beside_writer: bool
) -> dict[bytes, bytes]:
    latest: dict[bytes, bytes] = {}
    async with asyncio.timeout(_SILENCE):
        if beside_writer:
            end = int((await consumer.end_offsets([tp]))[tp])
        else:
            end = await _end(consumer, tp)
        await begin_at(consumer, tp)
    async for records in to_end(consumer, tp, end, _SILENCE):
        fold(latest, [record for record in records if record.offset < end])
    return latest


async def _end(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int:
    """The end of a partition, where a reader of what is committed is told that of what is closed.

    A log that several ids write to can hold committed records behind an open transaction.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    committed, fetcher._isolation_level = fetcher._isolation_level, READ_UNCOMMITTED  # noqa: SLF001
    try:
        return int((await consumer.end_offsets([tp]))[tp])
    finally:
        fetcher._isolation_level = committed  # noqa: SLF001
