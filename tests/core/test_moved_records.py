"""What has left a block of the state stays out of it, whatever is deleted before it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core import buckets, memory, state
from stream.core.memory import Memory, Record
from stream.core.settings import HOUR, MINUTE, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.reference.streams import NOON, text

#: (what happens, to which subscription, after how many hours, what becomes of the worker then)
Step = tuple[str, str, int, str]

#: So long that all blocks are written, of which each flush writes one.
_QUIET: list[Step] = [("renewed", "c", 0, "flush")] * 14
_STARTED: list[Step] = [*(("started", who, 0, "flush") for who in "abc"), *_QUIET]
_CANCELLED: list[Step] = [*_STARTED, ("cancelled", "a", 0, "flush")]
#: The bucket that a cancelled subscription went to is over.
_OVER = 15 * 24


class _Worker:
    """A shard and its log, of which only what was flushed outlasts it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.records: dict[bytes, bytes] = {}
        self.start()

    def start(self) -> None:
        """Begin with what the log holds."""
        self.shard, self._log = self.recovered()

    def recovered(self) -> tuple[Shard, StateLog]:
        shard = Shard(self._settings, Values(self._settings))
        log = StateLog(shard)
        log.recover(self.records)
        return shard, log

    def flush(self, at: int) -> None:
        self.shard.advance(at)
        for key, value in self._log.flush(at):
            self.records.pop(key, None)
            if value is not None:
                self.records[key] = value


def _remembered(shard: Shard) -> dict[int, Record]:
    """The subscriptions that are to be remembered; others may wait for their turn to go."""
    (store,) = (s for s in shard.stores() if s.name == "subscriptions")
    assert isinstance(store, Memory)
    over = shard.progress.now - 2 * shard.settings.memory_ms - 10 * MINUTE
    return {key: record for key, record in store.items() if record[0] >= over}


@pytest.fixture(autouse=True)
def tiny() -> Iterator[None]:
    """A bucket has two records, and a flush writes a single block."""
    with (
        mock.patch.object(buckets, "BUCKET_RECORDS", 2),
        mock.patch.object(buckets, "_FEW", 0),
        mock.patch.object(memory, "PART_RECORDS", 2),
        mock.patch.multiple(state, BLOCK_BUDGET=1, BLOCK_COST=0, EXPIRE_MS=0),
    ):
        yield


_step = st.tuples(
    st.sampled_from(("started", "cancelled", "renewed")),
    st.sampled_from("abcdef"),
    st.sampled_from((0, 0, 1, 24, 7 * 24, _OVER)),
    st.sampled_from(("", "flush", "flush", "restart")),
)


@example([*_CANCELLED, ("renewed", "c", _OVER, "flush")], None)
@example(
    [*_CANCELLED, ("renewed", "c", 0, "restart"), *_QUIET, ("renewed", "c", _OVER, ""), *_QUIET],
    None,
)
@example([*_STARTED, ("cancelled", "a", 0, ""), ("started", "d", 0, "flush")], 3)
@given(st.lists(_step, max_size=30), st.sampled_from((None, 2, 3, 5)))
def test_what_a_restart_remembers_is_what_was_remembered(
    steps: Sequence[Step], limit: int | None
) -> None:
    worker = _Worker(_settings(limit))
    for at, then in _worked(worker, steps):
        if then:
            worker.flush(at)
            assert _remembered(worker.recovered()[0]) == _remembered(worker.shard)
        if then == "restart":
            worker.start()


def _settings(limit: int | None) -> Settings:
    return Settings() if limit is None else replace(Settings(), max_remembered=limit)


def _worked(worker: _Worker, steps: Sequence[Step]) -> Iterator[tuple[int, str]]:
    """Take the steps, and say after each when it was and what becomes of the worker."""
    at = NOON
    for number, (kind, who, hours, then) in enumerate(steps):
        at += hours * HOUR + MINUTE
        event = {
            "event_id": f"e{number}",
            "type": f"subscription.{kind}",
            "occurred_at": text(at),
            "subscription_id": who,
        }
        worker.shard.ingest("cx.subscription", [json.dumps(event).encode()], at)
        yield at, then


@given(st.lists(_step, max_size=40), st.sampled_from((2, 3, 4, 5)), st.sampled_from((2, 4)))
def test_what_the_limit_forgets_after_restarts_is_what_it_forgets_without(
    steps: Sequence[Step], limit: int, records: int
) -> None:
    with mock.patch.object(buckets, "BUCKET_RECORDS", records):
        restarted, lasting = _Worker(_settings(limit)), _Worker(_settings(limit))
        both = zip(_worked(restarted, steps), _worked(lasting, steps), strict=True)
        for (at, then), _ in both:
            if then:
                restarted.flush(at)
                lasting.flush(at)
                assert _remembered(restarted.shard) == _remembered(lasting.shard)
                assert restarted.shard.forgotten() == lasting.shard.forgotten()
            if then == "restart":
                restarted.start()
