"""A group reads the topics of one prefix: its state is never taken for that of others.

Positions stand under the topics' names without prefix, so what lies before them in other topics
would be passed over in silence. Nor is it taken for that of the same topics once they have grown,
as the events of an entity go elsewhere then, or were made anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any, cast

import pytest
from aiokafka.admin import NewPartitions

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.inspection import inspect
from stream.core.settings import Settings
from stream.core.state import REMEDY, StateRefused
from stream.core.state_records import pack
from stream.core.values import Values
from stream.kafka import shards, state_reading
from stream.kafka.belonging import (
    lacking,
    notes_of,
    reads_other_topics,
    refuse_other_ids,
    refuse_other_partitions,
    refuse_other_prefix,
)
from stream.kafka.shards import OwnedShard, ShardCounts
from stream.kafka.topics import Names, TopicMap
from tests.kafka.conftest import Site, Sites
from tests.kafka.fakes import DecidedRegistry, KeptWriter
from tests.kafka.test_outages import accepted, answers
from tests.kafka.test_state_commands import (
    GARBAGE,
    counts_again,
    cxkpi,
    printed,
    read,
    told_beforehand,
)
from tests.kafka.test_trouble import counted, create, refused
from tests.kafka.topics import administer
from tests.kafka.workers import PATIENCE

OWN = frozenset(TOPICS)
OTHERS = frozenset(f"p.{topic}" for topic in TOPICS)


class Written(KeptWriter):
    """A writer whose id nobody else has."""

    async def start(self) -> None: ...


class Read(DecidedRegistry):
    """A registry that holds nothing."""

    async def read(self) -> None: ...


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    """What the state's only partition holds; shards read it and nothing else."""
    held: dict[bytes, bytes] = {}

    async def read_log(*_: object, **__: object) -> dict[bytes, bytes]:
        return dict(held)

    async def refuse_lost(*_: object) -> None: ...

    monkeypatch.setattr(shards, "TransactionalWriter", Written)
    monkeypatch.setattr(shards, "read_log", read_log)
    monkeypatch.setattr(shards, "refuse_lost", refuse_lost)
    monkeypatch.setattr(state_reading, "read_log", read_log)
    return held


ONE = dict.fromkeys(TOPICS, 1)
#: What brokers tell of topics, and once all of them were made anew.
IDS = {topic: f"{n:032x}" for n, topic in enumerate(TOPICS, 1)}
ANEW = {topic: f"{n:032x}" for n, topic in enumerate(TOPICS, 100)}


def keys_of(prefix: str = "") -> list[bytes]:
    """The keys of the notes."""
    return [key for key, _ in notes_of(prefix, ONE, IDS)]


async def flushed(
    log: dict[bytes, bytes],
    prefix: str,
    times: int = 1,
    partitions: Mapping[str, int] = ONE,
    read: Iterable[str] = (),
    ids: Mapping[str, str] = IDS,
    buried: Mapping[str, int] | None = None,
) -> list[list[bytes]]:
    """The keys that each flush of a new owner of the shard, which has read, writes to the log."""
    settings, names = Settings(), Names(prefix, "g")
    topics = TopicMap(names, partitions, dict.fromkeys(TOPICS, 1_000_000), ids)
    registry = cast("Any", Read())
    shard = OwnedShard(0, settings, Values(settings), registry, KafkaConfig(), topics)
    await shard.recover()
    shard.shard.progress.positions |= dict.fromkeys(read, 7)
    shard.shard.progress.buried |= buried or {}
    for _ in range(times):
        await shard.flush(ShardCounts(), 0)
    keys = []
    for records in cast("Written", shard._writer).written:
        own = [record for record in records if record.topic == names.state]
        for record in own:
            if record.value is None:
                log.pop(record.key or b"", None)
            else:
                log[record.key or b""] = record.value
        keys.append([record.key or b"" for record in own])
    return keys


async def test_the_topics_are_noted_once_with_the_first_flush_of_a_state(
    log: dict[bytes, bytes],
) -> None:
    noted = [[k for k in keys if k in keys_of()] for keys in await flushed(log, "p.", 3)]
    assert noted == [keys_of(), [], []]
    assert lacking(log, "p.", ONE, IDS) == []
    assert not any(k in keys for keys in await flushed(log, "p.", 2) for k in keys_of())


@pytest.mark.parametrize("gone", [keys_of(), keys_of()[:1], keys_of()[1:], keys_of()[2:]])
async def test_a_state_of_before_counts_as_of_the_present_topics_and_gets_what_it_lacks(
    log: dict[bytes, bytes], gone: list[bytes]
) -> None:
    prefix = "p." if keys_of()[0] in gone else ""
    await flushed(log, "")
    for key in gone:
        del log[key]
    written = [k for keys in await flushed(log, prefix) for k in keys if k in keys_of()]
    assert sorted(written) == sorted(gone)
    assert lacking(log, prefix, ONE, IDS) == []
    assert inspect(log).refusal is None, "whoever does not know the notes passes over them"


