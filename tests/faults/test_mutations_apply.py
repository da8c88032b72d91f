"""Each mutation still finds the source that it changes."""

from __future__ import annotations

import pytest

from tests.faults.mutating import apply, made
from tests.faults.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mutation_changes_the_code_of_its_function_and_takes_it_back(mutation: Mutation) -> None:
    function, former = apply(mutation)
    changed = function.__code__
    function.__code__ = former
    assert changed != former
    with made(mutation):
        assert function.__code__ == changed
    assert function.__code__ is former


def test_names_of_mutations_are_their_own() -> None:
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS) >= 15
