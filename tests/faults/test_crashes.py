"""A state log that is cut off at any flush gives back what was counted and remembered."""

from __future__ import annotations

import pytest

from stream.core.settings import HOUR, MINUTE
from tests.faults.crashes import LIVES, Life, run
from tests.faults.mutating import made
from tests.faults.mutations import MUTATIONS, Mutation

OF_THE_LOG = [m for m in MUTATIONS if m.case == "log"]
#: (life, seed): seeds differ in where crashes fall and in how many blocks go with a flush.
RUNS = [("hours", 1), ("weeks", 5), ("hours", 5)]
#: Nearly every mistake shows within an hour.
QUICKEST_FIRST = [(Life(HOUR, 0.25, MINUTE), seed) for seed in (1, 5, 7)] + [
    (LIVES[life], seed) for life, seed in RUNS
]


@pytest.mark.parametrize(("life", "seed"), RUNS)
def test_a_shard_that_crashes_at_any_flush_counts_and_remembers_everything_once(
    life: str, seed: int
) -> None:
    crashes = run(LIVES[life], seed)
    assert crashes.findings == []
    assert crashes.lost > 5
    assert crashes.kept > 5


@pytest.mark.parametrize("mutation", OF_THE_LOG, ids=lambda m: m.name)
def test_a_mistake_in_the_log_is_found(mutation: Mutation) -> None:
    with made(mutation):
        assert any(run(life, seed).findings for life, seed in QUICKEST_FIRST)