async def test_the_number_of_a_topic_that_was_read_is_held_to_and_that_of_others_noted(
    log: dict[bytes, bytes],
) -> None:
    first, second, *others = TOPICS
    rest = dict.fromkeys(others, 1)
    await flushed(log, "", partitions=rest | {first: 4})
    # Nothing was read of the first, and the second is new; a version without them knows none.
    await flushed(log, "", partitions=rest | {first: 2, second: 3}, read=[first])
    await flushed(log, "", partitions=rest)
    grown = rest | {first: 3}
    with pytest.raises(StateRefused) as raised:
        await flushed(log, "", partitions=grown)
    said = str(raised.value)
    assert f"topic {first} has 3 partitions and had 2 when the state was written" in said
    assert "`cxkpi state rebuild`" in said
    found = await state_reading._inspected(KafkaConfig(group="g"), "g-state", 0, grown, {})
    assert found.refusal == said.removeprefix("topic g-state partition 0: ")
    assert found.header is not None, "what was read is of use to a rebuild"
    assert (await state_reading._inspected(KafkaConfig(group="g"), "g-state", 0, {}, {})) == (
        dataclasses.replace(found, refusal=None)
    )
    await flushed(log, "", partitions=rest | {first: 2, second: 9})


@pytest.mark.parametrize(("written", "now"), [("", "p."), ("p.", ""), ("p.", "q."), ("p.", "p.p.")])
async def test_a_state_of_another_prefix_is_refused_and_shown_without_its_positions(
    log: dict[bytes, bytes], written: str, now: str
) -> None:
    await flushed(log, written)
    with pytest.raises(StateRefused) as raised:
        await flushed(log, now)
    said = str(raised.value)
    assert said.startswith("topic g-state partition 0: the state was counted from topics with the")
    assert f"prefix {written!r}, but kafka.topic_prefix is {now!r}: set another kafka.group" in said
    assert "`cxkpi state rebuild`" in said
    assert "\n" not in said
    kafka = KafkaConfig(topic_prefix=now, group="g")
    found = await state_reading._inspected(kafka, "g-state", 0, ONE, {})
    assert found.refusal == said.removeprefix("topic g-state partition 0: ")
    assert (found.header, found.positions, found.buried) == (None, {}, {})
    assert found.total.records == len(log)


@pytest.mark.parametrize("value", [b"", b"p.", pack(7)])
def test_a_note_that_is_damaged_is_refused(value: bytes) -> None:
    prefix, partitions, ids = keys_of()
    with pytest.raises(StateRefused, match="damaged"):
        refuse_other_prefix({prefix: value}, "")
    with pytest.raises(StateRefused, match="damaged"):
        refuse_other_partitions({partitions: value}, "", ONE, ONE)
    with pytest.raises(StateRefused, match="damaged"):
        refuse_other_ids({ids: value}, "", IDS, ONE)


@pytest.mark.parametrize(
    ("noted", "now", "position", "is_refused"),
    [
        ({"cx.cart": "a"}, {"cx.cart": "b"}, 1, True),
        ({"cx.cart": "a"}, {"cx.cart": "a"}, 1, False),
        ({"cx.cart": "a"}, {"cx.cart": "b"}, 0, False),
        ({"cx.cart": "a"}, {"cx.cart": "b"}, None, False),
        ({"cx.cart": "a"}, {}, 1, False),
        ({"cx.visit": "a"}, {"cx.cart": "b"}, 1, False),
        ({"cx.cart": "a", "cx.visit": "a"}, {"cx.cart": "b", "cx.visit": "a"}, 1, True),
        ({}, {"cx.cart": "b"}, 1, False),
    ],
)
def test_a_topic_with_another_id_is_refused_where_it_was_read(
    noted: dict[str, str], now: dict[str, str], position: int | None, is_refused: bool
) -> None:
    log = dict(notes_of("p.", ONE, noted))
    positions = {"cx.visit": 9} | ({} if position is None else {"cx.cart": position})
    with pytest.raises(StateRefused) if is_refused else nullcontext() as raised:
        refuse_other_ids(log, "p.", now, positions)
    if raised is not None:
        assert str(raised.value) == f"topic p.cx.cart was made anew since it was read; {REMEDY}"


async def test_topics_that_were_made_anew_are_refused_until_the_former_count_no_more(
    log: dict[bytes, bytes],
) -> None:
    first, *others = TOPICS
    # Of the first nothing was read, so it may be another.
    await flushed(log, "", read=others)
    await flushed(log, "", ids=IDS | {first: ANEW[first]}, read=TOPICS)
    with pytest.raises(StateRefused) as raised:
        await flushed(log, "")
    said = f"topic {first} was made anew since it was read; {REMEDY}"
    assert str(raised.value) == f"topic g-state partition 0: {said}"
    found = await state_reading._inspected(KafkaConfig(group="g"), "g-state", 0, ONE, IDS)
    assert found.refusal == said
    assert found.header is not None, "what was read is of use to a rebuild"
    # A broker that tells none is believed, and what is noted stays.
    assert not any(k in keys for keys in await flushed(log, "", ids={}) for k in keys_of())
    with pytest.raises(StateRefused, match="made anew"):
        await flushed(log, "", ids=ANEW)


