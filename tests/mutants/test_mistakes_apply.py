"""Each mistake still finds the source that it changes, and what it makes of it is Python."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.mistakes import MISTAKES, DoesNotApply, Mistake, changed

CORE = Path(__file__).parents[2] / "stream" / "core"


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
def test_a_mistake_changes_one_place(mistake: Mistake) -> None:
    source = (CORE / mistake.file).read_text()
    mutant = changed(mistake, source)
    assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(source))


def test_a_mistake_that_does_not_apply_is_an_error() -> None:
    with pytest.raises(DoesNotApply, match="has it 0×"):
        changed(Mistake("gone", "settings.py", "no such source", "", "none"), "x = 1")


def test_names_of_mistakes_are_their_own() -> None:
    assert len({m.name for m in MISTAKES}) == len(MISTAKES) >= 40
    assert all(m.harm and m.old != m.new for m in MISTAKES)
