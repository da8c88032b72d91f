"""The merge shows totals or nothing while shards change hands, and its cases find its mistakes."""

from __future__ import annotations

import pytest

from tests.faults.merging import findings
from tests.faults.mutating import made
from tests.faults.mutations import MUTATIONS, Mutation
from tests.faults.verdict import FALLEN_APART

SEEDS = (1, 2)


def test_what_an_owner_shows_is_a_total_while_shards_change_hands() -> None:
    assert findings(SEEDS) == []


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.case == "merge"], ids=lambda m: m.name
)
def test_a_mistake_in_the_merge_is_found(mutation: Mutation) -> None:
    with made(mutation):
        assert is_wrong()


def is_wrong() -> bool:
    try:
        return bool(findings(SEEDS))
    except FALLEN_APART:
        return True  # What a worker would show then falls apart.
