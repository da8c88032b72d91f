"""The topics that a worker needs: their names, and seeing to it that they exist."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.state import REMEDY, StateRefused
from stream.deadletters.letter import ALERT_TOPIC
from stream.kafka.administration import (
    LOOKS,
    USUAL_LIMIT,
    Administrator,
    TopicsUnfit,
    administration,
    counts,
    create,
    described,
    largest_batch,
    present,
    topic_ids,
)
from stream.kafka.group import Committed, committed, refuse_noted
from stream.kafka.retention import told_limits, unkept, untaken
from stream.kafka.topic_ids import id_of

#: What a dead letter needs on top of its record, for headers.
DEAD_LETTER_ROOM: Final = 64 * 1024
#: No record is beyond this: deltas, blocks and shares are cut into records of bounded sizes.
STATE_LIMIT: Final = 16 * 1024 * 1024
#: Compacted topics roll their segments so often, since only closed segments are compacted.
COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.3",
    "max.message.bytes": str(STATE_LIMIT),
}
#: Shares are told anew all the time, so that most of their log is outdated soon.
_SHARED: Final = COMPACTED | {
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(10 * 60 * 1000),
}
#: Said to the broker, whose own default may be another.
_LETTERS: Final = {"cleanup.policy": "delete"}

#: A rebuild keeps the alerts' state and the registry of values.
ONLY_REMEDY: Final = (
    "stop all workers of the group, then `cxkpi state reset` makes it anew and counts from now on"
)

#: Whoever starts tells all of it again.
_SHARES_REMEDY: Final = (
    "stop all workers of the group, delete that topic, and start them again: it is made anew, and"
    " nothing that was counted is lost"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Names:
    """What the topics of a worker are called."""

    prefix: str
    group: str

    def source(self, topic: str) -> str:
        """A source topic."""
        return self.prefix + topic

    def dead_letters(self, topic: str) -> str:
        """Where records of a source topic go that are not accepted."""
        return f"{self.prefix}{topic}.dlq"

    @property
    def alerts(self) -> str:
        """Where changes of alerts go."""
        return self.prefix + ALERT_TOPIC

    @property
    def dead_alerts(self) -> str:
        """Where changes of alerts go that a sink can't be told."""
        return self.dead_letters(ALERT_TOPIC)

    @property
    def state(self) -> str:
        """The compacted log of the shards' state, one partition per shard."""
        return f"{self.group}-state"

    @property
    def alert_state(self) -> str:
        """The compacted log of the alerts' state."""
        return f"{self.group}-alerts"

    @property
    def shares(self) -> str:
        """The compacted log of what shards tell the owners of KPI families, a partition each."""
        return f"{self.group}-share"

    @property
    def values(self) -> str:
        """The registry of the dimensions' values that have a place of their own."""
        return f"{self.group}-values"

    @property
    def internal(self) -> tuple[str, ...]:
        """All topics of the group's own."""
        return (self.state, self.alert_state, self.shares, self.values)

    @property
    def all(self) -> tuple[str, ...]:
        """All topics that a worker reads or writes."""
        sources, dead = map(self.source, TOPICS), map(self.dead_letters, TOPICS)
        return (*self.internal, *sources, *dead, self.alerts, self.dead_alerts)


@dataclass(frozen=True)
class TopicMap:
    """The topics as they are."""

    names: Names
    #: Partitions of each source topic, by its name without prefix.
    partitions: Mapping[str, int]
    #: The largest record batch in bytes that each topic's dead letters take.
    dead_letter_limits: Mapping[str, int]
    #: The ids of the source topics where the broker tells them, by name without prefix.
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return max(self.partitions.values())

    def topics_of(self, shard: int) -> list[str]:
        """The source topics (without prefix) that have this shard's partition."""
        return [topic for topic, n in self.partitions.items() if shard < n]


async def prepare(kafka: KafkaConfig) -> TopicMap:
    """Create the topics that are missing and learn how many partitions there are.

    Raises:
        BrokerUnreachable: no broker answers.
        TopicsUnfit: a topic can't be created, may not be described or would lose state, the state
            does not fit the source topics or is gone.
        StateRefused: the state was begun to be made anew, and that was not finished.
    """
    async with administration(kafka) as admin:
        return await _prepare(admin, kafka)


