"""What a shard writes with a flush, when one is due, and how it is taken over, without a broker."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.settings import SECOND, Settings
from stream.core.sharing import Sharing
from stream.core.state import Header, StateRefused
from stream.core.values import Values
from stream.deadletters.headers import LEFT_OUT, OUTCOME, SOURCE_OFFSET
from stream.kafka import shards
from stream.kafka.completeness import CaughtUp
from stream.kafka.log import LARGEST_BATCH, FlushFailed, Outgoing
from stream.kafka.shards import OwnedShard, ShardCounts
from stream.kafka.topics import STATE_LIMIT, Names, TopicMap
from stream.kafka.transport import Chunk, ChunkThread
from tests.kafka.fakes import DecidedRegistry, KeptWriter
from tests.kafka.test_shards import NOW, VISITS, visit

NUMBER = 1


class Starting(KeptWriter):
    """A writer that notes when it has fenced the owner before, and what it was made with."""

    def __init__(self, *given: object) -> None:
        super().__init__()
        self.given = given

    async def start(self) -> None:
        STEPS.append("fenced")


class Decided(DecidedRegistry):
    """A registry of values that notes when it was read, and fails to settle where it must."""

    fails = False

    async def read(self) -> None:
        STEPS.append("values read")

    async def settle(self) -> None:
        if self.fails:
            raise FlushFailed("the registry of values could not be changed")


#: What was done at a take-over, in this order.
STEPS: list[str] = []


class Owned:
    """The second of two shards, its counts and what it has written."""

    def __init__(self, limit: int = 1_000_000) -> None:
        settings = Settings()
        topics = TopicMap(Names("p-", "g"), dict.fromkeys(TOPICS, 2), dict.fromkeys(TOPICS, limit))
        self.registry = Decided()
        self.shard = OwnedShard(
            NUMBER,
            settings,
            Values(settings),
            cast("Any", self.registry),
            KafkaConfig(),
            topics,
        )
        self.shard.positions = dict.fromkeys(TOPICS, 0)
        self.counts = ShardCounts()

    @property
    def writer(self) -> Starting:
        return cast("Starting", self.shard._writer)

    def receive(self, *values: bytes | None, **more: Any) -> None:
        """Receive records, and count them."""
        start = self.shard.positions[VISITS]
        headers, key = more.get("headers", ()), more.get("key", b"k")
        records: list[Any] = [
            SimpleNamespace(offset=start + n, key=key, headers=headers, value=value)
            for n, value in enumerate(values)
        ]
        chunk = Chunk(f"p-{VISITS}", NUMBER, 1, start, start + len(values), records)
        self.shard.receive(VISITS, chunk)
        for topic, waiting in self.shard.take_waiting():
            self.shard.apply(topic, waiting)

    async def flush(self, complete_to: int | None = None) -> list[Outgoing]:
        """What a flush writes."""
        before = len(self.writer.written)
        await self.shard.flush(self.counts, complete_to)
        return [record for some in self.writer.written[before:] for record in some]

    async def letters(self) -> list[Outgoing]:
        return [r for r in await self.flush() if r.topic == "p-cx.visit.dlq"]


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch) -> Owned:
    STEPS.clear()
    monkeypatch.setattr(shards, "TransactionalWriter", Starting)
    monkeypatch.setattr(shards, "now_ms", lambda: NOW)
    return Owned()


# Taking over ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_empty", [True, False])
async def test_the_owner_before_is_fenced_before_the_state_is_read_and_an_empty_one_is_asked_about(
    owned: Owned, is_empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.receive(visit(0))
    written = {r.key: r.value for r in await owned.flush() if r.topic == "g-state"}
    heir = Owned()

    async def read_log(_: object, topic: str, number: int) -> dict[bytes | None, bytes | None]:
        STEPS.append(f"{topic} {number} read")
        return {} if is_empty else written

    async def refuse_lost(_: object, topic: str, sources: dict[TopicPartition, str]) -> None:
        STEPS.append(f"{topic} asked about")
        assert TopicPartition(f"p-{VISITS}", NUMBER) in sources
        raise StateRefused("its state is lost")

    monkeypatch.setattr(shards, "read_log", read_log)
    monkeypatch.setattr(shards, "refuse_lost", refuse_lost)
    steps = ["values read", "fenced", "g-state 1 read"]
    if is_empty:
        with pytest.raises(StateRefused, match="its state is lost"):
            await heir.shard.recover()
        steps.append("g-state asked about")
    else:
        await heir.shard.recover()
        assert heir.shard.shard.progress.positions[VISITS] == 1
    assert steps == STEPS


async def test_each_new_state_has_a_secret_seed_that_goes_over_to_the_heir(
    owned: Owned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    other, heir = Owned(), Owned()
    seeds = {one.shard.shard.digests.seed for one in (owned, other, heir)}
    assert len(seeds) == 3
    assert max(seeds) >= 1 << 48
    owned.receive(visit(0))
    written = {r.key: r.value for r in await owned.flush() if r.topic == "g-state"}

    async def read_log(*_: object) -> dict[bytes | None, bytes | None]:
        return written

    monkeypatch.setattr(shards, "read_log", read_log)
    await heir.shard.recover()
    seed = heir.shard.shard.digests.seed
    assert seed == owned.shard.shard.digests.seed
    heir.shard.positions = dict.fromkeys(TOPICS, 1)
    heir.receive(visit(0))
    assert heir.shard.shard.progress.outcomes[VISITS] == {"accepted": 1, "duplicate": 1}
    assert str(seed) not in caplog.text


async def test_a_state_that_nothing_was_written_of_yet_has_the_seed_of_its_first_owner(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_log(*_: object) -> dict[bytes, bytes]:
        return {}

    async def refuse_lost(*_: object) -> None: ...

    monkeypatch.setattr(shards, "read_log", read_log)
    monkeypatch.setattr(shards, "refuse_lost", refuse_lost)
    await owned.shard.recover()
    owned.receive(visit(0))
    written = {r.key: r.value for r in await owned.flush() if r.topic == "g-state" and r.value}
    seed = Header.read(cast("Any", written)).seed
    assert seed == owned.shard.shard.digests.seed != 0


@pytest.mark.parametrize(("end", "refused"), [(99, True), (100, False)])
async def test_a_source_that_ends_before_the_state_s_position_is_another_one(
    owned: Owned, end: int, refused: bool
) -> None:
    async def bounds(
        partitions: list[TopicPartition],
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        return dict.fromkeys(partitions, 0), dict.fromkeys(partitions, end)

    owned.shard.shard.progress.positions[VISITS] = 100
    finding = owned.shard.find_positions(
        cast("ChunkThread", SimpleNamespace(bounds=bounds)), owned.counts
    )
    if refused:
        with pytest.raises(StateRefused, match=r"ends at 99 but was read up to 100"):
            await finding
    else:
        assert (await finding)[TopicPartition(f"p-{VISITS}", NUMBER)] == 100


def test_what_is_missed_of_one_partition_says_nothing_of_another() -> None:
    counts = ShardCounts()
    for partition, start, end in ((0, 0, 100), (1, 0, 50), (1, 20, 60), (0, 100, 100)):
        counts.miss(VISITS, partition, start, end)
    assert counts.gaps == {VISITS: 160}


def test_a_writer_takes_what_may_be_written_and_batches_what_every_topic_takes(
    owned: Owned,
) -> None:
    for limit in (1000, LARGEST_BATCH + 1, STATE_LIMIT + 1):
        _, _, largest, batch = Owned(limit).writer.given
        assert largest == max(STATE_LIMIT, limit)
        assert batch == min(LARGEST_BATCH, limit)


# Dead letters -----------------------------------------------------------------------------------


async def test_a_letter_lies_in_the_partition_of_its_record_with_what_was_sent(
    owned: Owned,
) -> None:
    headers = [("trace", b"1"), (OUTCOME, b"late"), (SOURCE_OFFSET, b"99")]
    owned.receive(visit(0), b"no event", headers=headers)
    (letter,) = await owned.letters()
    assert (letter.partition, letter.key, letter.value) == (NUMBER, b"k", b"no event")
    assert [value for name, value in letter.headers if name == "trace"] == [b"1"]
    assert [value for name, value in letter.headers if name == OUTCOME] == [b"invalid"]
    assert [value for name, value in letter.headers if name == SOURCE_OFFSET] == [b"1"]
    assert owned.counts.dead_letters == {VISITS: 1}


async def test_of_records_before_the_position_that_a_rebuild_has_noted_no_letter_is_written_again(
    owned: Owned,
) -> None:
    owned.shard.shard.progress.buried[VISITS] = 2
    owned.receive(*[b"no event"] * 4)
    found = [dict(letter.headers)[SOURCE_OFFSET] for letter in await owned.letters()]
    assert found == [b"2", b"3"]


async def test_of_a_record_that_its_letters_topic_does_not_take_only_the_place_is_written(
    owned: Owned,
) -> None:
    owned = Owned(limit=2000)
    owned.receive(b"x" * 3000, key=b"y" * 10)
    (letter,) = await owned.letters()
    said = dict(letter.headers)
    assert letter.key is letter.value is None
    assert said[SOURCE_OFFSET] == b"0"
    assert b"bytes, more than the topic takes unpacked" in (said[LEFT_OUT] or b"")


async def test_the_name_of_a_label_that_was_sent_does_not_fill_the_headers(owned: Owned) -> None:
    labels = b'{"%s": 1}' % (b"k" * 5000)
    owned.receive(visit(0).replace(b'"labels":{}', b'"labels":' + labels))
    (letter,) = await owned.letters()
    assert all(len(value or b"") < 200 for _, value in letter.headers)


# Flushes ----------------------------------------------------------------------------------------


async def test_many_records_make_a_flush_due_and_it_makes_room_for_more(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_RECORDS", 5)
    for first in (0, 6):
        owned.receive(*(visit(first + n) for n in range(5)))
        due = [owned.shard.overfull]
        owned.receive(visit(first + 5))
        due.append(owned.shard.overfull)
        await owned.flush()
        due.append(owned.shard.overfull)
        assert due == [False, True, False]


async def test_many_bytes_of_letters_make_a_flush_due_and_it_makes_room_for_more(
    owned: Owned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_DEAD_LETTER_BYTES", 5000)
    for _ in range(2):
        owned.receive(b"x" * 1000)
        due = [owned.shard.overfull]
        owned.receive(b"x" * 5000)
        due.append(owned.shard.overfull)
        await owned.flush()
        due.append(owned.shard.overfull)
        assert due == [False, True, False]


async def test_what_a_flush_has_done_is_counted_once(owned: Owned) -> None:
    for number, refused in enumerate((3, 0, 2), 1):
        owned.receive(visit(number))
        owned.shard.shard.active.refused_bases += refused
        assert await owned.flush()
        assert owned.counts.flush.count == number
    assert owned.counts.refused_bases == 5


async def test_where_nothing_has_changed_nothing_is_written(owned: Owned) -> None:
    owned.receive(visit(0))
    assert await owned.flush()
    assert await owned.flush() == []
    assert len(owned.writer.written) == 1
    assert not owned.shard.in_doubt
    assert owned.counts.flush.count == 1


async def test_nothing_is_written_before_all_values_are_decided(owned: Owned) -> None:
    owned.receive(visit(0))
    owned.registry.fails = True
    with pytest.raises(FlushFailed, match="registry"):
        await owned.flush()
    assert owned.writer.written == []


# What the owners of families are told -------------------------------------------------------------


async def test_each_family_is_told_in_its_own_partition_once_a_second_or_for_the_first_time(
    owned: Owned,
) -> None:
    owned.receive(visit(0))
    owned.shard._sharing = Sharing(owned.shard.shard, NUMBER, "life")
    told = []
    for complete_to in (None, None, NOW, None, NOW):
        written = await owned.flush(complete_to)
        told.append({r.partition for r in written if r.topic == "g-share"})
    everybody = set(range(len(FAMILIES)))
    assert told == [everybody, set(), everybody, set(), everybody]


@pytest.mark.parametrize(
    ("complete_to", "until"),
    [
        pytest.param(NOW - 100, NOW - 100, id="up to what was read"),
        pytest.param(NOW + SECOND, NOW, id="never beyond the clock"),
    ],
)
async def test_carts_are_settled_before_the_families_are_told(
    owned: Owned, complete_to: int, until: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[int] = []
    monkeypatch.setattr(owned.shard.shard, "advance", settled.append)
    await owned.flush(complete_to)
    assert settled == [until]


BOTH = {"cx.visit": CaughtUp(5, NOW), "cx.cart": CaughtUp(7, NOW - 50)}


@pytest.mark.parametrize(
    ("caught_up", "received", "until"),
    [
        pytest.param(BOTH, {}, NOW - 50, id="the oldest counts"),
        pytest.param(BOTH, {"cx.visit": 6}, NOW - 50, id="one went on since"),
        pytest.param(BOTH, {"cx.visit": 4}, 0, id="what was fetched was not received yet"),
        pytest.param({"cx.visit": BOTH["cx.visit"]}, {}, 0, id="one was not read to its end"),
        pytest.param({}, {}, 0, id="none was"),
    ],
)
def test_a_shard_is_complete_up_to_when_all_of_its_sources_are(
    owned: Owned, caught_up: dict[str, CaughtUp], received: dict[str, int], until: int
) -> None:
    owned.shard._topics = replace(owned.shard._topics, partitions=dict.fromkeys(BOTH, 2))
    owned.shard.positions = {topic: found.position for topic, found in BOTH.items()} | received
    named = {TopicPartition(f"p-{topic}", NUMBER): found for topic, found in caught_up.items()}
    assert owned.shard.complete_to(named) == until
