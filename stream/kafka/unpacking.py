"""Takes records out of what a fetch brought for a partition, a batch at a time.

The client unpacks in Python, record by record, and builds a ``ConsumerRecord`` from each, which
costs several times what reading the batch does. Here only its compiled iterator runs per record.
Which batches count is decided as the client does it: aborted transactions are left out where only
committed records are read, control batches always, and the position after a batch is the one that
the batch names, whatever compaction has left of it.

A batch that unpacks to more than is read at once, or can't be read although it is as it was sent,
passes by as records without key and value: it stays where it is, and must not hold up the others.
One whose headers have names that the client can't read is read a second time, without the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, Final, NamedTuple, cast

from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError

from stream.kafka.codecs import bound_client, unpacked_bytes
from stream.kafka.header_count import COUNTED_BEYOND, headers_size, refuse_many_headers
from stream.kafka.records import NO_ABORT, lenient, read_any_name

#: So many records are unpacked before their sizes are looked at, where that is necessary.
_PIECE: Final = 64
#: Stands for the compression of batches from before Kafka 0.11, which don't tell.
_UNKNOWN: Final = -1
#: Why records are not read whose batch is whole and yet none that can be read. Brokers look into
#: batches too, but unpack some that we can't, and others may look less closely.
UNREAD_BATCH: Final = "is in a batch that can't be read"

bound_client()
read_any_name()


class Unread(NamedTuple):
    """A record of a batch that is not read, or not to its end."""

    offset: int
    #: Why, as said of the record.
    reason: str
    key: None = None
    value: None = None
    headers: tuple[()] = ()


def _up_to(most_bytes: int, records: Iterator[Any]) -> Iterator[Any]:
    """Records to the one that brings them to so many bytes: none after it is made."""
    for record in records:
        yield record
        most_bytes -= len(record.value or b"") + len(record.key or b"")
        if record.headers:
            most_bytes -= headers_size(record.headers)
        if most_bytes <= 0:
            return


class Unpacking:
    """Stands in for the client's ``PartitionRecords``, of which nothing may have been taken yet.

    Records are the client's own, ``LenientRecord`` or ``Unread``: they have ``key``, ``value``,
    ``headers`` and ``offset``.
    """

    def __init__(self, fetched: Any) -> None:
        self._fetched = fetched
        self._bytes: int = fetched._records.size_in_bytes()  # noqa: SLF001
        #: The first offset of the batch that is being taken, and the one after its last; batches of
        #: old formats name the last only. The batch itself would hold what it was unpacked to.
        self._first: int | None = None
        self._after: int | None = None
        self._compressed = False
        self._damage: CorruptRecordException | None = None
        self._records: Iterator[Any] = iter(())
        #: What the batch that is being taken was unpacked to, in bytes; 0 where it was not.
        self.unpacked = 0
        #: Where to go on; the client's name for it.
        self.next_fetch_offset: int = fetched.next_fetch_offset

    def take(
        self, most: int, most_bytes: int, *, may_unpack: bool = True
    ) -> tuple[list[Any], bool]:
        """Take the next records, and say whether there may be more.

        At most ``most``, which must be positive; none after those that bring keys, values and
        headers to ``most_bytes``: of a batch that unpacks to more the last one alone may go beyond,
        of others a last few. What is not compressed counts only where more than that was fetched.
        What may have to be unpacked first waits for a take that ``may_unpack``.

        Raises:
            CorruptRecordException: a batch has changed since it was sent, and what was before it is
                taken; what was fetched is of no more use.
        """
        records: list[Any] = []
        size = 0
        while len(records) < most and size < most_bytes:
            if self._after is None and not self._open_next():
                if self._damage is None:
                    return records, False
                if not records:
                    raise self._damage
                return records, True
            if self._compressed and not self.unpacked and not may_unpack:
                return records, True
            # What is not compressed is no larger than what was fetched.
            measured = self._compressed or self._bytes > most_bytes
            room = most - len(records)
            if measured:
                piece = self._next(min(_PIECE, room), most_bytes - size)
            else:
                piece = self._next(room)
            if not piece:
                continue
            self.next_fetch_offset = piece[-1].offset + 1
            records += piece
            if measured:
                size += sum([len(r.value or b"") + len(r.key or b"") for r in piece])
                size += sum([headers_size(r.headers) for r in piece if r.headers])
        return records, True

    def _next(self, most: int, most_bytes: int | None = None) -> list[Any]:
        """The next records of the batch from the position on; none may be for many a reason."""
        records: Iterator[Any] = islice(self._records, most)
        # Before its first record was taken it is not known what a batch unpacks to.
        if most_bytes is not None and (not self.unpacked or self.unpacked > most_bytes):
            records = _up_to(most_bytes, records)
        before = unpacked_bytes()
        piece: list[Any] = []
        again: Iterator[Any] | None = None
        try:
            # What comes before a record that can't be read stays in the piece.
            piece.extend(records)
            self.unpacked += unpacked_bytes() - before
        except UnicodeDecodeError:
            again = lenient(self._fetched._records.raw)  # noqa: SLF001
        except (CorruptRecordException, UnsupportedCodecError) as error:
            again = self._unread(getattr(error, "reason", UNREAD_BATCH))
        if again is not None:
            self._records, self.unpacked = again, 0
        elif not piece:
            self._close()
        elif piece[0].offset >= self.next_fetch_offset:
            return piece
        # The batch begins before the position that was asked for.
        return [r for r in piece if r.offset >= self.next_fetch_offset]

    def _open_next(self) -> bool:
        """Go to the next batch whose records count; False where there is none, or it is damaged."""
        fetched = self._fetched
        while self._damage is None and fetched._records.has_next():  # noqa: SLF001
            batch = fetched._records.compiled()  # noqa: SLF001
            if fetched._check_crcs and not batch.validate_crc():  # noqa: SLF001
                self._damage = CorruptRecordException(
                    f"{fetched._tp}: the batch at {self.next_fetch_offset} is damaged"  # noqa: SLF001
                )
                break
            if self._aborted(batch) or batch.is_control_batch:
                self.next_fetch_offset = batch.next_offset
                continue
            self._first = getattr(batch, "base_offset", None)
            self._after = batch.next_offset
            self._compressed = bool(getattr(batch, "compression_type", _UNKNOWN))
            # A batch may be asked for its iterator once only, and it for no record after the last;
            # with the first record it is unpacked.
            self._records = chain(batch)
            if not self._compressed and self._bytes > COUNTED_BEYOND:
                self._records = self._counted(batch)
            return True
        return False

    def _counted(self, batch: Any) -> Iterator[Any]:
        """The records of a batch that is not compressed, with as few headers as of one that is."""
        refuse_many_headers(self._fetched._records.content)  # noqa: SLF001
        yield from batch

    def _close(self) -> None:
        """Be done with the batch."""
        self.next_fetch_offset = cast("int", self._after)
        self._first = self._after = None
        self._records = iter(())
        self.unpacked = 0

    def _unread(self, reason: str) -> Iterator[Unread]:
        """The records of the batch from the position on, which can't be read.

        Brokers accept none that leaves out an offset, so compaction alone makes this say too many.
        """
        # Begun with the first record, when the position is behind what was read of the batch.
        first = max(self._first or 0, self.next_fetch_offset)
        for offset in range(first, cast("int", self._after)):
            yield Unread(offset, reason)

    def _aborted(self, batch: Any) -> bool:
        """Whether the batch is of an aborted transaction, as far as that matters."""
        fetched = self._fetched
        if fetched._isolation_level != READ_COMMITTED or batch.producer_id is None:  # noqa: SLF001
            return False
        fetched._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001
        aborted: set[int] = fetched._aborted_producers  # noqa: SLF001
        if batch.is_control_batch:
            marker = iter((next(batch, NO_ABORT),))
            if fetched._contains_abort_marker(marker):  # noqa: SLF001
                aborted.discard(batch.producer_id)
        return bool(batch.is_transactional) and batch.producer_id in aborted
