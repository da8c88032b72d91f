"""Looks at a group's state from outside: what lies in it, and what a worker makes of it.

A worker that starts refuses a state by the same functions as here. Nothing is changed, and workers
may go on meanwhile.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.config import KafkaConfig
from stream.core.alerts import of_family
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.inspection import Inspection, inspect
from stream.core.settings import Settings
from stream.core.shape import Fact, facts
from stream.core.state import StateRefused
from stream.core.values import Values
from stream.kafka.administration import (
    TopicsUnfit,
    administration,
    counts,
    present,
    topic_ids,
)
from stream.kafka.alert_log import states_in
from stream.kafka.group import Committed, committed, members, refuse_noted, refuse_read
from stream.kafka.log import read_log
from stream.kafka.registry import ValueRegistry
from stream.kafka.state_reading import bounds, read_state
from stream.kafka.topics import (
    Names,
    lacks_state,
    refuse_gone,
    refuse_grown,
    refuse_made_anew,
    refuse_other_shares,
    refused_settings,
)


class GroupState(NamedTuple):
    """A group's state and what is around it."""

    topic: str
    members: Sequence[str]
    #: A reset or rebuild that was begun and not finished.
    unfinished: str | None
    #: Where the sources end, by topic without prefix and partition.
    ends: Mapping[tuple[str, int], int]
    #: What each partition of the state holds; nothing where there is no state.
    shards: Sequence[Inspection]
    #: Why a worker that starts would refuse the state; None where it wouldn't.
    refusal: str | None

    @property
    def version(self) -> str | None:
        """The latest version that wrote to the state; None where nothing is written."""
        versions = (s.header.version for s in self.shards if s.header)
        return max(versions, key=_order_of_version, default=None)

    def facts(self, settings: Settings) -> tuple[Fact, ...]:
        """What becomes of the state under ``settings``."""
        headers = (s.header for s in self.shards if s.header)
        told = (facts(h.shape, settings, h.starts) for h in headers)
        return tuple(dict.fromkeys(fact for some in told for fact in some))


@dataclass(frozen=True)
class _Topics:
    """The topics as a worker that starts would have them: it makes those that are missing."""

    names: Names
    there: frozenset[str]
    #: Partitions of the source topics, by name without prefix.
    partitions: Mapping[str, int]
    #: Partitions of the state, the shares and the dead letters, by full name.
    own: Mapping[str, int]
    #: The ids of the source topics where the broker tells them, by name without prefix.
    ids: Mapping[str, str]

    def sources(self, shard: int) -> dict[TopicPartition, str]:
        """The source partitions of a shard and their topics without prefix."""
        return {
            TopicPartition(self.names.source(topic), shard): topic
            for topic, n in self.partitions.items()
            if shard < n
        }

    @property
    def shards(self) -> int:
        """How many partitions the source topics have at most."""
        return max(self.partitions.values())


async def look_at_group(kafka: KafkaConfig, settings: Settings) -> GroupState:
    """Look around.

    Raises:
        BrokerUnreachable, LogUnread: it can't be read.
        TopicsUnfit: topics vanish right now, or may not be described.
    """
    names = Names(kafka.topic_prefix, kafka.group)
    async with administration(kafka) as admin:
        # Workers commit what they have written and write what they have read, so offsets are asked
        # for before the state is, and ends afterwards.
        said = await committed(admin, kafka.group)
        live = await members(admin, kafka.group)
        topics = await _topics(admin, kafka, names)
        # The number of one that is gone is not known.
        known = {t: n for t, n in topics.partitions.items() if names.source(t) in topics.there}
        shards = await read_state(kafka, known, topics.ids)
        sources = [tp for n in range(topics.shards) for tp in topics.sources(n)]
        _, ends = await bounds(kafka, [tp for tp in sources if tp.topic in topics.there])
        shards = [_judged(topics, kafka.group, said, ends, n, s) for n, s in enumerate(shards)]
        refusal = (
            _refusal(partial(refuse_noted, said, kafka.group))
            or _refusal(partial(refuse_gone, names, topics.there))
            or await refused_settings(admin, kafka, names, topics.there)
            or _refusal(partial(refuse_grown, names, topics.partitions, topics.own))
            or _refusal(partial(refuse_other_shares, names, topics.own[names.shares]))
            or await _refused_values(kafka, settings, topics)
            or await _refused_alerts(kafka, settings, topics)
            or _first(topics, kafka.group, said, shards)
        )
    return GroupState(
        names.state,
        live,
        next((str(note.how) for note in said.notes.values()), None),
        {(tp.topic.removeprefix(names.prefix), tp.partition): end for tp, end in ends.items()},
        shards,
        refusal,
    )


