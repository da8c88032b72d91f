"""What a shard does with the records that it receives, and what it goes by while it is behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from aiokafka import TopicPartition

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.core.inspection import inspect
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.timestamps import format_ms
from stream.core.values import Values
from stream.deadletters.headers import LEFT_OUT, OUTCOME, REASON, SOURCE_OFFSET
from stream.kafka import shards
from stream.kafka.completeness import HELD_MS, CaughtUp
from stream.kafka.inbox import BATCH_RECORDS
from stream.kafka.log import FlushFailed, Outgoing
from stream.kafka.owner import ShardOwner
from stream.kafka.shards import OwnedShard, settled_until, time_of
from stream.kafka.topics import Names, TopicMap
from stream.kafka.transport import Chunk, ChunkThread
from stream.kafka.unpacking import Unread
from tests.kafka.fakes import DecidedRegistry, KeptWriter

NOW = 1_800_000_000_000
VISITS, SUBSCRIPTIONS = "cx.visit", "cx.subscription"


@pytest.mark.parametrize(
    ("complete_to", "seen", "until"),
    [
        pytest.param(NOW - 100, NOW - 50, NOW - 100, id="caught up: by the clock"),
        pytest.param(NOW - 100, NOW - DAY, NOW - 100, id="caught up, and carts are quiet"),
        pytest.param(NOW - HELD_MS - 1_500, NOW, NOW - HELD_MS - 1_500, id="a transaction is open"),
        pytest.param(0, NOW - 7 * DAY, NOW - 7 * DAY, id="a week behind: by the events"),
        pytest.param(0, NOW + 30 * SECOND, NOW, id="never beyond the clock"),
        pytest.param(NOW - MINUTE, NOW - DAY, NOW - MINUTE, id="a broker away: nothing is undone"),
        pytest.param(NOW - MINUTE, NOW - SECOND, NOW - SECOND, id="a little behind"),
    ],
)
def test_carts_are_abandoned_by_the_clock_or_while_behind_by_their_events(
    complete_to: int, seen: int, until: int
) -> None:
    assert settled_until(NOW, complete_to, seen) == until


def test_a_shard_s_time_stands_still_while_the_clock_is_set_back() -> None:
    settings = Settings()
    shard = Shard(settings, Values(settings))
    shard.fold(NOW)
    assert [time_of(shard, NOW + by) for by in (-HOUR, -1, 0, 1)] == [NOW, NOW, NOW, NOW + 1]


# Records that wait for others -----------------------------------------------------------------


class EndlessThread:
    """Sources that begin at 0, unless the test says where, and have no end in sight."""

    def __init__(self) -> None:
        self.first = 0
        self.heartbeat_at = 0.0
        self.caught_up: dict[TopicPartition, CaughtUp] = {}

    async def bounds(
        self, partitions: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        return dict.fromkeys(partitions, self.first), dict.fromkeys(partitions, 1 << 40)

    async def enter(self, positions: dict[TopicPartition, int], epoch: int) -> None: ...


class Fed:
    """An owner with one shard, which goes live by ``enter``."""

    def __init__(self, max_remembered: int = 1000, max_segments: int = 100) -> None:
        self.settings = replace(
            Settings(), max_remembered=max_remembered, max_segments=max_segments
        )
        topics = TopicMap(
            Names("", "g"), dict.fromkeys(TOPICS, 1), dict.fromkeys(TOPICS, 1_000_000)
        )
        settings, kafka = self.settings, KafkaConfig()
        self.owner = ShardOwner(settings, kafka, topics)
        self.thread = EndlessThread()
        self.owner.thread = cast("ChunkThread", self.thread)
        registry = cast("Any", DecidedRegistry())
        self.shard = OwnedShard(0, settings, Values(settings), registry, kafka, topics)
        self.owner._parked[0] = self.shard

    async def enter(self) -> None:
        await self.owner._enter(self.shard)
        assert self.owner.shards == {0: self.shard}

    def send(self, start: int, records: int) -> None:
        """Visits whose numbers are their offsets."""
        found: list[Any] = [
            SimpleNamespace(offset=n, key=b"", headers=(), value=visit(n))
            for n in range(start, start + records)
        ]
        self.owner.apply(Chunk(VISITS, 0, self.shard.epoch, start, start + records, found))

    @property
    def accepted(self) -> int:
        return self.shard.shard.progress.outcomes.get(VISITS, {}).get("accepted", 0)

    def recovered(self) -> Shard:
        """A shard with the state that was written."""
        found = Shard(self.settings, Values(self.settings))
        StateLog(found).recover(self.state())
        return found

    def state(self) -> dict[bytes, bytes]:
        """What was written to the state log."""
        latest = {r.key: r.value for r in self.written(self.shard._topics.names.state)}
        return {key: value for key, value in latest.items() if key and value is not None}

    def written(self, topic: str) -> list[Outgoing]:
        """All that was written to a topic."""
        written = chain.from_iterable(cast("KeptWriter", self.shard._writer).written)
        return [record for record in written if record.topic == topic]


def visit(n: int, **labels: str) -> bytes:
    told = {"event_id": f"e{n}", "type": "visit.ended", "occurred_at": format_ms(NOW)}
    return orjson.dumps({**told, "visit_id": f"v{n}", "labels": labels})


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Fed:
    monkeypatch.setattr(shards, "TransactionalWriter", KeptWriter)
    monkeypatch.setattr(shards, "now_ms", lambda: NOW)
    return Fed()


async def test_a_few_records_wait_until_the_flush_that_makes_them_durable(fed: Fed) -> None:
    await fed.enter()
    fed.send(0, 3)
    fed.send(3, 4)
    assert fed.shard.positions[VISITS] == 7
    assert fed.accepted == 0
    await fed.owner._flush_all()
    assert fed.accepted == 7
    found = fed.recovered().progress
    assert found.positions[VISITS] == 7
    assert found.outcomes[VISITS] == {"accepted": 7}


async def test_a_shard_without_room_for_more_segments_says_so_once(
    fed: Fed, caplog: pytest.LogCaptureFixture
) -> None:
    fed = Fed(max_segments=2)
    await fed.enter()
    for n in range(6):
        value = visit(n, channel=f"c{n}")
        record: Any = SimpleNamespace(offset=n, key=b"", headers=(), value=value)
        fed.owner.apply(Chunk(VISITS, 0, fed.shard.epoch, n, n + 1, [record]))
        await fed.owner._flush_all()
        assert len(caplog.messages) == (n >= 2)
    (told,) = caplog.messages
    assert told == (
        "shard 0 has no room for more than 2 combinations of values (max_segments): further ones"
        " count as other"
    )


async def test_subscriptions_without_room_for_their_labels_are_counted_once_they_are_durable(
    fed: Fed,
) -> None:
    fed = Fed(max_segments=2)
    await fed.enter()
    for n in range(5):
        event: dict[str, Any] = {"event_id": f"{n}", "type": "subscription.started"}
        event |= {"subscription_id": f"{n}"}
        event |= {"occurred_at": format_ms(NOW), "labels": {"account": f"a{n}"}}
        record: Any = SimpleNamespace(offset=n, key=b"", headers=(), value=orjson.dumps(event))
        fed.owner.apply(Chunk(SUBSCRIPTIONS, 0, fed.shard.epoch, n, n + 1, [record]))
        await fed.owner._flush_all()
        assert fed.owner.counts.without_room == max(0, n - 1)


async def test_enough_records_are_counted_at_once_behind_those_that_waited(fed: Fed) -> None:
    await fed.enter()
    fed.send(0, 3)
    fed.send(3, BATCH_RECORDS)
    assert fed.accepted == BATCH_RECORDS + 3
    assert fed.shard.shard.progress.positions[VISITS] == BATCH_RECORDS + 3


async def test_a_record_that_was_not_read_is_invalid_and_its_letter_says_why_and_where(
    fed: Fed,
) -> None:
    await fed.enter()
    why = b"is in a batch that can't be read"
    good = SimpleNamespace(offset=6, key=b"", headers=(), value=visit(6))
    found = [Unread(5, why.decode()), good, Unread(7, why.decode())]
    fed.owner.apply(Chunk(VISITS, 0, fed.shard.epoch, 0, 8, found))
    await fed.owner._flush_all()
    progress = fed.recovered().progress
    assert progress.outcomes[VISITS] == {"accepted": 1, "invalid": 2}
    assert progress.positions[VISITS] == 8
    letters = [dict(r.headers) for r in fed.written("cx.visit.dlq")]
    assert [said[SOURCE_OFFSET] for said in letters] == [b"5", b"7"]
    assert {(said[OUTCOME], said[REASON], said[LEFT_OUT]) for said in letters} == {
        (b"invalid", why, why)
    }
    assert [r.value for r in fed.written("cx.visit.dlq")] == [None, None]
    assert fed.owner.counts.dead_letters == {VISITS: 2}


async def test_letters_with_many_empty_headers_make_a_flush_due_too(fed: Fed) -> None:
    await fed.enter()
    headers = (("", None),) * 60_000
    found: list[Any] = [
        SimpleNamespace(offset=n, key=b"", headers=headers, value=b"no JSON") for n in range(2)
    ]
    fed.shard.apply(VISITS, Chunk(VISITS, 0, fed.shard.epoch, 0, 2, found))
    assert fed.shard.overfull


async def test_records_that_wait_at_a_rebalance_count_once_wherever_it_goes_on(fed: Fed) -> None:
    await fed.enter()
    fed.send(0, 3)
    # They are of no epoch that lives when the shard comes back without a flush in between.
    fed.owner._read_again(fed.shard)
    fed.send(3, 2)
    await asyncio.gather(*fed.owner._tasks)
    assert fed.shard.positions[VISITS] == 0
    fed.send(0, 5)
    await fed.owner._flush_all()
    assert fed.accepted == 5
    assert fed.recovered().progress.outcomes[VISITS] == {"accepted": 5}


async def test_a_last_flush_before_a_rebalance_counts_what_waits(fed: Fed) -> None:
    await fed.enter()
    fed.send(0, 3)
    await fed.owner.revoked()
    assert fed.recovered().progress.positions[VISITS] == 3


# What was lost ----------------------------------------------------------------------------------


def cart(n: int) -> bytes:
    told = {"event_id": f"c{n}", "type": "cart.opened", "occurred_at": format_ms(NOW)}
    return orjson.dumps({**told, "cart_id": f"c{n}"})


async def test_records_that_are_gone_count_once_and_where_they_were_missed(fed: Fed) -> None:
    """Not again by each later owner, whose state tells of the loss too."""
    fed.shard.shard.progress.gaps[VISITS] = 70
    fed.shard.shard.progress.positions[VISITS] = 100
    fed.thread.first = 600
    await fed.enter()
    for _ in range(2):
        await fed.owner._flush_all()
        assert fed.owner.counts.gaps == {VISITS: 500}
        fed.owner._read_again(fed.shard)
        await asyncio.gather(*fed.owner._tasks)
    assert inspect(fed.state()).gaps == {VISITS: 570}


async def test_records_found_gone_again_after_a_flush_that_failed_count_once(fed: Fed) -> None:
    for first, gone in ((600, 500), (600, 500), (650, 550)):
        again = Fed()
        again.owner.counts = fed.owner.counts
        again.shard.shard.progress.positions[VISITS] = 100
        again.thread.first = first
        await again.enter()
        assert fed.owner.counts.gaps == {VISITS: gone}


async def test_what_is_forgotten_counts_with_the_flush_that_makes_it_durable(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over after one that failed forgets the same again."""

    async def fail(records: object) -> None:
        raise FlushFailed("no answer within 15 s")

    await fed.enter()
    fed.shard.shard.ingest("cx.cart", [cart(n) for n in range(5000)], NOW)
    monkeypatch.setattr(fed.shard._writer, "write", fail)
    with pytest.raises(FlushFailed):
        await fed.shard.flush(fed.owner.counts)
    assert fed.shard.shard.forgotten()["carts"] > 0
    assert not fed.owner.counts.forgotten


