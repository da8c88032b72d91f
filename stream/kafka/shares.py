"""Reads what shards tell the owners of KPI families: from the start, and then as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from stream.config import KafkaConfig
from stream.core.errors import RetryError
from stream.core.sharing import ShareRecord
from stream.kafka.ending import say_goodbye
from stream.kafka.reading import reader
from stream.kafka.topics import Names
from stream.kafka.transient import is_transient
from stream.kafka.wording import in_words

#: How long the broker holds a fetch that finds nothing, in ms.
_WAIT_MS: Final = 100


class SharesUnread(RetryError):
    """The shares can't be read now."""


@contextmanager
def _telling() -> Iterator[None]:
    """Whatever passes means the same."""
    try:
        yield
    except OffsetOutOfRangeError as error:
        lost = ", ".join(f"topic {tp.topic} partition {tp.partition}" for tp in error.args[0])
        raise SharesUnread(
            f"{lost} was made anew or has lost records, so all is read again"
        ) from error
    except Exception as error:
        if not is_transient(error):
            raise
        raise SharesUnread(in_words(error)) from error


class ShareReader:
    """Follows the partitions of some families in the topic of shares.

    No position goes back: where a log ends before what was read of it, it is unread until whoever
    follows it begins anew.
    """

    def __init__(self, kafka: KafkaConfig, names: Names) -> None:
        self._kafka = kafka
        self._topic = names.shares
        self._consumer: Any = None
        #: Where to go on, by family.
        self._positions: dict[int, int] = {}
        #: The end of each family's log when ``follow`` was called last.
        self._ends: dict[int, int] = {}

    @property
    def families(self) -> frozenset[int]:
        """The families that are followed."""
        return frozenset(self._positions)

    def is_caught_up(self, family: int) -> bool:
        """Whether all was read that was there when ``follow`` was called last."""
        return self._positions.get(family, -1) >= self._ends.get(family, 0)

    async def follow(self, families: Iterable[int]) -> None:
        """Follow these families: new ones from the start, known ones from where they are.

        Raises:
            SharesUnread: not now; close, and try again.
        """
        with _telling():
            await self._follow(frozenset(families))

    async def _follow(self, families: frozenset[int]) -> None:
        if self._consumer is None:
            self._consumer = await self._start()
        consumer = self._consumer
        wanted = {family: TopicPartition(self._topic, family) for family in families}
        new = [tp for family, tp in wanted.items() if family not in self._positions]
        # Asked for before the assignment, or the answer would wait behind a fetch.
        first = await consumer.beginning_offsets(new) if new else {}
        ends = await consumer.end_offsets(list(wanted.values())) if wanted else {}
        read = {tp: self._positions.get(family, 0) for family, tp in wanted.items()}
        # Else a log that was cut back would count as read until the client is refused.
        if lost := {tp: position for tp, position in read.items() if position > ends[tp]}:
            raise OffsetOutOfRangeError(lost)
        consumer.assign(list(wanted.values()))
        self._ends |= {tp.partition: end for tp, end in ends.items()}
        self._positions = {
            family: self._positions.get(family, first.get(tp, 0)) for family, tp in wanted.items()
        }
        for family, tp in wanted.items():
            consumer.seek(tp, self._positions[family])

    async def read(self) -> dict[int, list[ShareRecord]]:
        """Records that have come, by family in order; waits for some for a moment.

        Raises:
            SharesUnread: not now; close, and try again.
        """
        with _telling():
            return await self._read()

    async def _read(self) -> dict[int, list[ShareRecord]]:
        batches = await self._consumer.getmany(timeout_ms=_WAIT_MS)
        for family in self._positions:
            # Markers of transactions take up offsets, so the position is more than the records say.
            self._positions[family] = await self._consumer.position(
                TopicPartition(self._topic, family)
            )
        return {tp.partition: [(r.key, r.value) for r in some] for tp, some in batches.items()}

    async def _start(self) -> Any:
        # A client that goes back to the beginning by itself would not say so, and the end that is
        # to be reached would be that of a log which is gone.
        consumer = reader(self._kafka, _WAIT_MS, reset="none")
        try:
            await consumer.start()
        except BaseException:
            await say_goodbye(consumer.stop)
            raise
        return consumer

    async def close(self) -> None:
        """Forget where we are, and disconnect."""
        self._positions, self._ends = {}, {}
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await say_goodbye(consumer.stop)