async def refuse_gone_sources(kafka: KafkaConfig) -> None:
    """See that no source topic is gone that the group has read.

    A worker that starts would make it anew, and take it for the same one once it has grown.

    Raises:
        BrokerUnreachable, LogUnread: it can't be seen.
        StateRefused: one is.
        TopicsUnfit: one may not be described.
    """
    names = Names(kafka.topic_prefix, kafka.group)
    full = {topic: names.source(topic) for topic in TOPICS}
    async with administration(kafka) as admin:
        asked = [names.state, *full.values()]
        there = await present(admin, asked, lambda there: names.state in there)
        if names.state not in there:
            return  # Nothing was read yet, or what was is lost.
    gone = {topic: name for topic, name in full.items() if name not in there}
    for number, shard in enumerate(await read_state(kafka) if gone else ()):
        for topic, name in gone.items():
            position = shard.positions.get(topic, 0)
            refuse_made_anew(TopicPartition(name, number), position, None)


async def _topics(admin: AIOKafkaAdminClient, kafka: KafkaConfig, names: Names) -> _Topics:
    def is_loss(there: Collection[str]) -> bool:
        lacks_source = any(names.source(topic) not in there for topic in TOPICS)
        return lacks_state(names, there) or (names.state in there and lacks_source)

    there = await present(admin, names.all, is_loss)
    full = {topic: names.source(topic) for topic in TOPICS}
    dead = {topic: names.dead_letters(topic) for topic in TOPICS}
    wanted = {*full.values(), *dead.values(), names.state, names.shares} & there
    found = await counts(admin, wanted)
    partitions = {topic: found.get(name, kafka.partitions) for topic, name in full.items()}
    own = {name: found.get(name, partitions[topic]) for topic, name in dead.items()}
    own[names.state] = found.get(names.state, max(partitions.values()))
    own[names.shares] = found.get(names.shares, len(FAMILIES))
    known = {topic: name for topic, name in full.items() if name in there}
    return _Topics(names, there, partitions, own, await topic_ids(admin, known))


def _judged(
    topics: _Topics,
    group: str,
    said: Committed,
    ends: Mapping[TopicPartition, int],
    number: int,
    found: Inspection,
) -> Inspection:
    """The state of a shard, with the reason where it can't be used."""
    sources = topics.sources(number)
    refusal = found.refusal
    if not found.total.records:
        refusal = _refusal(partial(refuse_read, said, group, topics.names.state, sources))
    for tp, topic in sources.items():
        position = found.positions.get(topic, 0)
        refusal = refusal or _refusal(partial(refuse_made_anew, tp, position, ends.get(tp)))
    return dataclasses.replace(found, refusal=refusal)


def _first(
    topics: _Topics, group: str, said: Committed, shards: Sequence[Inspection]
) -> str | None:
    """The first reason that the state of a shard can't be used."""
    if not shards:
        nothing = inspect({})
        shards = [_judged(topics, group, said, {}, n, nothing) for n in range(topics.shards)]
    for number, shard in enumerate(shards):
        if shard.refusal:
            # What its own log says does not name it.
            where = "" if shard.header or not shard.total.records else _place(topics, number)
            return where + shard.refusal
    return None


def _place(topics: _Topics, number: int) -> str:
    return f"topic {topics.names.state} partition {number}: "


async def _refused_values(kafka: KafkaConfig, settings: Settings, topics: _Topics) -> str | None:
    """Why the registry of values can't be used."""
    if topics.names.values not in topics.there:
        return None
    registry = ValueRegistry(kafka, topics.names, Values(settings, shared=True))
    try:
        await registry.read()
    except StateRefused as error:
        return str(error)
    return None


async def _refused_alerts(kafka: KafkaConfig, settings: Settings, topics: _Topics) -> str | None:
    """Why the alerts' state can't be used; that of a family without rules nobody reads."""
    topic = topics.names.alert_state
    read = [family for family in FAMILIES if of_family(settings.rules, family)]
    if topic not in topics.there or not read:
        return None
    log = await read_log(kafka, topic, 0)
    found = (_refusal(partial(states_in, log, topic, family.encode())) for family in read)
    return next(filter(None, found), None)


def _refusal(check: Callable[[], object]) -> str | None:
    """What a check refuses, if anything."""
    try:
        check()
    except (StateRefused, TopicsUnfit) as error:
        return str(error)
    return None


def _order_of_version(version: str) -> list[int]:
    """0.10 is later than 0.9."""
    return [int(number) for number in re.findall(r"\d+", version)]