async def test_entities_are_counted_by_the_worker_that_forgot_them(fed: Fed) -> None:
    await fed.enter()
    fed.shard.shard.ingest("cx.cart", [cart(n) for n in range(5000)], NOW)
    await fed.owner._flush_all()
    lost = fed.shard.shard.forgotten()["carts"]
    assert lost > 0
    assert fed.owner.counts.forgotten == fed.shard.shard.forgotten()
    assert inspect(fed.state()).forgotten == fed.owner.counts.forgotten
    fed.send(0, 1)
    await fed.owner._flush_all()
    assert fed.owner.counts.forgotten == fed.shard.shard.forgotten(), "not at each flush anew"

    heir = Fed()
    heir.shard.log.recover(fed.state())
    await heir.enter()
    await heir.owner._flush_all()
    assert heir.shard.shard.forgotten()["carts"] == lost, "the state tells of all that ever were"
    assert not any(heir.owner.counts.forgotten.values())
    heir.shard.shard.ingest("cx.cart", [cart(n) for n in range(5000, 9000)], NOW)
    heir.shard.log._expire_at = 0
    await heir.owner._flush_all()
    more = heir.shard.shard.forgotten()["carts"] - lost
    assert more > 0
    assert heir.owner.counts.forgotten["carts"] == more


async def test_what_a_lower_limit_takes_in_the_take_over_counts_too(fed: Fed) -> None:
    await fed.enter()
    fed.shard.shard.ingest("cx.cart", [cart(n) for n in range(900)], NOW)
    await fed.owner._flush_all()
    heir = Fed(max_remembered=100)
    heir.shard.log.recover(fed.state())
    await heir.enter()
    await heir.owner._flush_all()
    assert heir.owner.counts.forgotten["carts"] == heir.shard.shard.forgotten()["carts"] > 0
