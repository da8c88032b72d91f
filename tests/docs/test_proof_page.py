"""The figures of docs/proof.md that follow from the tests are theirs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants.mistakes import MISTAKES
from tests.reference.reach import WANTED

PAGE = " ".join(
    (Path(__file__).parents[2] / "docs" / "proof.md").read_text(encoding="utf-8").split()
)


@pytest.mark.parametrize(
    ("what", "there_are"),
    [("situations", sum(map(len, WANTED.values()))), ("mistakes as data", len(MISTAKES))],
)
def test_as_many_are_told_of_as_there_are(what: str, there_are: int) -> None:
    assert [int(number) for number in re.findall(rf"(\d+) {what}", PAGE)] == [there_are]


def test_the_situations_that_are_named_are_wanted() -> None:
    named = re.findall(r'"(\w+): ([^"]+)"', PAGE)
    assert len(named) >= 2
    assert [what for kind, what in named if what not in WANTED[kind]] == []
