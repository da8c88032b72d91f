"""What a group's offsets say of a state, and what readers without a group begin with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from stream.config import KafkaConfig
from stream.core.state import StateRefused
from stream.kafka import group
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.group import (
    Committed,
    GroupInUse,
    Note,
    answer_seconds,
    committed,
    refuse_noted,
    refuse_read,
)
from stream.kafka.reading import begin_at, fold, reader

ONE, OTHER = TopicPartition("cx.visit", 0), TopicPartition("cx.visit", 1)


class Coordinator:
    """Tells what a group has committed, and takes what it commits, or fails."""

    def __init__(self, found: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self._found = found

    async def list_consumer_group_offsets(self, _: str) -> dict[TopicPartition, OffsetAndMetadata]:
        return self._found


async def said(found: dict[TopicPartition, OffsetAndMetadata]) -> Committed:
    return await committed(cast("AIOKafkaAdminClient", Coordinator(found)), "g")


@pytest.mark.parametrize(
    ("offset", "metadata", "offsets", "notes"),
    [
        pytest.param(7, "", {ONE: 7}, {}, id="a worker's"),
        pytest.param(0, "", {ONE: 0}, {}, id="a worker's that has read nothing"),
        pytest.param(-1, "", {}, {}, id="none was committed"),
        pytest.param(7, "cxkpi state", {ONE: 7}, {}, id="no note"),
        pytest.param(
            7, "cxkpi state reset 3", {ONE: 7}, {ONE: Note("reset", 7, 3)}, id="of a reset"
        ),
        pytest.param(
            7, "cxkpi state rebuild 3", {ONE: 7}, {ONE: Note("rebuild", 7, 3)}, id="of a rebuild"
        ),
    ],
)
async def test_offsets_and_notes_are_told_as_they_were_committed(
    offset: int,
    metadata: str,
    offsets: dict[TopicPartition, int],
    notes: dict[TopicPartition, Note],
) -> None:
    found = await said({ONE: OffsetAndMetadata(offset, metadata)})
    assert found == Committed(offsets, notes)
    for note in notes.values():
        assert await said({ONE: note.offset_and_metadata()}) == found


async def test_only_of_what_the_group_has_read_an_empty_state_is_a_lost_one() -> None:
    found = await said({ONE: OffsetAndMetadata(7, "")})
    refuse_read(found, "g", "g-state", [OTHER])
    with pytest.raises(StateRefused, match=r"partition 0 is empty, but group g has read .* to 7"):
        refuse_read(found, "g", "g-state", [OTHER, ONE])
    refuse_noted(found, "g")
    noted = await said({ONE: OffsetAndMetadata(7, "cxkpi state rebuild 3")})
    with pytest.raises(StateRefused, match="`cxkpi state rebuild` of group g was begun and not"):
        refuse_noted(noted, "g")


@pytest.mark.parametrize(
    ("request_ms", "session_ms", "seconds"),
    [(40_000, 10_000, 40.0), (10_000, 10_000, 25.0), (10_000, 60_000, 61.0)],
)
def test_a_coordinator_may_take_as_long_as_a_rebalance_to_answer(
    request_ms: int, session_ms: int, seconds: float
) -> None:
    kafka = KafkaConfig().model_copy(
        update={"request_timeout_ms": request_ms, "session_timeout_ms": session_ms}
    )
    assert answer_seconds(kafka) == seconds


class Committing:
    """A consumer that commits by hand, and fails by an error if there is one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.assigned: list[TopicPartition] = []
        self.taken: dict[TopicPartition, OffsetAndMetadata] = {}
        self.is_stopped = False

    async def start(self) -> None: ...

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if self.error is not None:
            raise self.error
        self.taken = offsets

    async def stop(self) -> None:
        self.is_stopped = True


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (None, None),
        (CommitFailedError(), GroupInUse),
        (KafkaConnectionError("gone"), BrokerUnreachable),
    ],
)
async def test_offsets_are_committed_for_a_group_without_members_alone(
    error: Exception | None,
    raised: type[Exception] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []
    consumer = Committing(error)

    def make(**options: Any) -> Committing:
        made.append(options)
        return consumer

    monkeypatch.setattr(group, "AIOKafkaConsumer", make)
    monkeypatch.setattr(group, "calm_reader", lambda _: None)
    await group.commit(KafkaConfig(), {})
    assert made == []
    offsets = {ONE: OffsetAndMetadata(7, "")}
    if raised is None:
        await group.commit(KafkaConfig(), offsets)
        assert consumer.taken == offsets
    else:
        with pytest.raises(raised):
            await group.commit(KafkaConfig(), offsets)
    assert consumer.assigned == [ONE]
    assert consumer.is_stopped
    assert (made[0]["group_id"], made[0]["enable_auto_commit"]) == (KafkaConfig().group, False)


# Readers without a group --------------------------------------------------------------------------


async def test_a_reader_without_a_group_reads_what_is_committed_and_commits_nothing() -> None:
    for reset in ("earliest", "none"):
        made: Any = reader(KafkaConfig(), 70, reset=cast("Any", reset))
        assert made._isolation_level == "read_committed"
        assert made._auto_offset_reset == reset
        assert made._enable_auto_commit is False
        assert made._fetch_max_wait_ms == 70
        assert made._group_id is None
        await made.stop()


@pytest.mark.parametrize(
    ("first", "position", "begins"), [(0, 0, 0), (0, 5, 5), (5, 0, 5), (5, -3, 5), (5, 9, 9)]
)
async def test_reading_begins_at_a_position_or_at_what_is_left(
    first: int, position: int, begins: int
) -> None:
    done: list[object] = []

    async def beginning_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        done.append("asked")
        return dict.fromkeys(partitions, first)

    consumer = SimpleNamespace(
        beginning_offsets=beginning_offsets,
        assign=done.append,
        seek=lambda tp, offset: done.append((tp, offset)),
    )
    await begin_at(cast("AIOKafkaConsumer", consumer), ONE, position)
    # Asked after the assignment, the answer would wait behind a fetch.
    assert done == ["asked", [ONE], (ONE, begins)]


def test_of_a_compacted_log_the_latest_value_of_each_key_is_left_and_none_of_what_is_gone() -> None:
    latest = {b"kept": b"1", b"gone": b"1"}
    written = [(b"gone", None), (b"new", b"1"), (None, b"no key"), (b"new", b"2"), (b"never", None)]
    fold(latest, [cast("Any", SimpleNamespace(key=key, value=value)) for key, value in written])
    assert latest == {b"kept": b"1", b"new": b"2"}
