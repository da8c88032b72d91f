"""A state log that is damaged or cut off is refused, with what to do, and never read as nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.faults.crashes import settings
from tests.faults.damage import DAMAGES, Log, deltas, fate, findings, written
from tests.faults.mutating import made
from tests.faults.mutations import MUTATIONS, Mutation


def test_a_log_that_is_whole_is_not_refused() -> None:
    log = written()
    assert len(deltas(log)) > 3
    StateLog(Shard(settings(), Values(settings()))).recover(log)


def test_a_log_that_falls_apart_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def falling(_: StateLog, log: Log) -> None:
        raise IndexError(len(log))

    monkeypatch.setattr(StateLog, "recover", falling)
    found = findings()
    assert len(found) == len(DAMAGES)
    assert all("falls apart: IndexError" in finding for finding in found)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_log_is_refused(damage: Callable[[Log], None]) -> None:
    assert fate(damage, written()) == "is refused"


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.case == "damage"], ids=lambda m: m.name
)
def test_a_mistake_in_the_checks_is_found(mutation: Mutation) -> None:
    with made(mutation):
        assert findings()