async def test_dead_letters_of_a_former_topic_do_not_stand_for_those_of_one_that_was_made_anew(
    log: dict[bytes, bytes],
) -> None:
    """A rebuild leaves a state that has read nothing yet and knows of letters."""
    first, second, *_ = TOPICS
    await flushed(log, "", buried={first: 5, second: 6})
    now = IDS | {first: ANEW[first]}
    kafka = KafkaConfig(group="g")
    found = await state_reading._inspected(kafka, "g-state", 0, ONE, now)
    assert (found.made_anew, found.refusal) == ((first,), None)
    await flushed(log, "", ids=now)
    assert inspect(log).buried == {first: 0, second: 6}


async def test_a_state_without_ids_gets_those_of_now_though_it_was_read(
    log: dict[bytes, bytes],
) -> None:
    await flushed(log, "", read=TOPICS, ids={})
    assert keys_of()[2] not in log
    assert keys_of()[2] in (await flushed(log, ""))[0]
    with pytest.raises(StateRefused, match="made anew"):
        await flushed(log, "", ids=ANEW)


@pytest.mark.parametrize(
    ("shared_out", "said"),
    [
        (frozenset(), None),
        (OWN, None),
        (OTHERS, "other workers read p.cx.cart, this one cx.cart,"),
        (OWN - {"cx.visit"}, "other workers read fewer topics, this one cx.visit,"),
        (OWN | {"cx.more"}, "other workers read cx.more, this one fewer topics,"),
    ],
)
def test_who_reads_other_topics_than_the_group_is_told_which(
    shared_out: frozenset[str], said: str | None
) -> None:
    found = reads_other_topics(shared_out, OWN)
    assert found is None if said is None else (found or "").startswith(said)


# On a real broker -------------------------------------------------------------------------------


@pytest.fixture
def pair(sites: Sites, broker: Broker) -> tuple[Site, Site]:
    """Two sites that have a group in common, and topics of their own."""
    # Whoever stands still for longer than a session leaves its state to the other.
    site = sites(broker.bootstrap, session="30s")
    return site, sites(broker.bootstrap, like=site, prefix=f"{site.prefix}p.", session="30s")


def test_a_state_is_not_taken_for_that_of_other_topics_until_it_is_rebuilt(
    pair: tuple[Site, Site],
) -> None:
    site, other = pair
    read(site, 20)
    other.send(*answers(0, 60), *GARBAGE)
    assert told_beforehand(other, "set another kafka.group") == [True] * 4
    line = refused(other.worker())
    assert f"prefix {site.prefix!r}, but kafka.topic_prefix is {other.prefix!r}" in line
    # The worker names the partition that it has come to first.
    _, told = printed(cxkpi(other, "check", "--state", "--json"))["state"]["refused"].split(": ", 1)
    assert told in line
    assert cxkpi(site, "check", "--state").exit_code == 0, "nothing was changed"
    result = cxkpi(other, "state", "rebuild", "--yes")
    assert result.exit_code == 0, result.output
    counts_again(other, 60)
    assert told_beforehand(site, "set another kafka.group") == [True] * 4


def test_of_two_that_read_other_topics_in_one_group_one_says_that_it_gets_nothing(
    pair: tuple[Site, Site],
) -> None:
    site, other = pair
    first = counted(site, 10)
    other.send(*answers(0, 60))
    second = other.worker()
    said = f"group {site.group}: other workers read {site.prefix}cx.cart, this one {other.prefix}"
    second.until(lambda: said in second.log(), "said that it gets nothing")
    assert said in second.page("/readyz")[1]
    assert not second.ready()
    site.send(*answers(10, 5))
    first.until(lambda: first.ready() and accepted(first) == 15, "gone on")
    assert second.log().count(said) == 1
    # It leads the group now, and gets the other's state.
    first.terminate()
    assert second.wait(PATIENCE) == 2
    assert f"prefix {site.prefix!r}, but kafka.topic_prefix is {other.prefix!r}" in second.log()
    again = site.worker()
    again.until(lambda: again.ready() and accepted(again) == 15, "kept what it counted")


def test_a_source_topic_that_grows_stops_the_worker_in_one_line(site: Site) -> None:
    visit = site.source("cx.visit")
    # It is not the largest, and its dead letters would have room.
    create(site, {visit: {}}, 2)
    create(site, {f"{visit}.dlq": {"max.message.bytes": "5000000"}})
    site.send(*[("cx.visit", str(n).encode(), b"") for n in range(20)])
    worker = counted(site, 50)
    worker.until(lambda: len(site.dead_letters()) == 20, "read visits")
    administer(site.bootstrap, lambda admin: admin.create_partitions({visit: NewPartitions(4)}))
    line = refused(worker)
    assert visit in line
    assert "4 partitions" in line
    line = refused(site.worker())
    assert f"topic {visit} has 4 partitions and had 2 when the state was written" in line
    assert "cxkpi state rebuild" in line
    assert told_beforehand(site, f"topic {visit} has 4 partitions and had 2") == [
        True,
        True,
        False,
        False,
    ]
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0
    again = site.worker()
    again.until(lambda: again.ready() and accepted(again) == 50, "counted all")