async def check(administrator: Administrator, topics: TopicMap) -> None:
    """See whether the topics still are what they were.

    Raises:
        BrokerUnreachable: no broker answers.
        TopicsUnfit: one is gone or has another number of partitions; of dead letters, fewer than
            their source. A source was made anew.
    """
    names = topics.names
    exact = {names.source(topic): n for topic, n in topics.partitions.items()}
    exact |= {names.state: topics.shards, names.shares: len(FAMILIES)}
    ids = {names.source(topic): own for topic, own in topics.ids.items()}
    least = {names.dead_letters(topic): n for topic, n in topics.partitions.items()}
    others = (names.alert_state, names.values, names.alerts, names.dead_alerts)
    wanted = [*exact, *least, *others]
    for topic in await administrator.ask(lambda admin: described(admin, wanted)):
        name, found = topic["topic"], len(topic["partitions"])
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            is_made_anew = name in {*least, *others, names.shares}
            remedy = "start the worker again, it makes it anew" if is_made_anew else REMEDY
            raise TopicsUnfit(f"topic {name} is gone; {remedy}")
        if topic["error_code"]:
            continue
        if id_of(topic) and id_of(topic) != ids.get(name, id_of(topic)):
            raise TopicsUnfit(
                f"topic {name} was made anew; where nothing was read of the former, start the"
                f" worker again, else {REMEDY}"
            )
        if found != exact.get(name, found):
            remedy = _SHARES_REMEDY if name == names.shares else REMEDY
            raise TopicsUnfit(
                f"topic {name} has {found} partitions now, not {exact[name]}; {remedy}"
            )
        # A letter lies in the partition of its source; further ones stay empty.
        if found < least.get(name, found):
            raise TopicsUnfit(
                f"topic {name} has {found} partitions now, fewer than the {least[name]} of its"
                f" source: give it {least[name]}, then start the worker again; the state is whole"
            )


async def _prepare(admin: AIOKafkaAdminClient, kafka: KafkaConfig) -> TopicMap:
    names = Names(kafka.topic_prefix, kafka.group)
    said = await committed(admin, kafka.group)
    refuse_noted(said, kafka.group)

    def is_loss(there: Collection[str]) -> bool:
        return lacks_state(names, there) or _lacks_alert_state(names, said, there)

    there = await present(admin, names.all, is_loss)
    refuse_gone(names, there)
    if reason := await refused_settings(admin, kafka, names, there):
        raise TopicsUnfit(reason)
    # Offsets are committed only after all topics were made.
    if _lacks_alert_state(names, said, there):
        log.warning(
            "topic %s is gone though group %s has counted: it is made anew, so alerts that fired"
            " fire a second time, and those that have ended meanwhile are never told as resolved",
            names.alert_state,
            kafka.group,
        )
    sources = {topic: names.source(topic) for topic in TOPICS}
    await create(admin, kafka, dict.fromkeys(sources.values(), kafka.partitions), {})
    found = await counts(admin, sources.values())
    partitions = {topic: found[full] for topic, full in sources.items()}
    ids = await topic_ids(admin, sources)
    shards = max(partitions.values())
    limits: dict[str, int] = {}
    for topic, full in sources.items():
        told = await largest_batch(admin, full)
        limits[topic] = limit = (told or USUAL_LIMIT) + DEAD_LETTER_ROOM
        dead = {names.dead_letters(topic): partitions[topic]}
        await create(admin, kafka, dead, _LETTERS | {"max.message.bytes": str(limit)})
        if told is not None:
            await _check_limit(admin, names.dead_letters(topic), limit)
    await create(admin, kafka, {names.alerts: 1}, {})
    limit = (await largest_batch(admin, names.alerts) or USUAL_LIMIT) + DEAD_LETTER_ROOM
    room = {"max.message.bytes": str(limit)}
    await create(admin, kafka, {names.dead_alerts: 1}, _LETTERS | room)
    await create(admin, kafka, {names.state: shards}, COMPACTED)
    await create(admin, kafka, {names.alert_state: 1, names.values: 1}, COMPACTED)
    await create(admin, kafka, {names.shares: len(FAMILIES)}, _SHARED)
    await _check_partitions(admin, names, partitions)
    return TopicMap(names, partitions, limits, ids)


def lacks_state(names: Names, there: Collection[str]) -> bool:
    """Whether the state's topic is missing among those that are ``there``, though there was one.

    It is made before the others of the group.
    """
    return names.state not in there and any(topic in there for topic in names.internal)


def _lacks_alert_state(names: Names, said: Committed, there: Collection[str]) -> bool:
    return bool(said.offsets) and names.state in there and names.alert_state not in there


