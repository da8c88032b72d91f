"""A state log that is damaged or cut off is refused, with what to do, and never read as nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream.core import state
from stream.core.shard import Shard
from stream.core.state import StateLog, StateRefused
from stream.core.values import Values
from tests.faults.crashes import LIVES, START, history, settings
from tests.faults.mutations import MUTATIONS, Mutation, made

Log = dict[bytes, bytes]


def written() -> Log:
    """A log of several flushes, whose blocks wait."""
    shard = Shard(settings(), Values(settings()))
    log = StateLog(shard)
    found: dict[bytes, bytes | None] = {}
    records = history(LIVES["hours"], 1)
    for number, first in enumerate(range(0, 1_000, 100)):
        for at, topic, _, value in records[first : first + 100]:
            shard.ingest(topic, [value], at)
        found.update(log.flush(START + number * 60_000))
    return {key: value for key, value in found.items() if value is not None}


def deltas(log: Log) -> list[bytes]:
    return sorted((k for k in log if k.startswith(b"delta/")), key=lambda k: int(k[6:]))


def without_header(log: Log) -> None:
    del log[b"header"]


def without_the_deltas(log: Log) -> None:
    for key in deltas(log):
        del log[key]


def without_a_delta(log: Log) -> None:
    del log[deltas(log)[-2]]


def with_a_record_cut_off(log: Log) -> None:
    log[deltas(log)[-1]] = log[deltas(log)[-1]][:20]


def with_a_block_of_noise(log: Log) -> None:
    key = next(k for k in log if k.startswith(b"block/panes"))
    log[key] = b"\x00" * 50


def of_another_format(log: Log) -> None:
    number, *rest = state._unpack(log[b"header"])
    log[b"header"] = state._pack([number + 1, *rest])


DAMAGES = (
    of_another_format,
    without_header,
    without_the_deltas,
    without_a_delta,
    with_a_record_cut_off,
    with_a_block_of_noise,
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.core.state.BLOCK_BUDGET", 1)


def is_refused(damage: Callable[[Log], None]) -> bool:
    log = written()
    damage(log)
    try:
        StateLog(Shard(settings(), Values(settings()))).recover(log)
    except StateRefused:
        return True
    return False


def test_a_log_that_is_whole_is_not_refused() -> None:
    log = written()
    assert len(deltas(log)) > 3
    StateLog(Shard(settings(), Values(settings()))).recover(log)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_log_is_refused(damage: Callable[[Log], None]) -> None:
    assert is_refused(damage)


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.case == "damage"], ids=lambda m: m.name
)
def test_a_mistake_in_the_checks_is_found(mutation: Mutation) -> None:
    with made(mutation):
        assert not all(is_refused(damage) for damage in DAMAGES)
