"""The consumer group: its members, and its offsets, which tell of a lost state.

Workers commit their positions for tools that show lag, never to go on from them. So a partition of
the state that is empty while the group has read its sources has lost what it held: a worker that
took it for a new one would count from zero in silence. While a state is made anew the offsets carry
notes, so that what was killed halfway can be finished, and no worker starts meanwhile.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    StaleMetadata,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from stream.config import KafkaConfig
from stream.core.errors import StopError
from stream.core.state import REMEDY, StateRefused
from stream.core.text import printable
from stream.kafka.administration import administration
from stream.kafka.connection import BrokerUnreachable, calm_reader, client_options
from stream.kafka.reading import started
from stream.kafka.wording import in_words

How = Literal["reset", "rebuild"]

_NOTE: Final = re.compile(r"cxkpi state (reset|rebuild) (\d+)")
#: How long the coordinator of a group is asked for, and how far apart, in seconds. One that is down
#: is named as such for as long as its session with the others lasts, which is 9 s by default.
_PATIENCE: Final = 15.0
_PAUSE: Final = 0.2
#: A broker that never had a group makes the topic of offsets first; or the coordinator is down, or
#: another one by now.
_NOT_NOW: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    NodeNotReadyError,
    StaleMetadata,
)
#: So long a member that hangs may hold up a rebalance, in seconds.
REBALANCE_SECONDS: Final = 20.0
_SILENT: Final = "the coordinator of group {} does not answer"
#: States of a group that waits for nobody to join it and for no leader.
_SETTLED: Final = frozenset({"Stable", "Empty", "Dead"})

T = TypeVar("T")


class GroupInUse(StopError):
    """The group has members, so that nobody else commits for it; the message says what to do."""


def answer_seconds(kafka: KafkaConfig) -> float:
    """How long the group's coordinator may take to answer: at least as long as a rebalance."""
    session = kafka.session_timeout_ms / 1000
    return max(kafka.request_timeout_ms / 1000, session + 1, REBALANCE_SECONDS + 5)


class Note(NamedTuple):
    """What the offset of a source partition says while a state is made anew."""

    how: How
    #: Where counting is to begin.
    offset: int
    #: Records before this position had their dead letters written.
    buried: int

    def offset_and_metadata(self) -> OffsetAndMetadata:
        """The note as it is committed."""
        return OffsetAndMetadata(self.offset, f"cxkpi state {self.how} {self.buried}")


class Committed(NamedTuple):
    """The committed offsets, and the notes among them."""

    offsets: Mapping[TopicPartition, int]
    notes: Mapping[TopicPartition, Note]


async def committed(admin: AIOKafkaAdminClient, group: str) -> Committed:
    """What the group has committed.

    Raises:
        KafkaError: the broker does not tell.
    """
    offsets: dict[TopicPartition, int] = {}
    notes: dict[TopicPartition, Note] = {}
    for tp, found in (await _asked(admin, group)).items():
        if found.offset < 0:
            continue
        offsets[tp] = found.offset
        note = _NOTE.fullmatch(found.metadata or "")
        if note is not None:
            how: How = "reset" if note[1] == "reset" else "rebuild"
            notes[tp] = Note(how, found.offset, int(note[2]))
    return Committed(offsets, notes)


async def _asked(
    admin: AIOKafkaAdminClient, group: str
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    return await _of_coordinator(lambda: admin.list_consumer_group_offsets(group), group)


async def _of_coordinator(question: Callable[[], Awaitable[T]], group: str) -> T:
    """What the group's coordinator answers, whom the question finds out anew each time.

    Raises:
        BrokerUnreachable: there is none for some time.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return await question()
        except _NOT_NOW:
            if time.monotonic() > end:
                raise BrokerUnreachable(_SILENT.format(group)) from None
        await asyncio.sleep(_PAUSE)


async def members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    """The live members of the group and where they run, by what they call themselves.

    Raises:
        KafkaError: the broker does not tell.
        BrokerUnreachable: there is none who could.
    """
    found = await _of_coordinator(lambda: _described(admin, group), group)
    return [
        printable(f"{client} at {host.lstrip('/')}")
        for *_, who in found
        for _, client, host, *_ in who
    ]


async def _described(admin: AIOKafkaAdminClient, group: str) -> list[tuple[str, Any]]:
    """State and members of the group. Raises KafkaError."""
    found = [g for a in await admin.describe_consumer_groups([group]) for g in a.groups]
    for code, *_ in found:
        if code:
            raise for_code(code)
    return [(state, who) for _, _, state, _, _, who, *_ in found]


async def is_settled(admin: AIOKafkaAdminClient, group: str) -> bool:
    """Whether the group waits for nobody: whoever is not in it now was not taken in.

    Raises:
        KafkaError: the broker does not tell.
        BrokerUnreachable: nobody coordinates the group now.
    """
    try:
        return all(state in _SETTLED for state, _ in await _described(admin, group))
    except _NOT_NOW:
        raise BrokerUnreachable(_SILENT.format(group)) from None


async def refuse_unfinished(admin: AIOKafkaAdminClient, group: str) -> None:
    """Raise StateRefused where a reset or rebuild of the state was begun and not finished."""
    refuse_noted(await committed(admin, group), group)


def refuse_noted(said: Committed, group: str) -> None:
    """As ``refuse_unfinished``, of what was committed. Raises StateRefused."""
    if note := next(iter(said.notes.values()), None):
        raise StateRefused(
            f"`cxkpi state {note.how}` of group {group} was begun and not finished: run it again"
        )


async def refuse_lost(kafka: KafkaConfig, state: str, sources: Iterable[TopicPartition]) -> None:
    """See that an empty partition of topic ``state`` is a new one.

    Raises:
        StateRefused: the group has read the sources, so there was a state.
        BrokerUnreachable: not now; try again.
    """
    async with administration(kafka) as admin:
        await refuse_unfinished(admin, kafka.group)
        said = await committed(admin, kafka.group)
    refuse_read(said, kafka.group, state, sources)


def refuse_read(said: Committed, group: str, state: str, sources: Iterable[TopicPartition]) -> None:
    """As ``refuse_lost``, of what was committed. Raises StateRefused."""
    # Offsets are committed only for what has a state, those of sources without a record too.
    read = [tp for tp in sources if tp in said.offsets]
    if read:
        most = max(read, key=lambda tp: said.offsets[tp])
        raise StateRefused(
            f"topic {state} partition {most.partition} is empty, but group {group} has"
            f" read {most.topic} up to {said.offsets[most]}: its state is lost; {REMEDY}"
        )


async def commit(kafka: KafkaConfig, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
    """Commit offsets for the group, which must have no members.

    Raises:
        BrokerUnreachable: the broker does not take them.
        GroupInUse: the group has members.
    """
    if not offsets:
        return
    consumer = AIOKafkaConsumer(
        **client_options(kafka), group_id=kafka.group, enable_auto_commit=False
    )
    calm_reader(consumer)
    try:
        async with started(consumer):
            consumer.assign(list(offsets))
            await consumer.commit(dict(offsets))
    except CommitFailedError as error:
        raise GroupInUse(
            f"a worker of group {kafka.group} has joined meanwhile: stop all workers of the group"
            " and run it again"
        ) from error
    except KafkaError as error:
        raise BrokerUnreachable(
            f"the offsets of group {kafka.group} can't be committed: {in_words(error)}"
        ) from error