def refuse_gone(names: Names, there: Collection[str]) -> None:
    """Raise TopicsUnfit where the state's topic is missing among those that are ``there``."""
    if lacks_state(names, there):
        left = [topic for topic in names.internal if topic in there]
        raise TopicsUnfit(
            f"topic {names.state} is gone though {left[0]} is there: the state is lost; {REMEDY}"
        )


async def refused_settings(
    admin: AIOKafkaAdminClient, kafka: KafkaConfig, names: Names, there: Collection[str]
) -> str | None:
    """Why topics that are ``there`` can't hold the group's state or dead letters, if they can't."""
    own = [topic for topic in names.internal if topic in there]
    if reason := await unkept(admin, kafka.bootstrap, own, STATE_LIMIT):
        return reason
    letters = {names.source(topic): names.dead_letters(topic) for topic in (*TOPICS, ALERT_TOPIC)}
    dead = [topic for topic in letters.values() if topic in there]
    # The limit of a source that is still to be made is not known; alerts' changes are small.
    sources = [topic for topic in map(names.source, TOPICS) if topic in there]
    limits = await told_limits(admin, sources)
    least = {letters[source]: limit + DEAD_LETTER_ROOM for source, limit in limits.items()}
    return await untaken(admin, kafka.bootstrap, dead, least)


async def _check_partitions(
    admin: AIOKafkaAdminClient, names: Names, partitions: Mapping[str, int]
) -> None:
    dead = map(names.dead_letters, partitions)
    found = await counts(admin, [*dead, names.state, names.shares])
    refuse_grown(names, partitions, found)
    refuse_other_shares(names, found[names.shares])


def refuse_grown(names: Names, partitions: Mapping[str, int], found: Mapping[str, int]) -> None:
    """See that no source topic has grown since state and dead letters were made for it.

    ``partitions`` has the numbers of the source topics, by name without prefix; ``found`` those of
    the state and the dead letters.

    Raises:
        TopicsUnfit: one has, or its dead letters have fewer partitions for another reason.
    """
    for topic, n in partitions.items():
        full, dead = names.source(topic), names.dead_letters(topic)
        own = found[dead]
        if own < n:
            # Where the state has as many, others may have made no more of the dead letters.
            had_fewer = found[names.state] < n
            raise TopicsUnfit(
                f"topic {full} has {n} partitions and its dead letters have {own}: "
                + ("their number has changed; " if had_fewer else _if_grown(full, dead, n))
                + REMEDY
            )
    shards = max(partitions.values())
    own = found[names.state]
    if own != shards:
        raise TopicsUnfit(
            f"topic {names.state} has {own} partitions and the source topics have up to {shards}:"
            f" their number has changed; {REMEDY}"
        )


def refuse_other_shares(names: Names, found: int) -> None:
    """See that the topic of shares, which has ``found`` partitions, has one for each KPI family.

    Raises:
        TopicsUnfit: it hasn't.
    """
    if found != len(FAMILIES):
        raise TopicsUnfit(
            f"topic {names.shares} has {found} partitions, not {len(FAMILIES)}, one for each KPI"
            f" family; {_SHARES_REMEDY}"
        )


def _if_grown(source: str, dead_letters: str, wanted: int) -> str:
    return (
        f"if {source} always had {wanted}, give {dead_letters} {wanted} and start the worker again;"
        " if it has grown, "
    )


def refuse_made_anew(tp: TopicPartition, position: int, end: int | None) -> None:
    """See that a source partition may be the one that was read up to ``position``.

    ``end`` is where it ends, None where there is none.

    Raises:
        StateRefused: it isn't.
    """
    if position <= (end or 0):
        return
    if end is None:
        raise StateRefused(
            f"topic {tp.topic} partition {tp.partition} is gone but was read up to {position};"
            f" {REMEDY}"
        )
    raise StateRefused(
        f"topic {tp.topic} partition {tp.partition} ends at {end} but was read up"
        f" to {position}: it was made anew or has lost its latest records; {REMEDY}"
    )


async def _check_limit(admin: AIOKafkaAdminClient, dead_letters: str, least: int) -> None:
    """A dead letter that does not fit would hold up its shard for ever."""
    found: int | None = 0
    for _ in range(LOOKS):
        # The settings of a topic just created may take a moment to be known.
        found = await largest_batch(admin, dead_letters)
        if found is None or found >= least:
            return
        await asyncio.sleep(0.1)
    raise TopicsUnfit(
        f"topic {dead_letters} takes {found} bytes, less than its source topic's records"
        f" with headers: set its max.message.bytes to {least} or more"
    )
