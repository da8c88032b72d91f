"""What README.md says of the cost of an event is what was measured."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
RESULTS = (ROOT / "bench" / "results.md").read_text(encoding="utf-8")
#: What words like these can say: of all of them a claim has to be the nearest.
SAYABLE: Final = {
    *(Fraction(n, d) for d in range(2, 6) for n in range(1, d)),
    *(Fraction(1, n) for n in (*range(6, 13), *range(20, 101, 10))),
    *map(Fraction, range(1, 11)),
}


def cost(goal: str) -> float:
    """What the worker takes of what the other does: the median of the rounds."""
    found = re.search(
        rf"^\| {re.escape(goal)} \|[^|]*\| ([\d.]+) / ([\d.]+) / ", RESULTS, re.MULTILINE
    )
    assert found is not None, goal
    median = float(found[2])
    return 1 / median if goal.endswith("÷ worker") else median


def nearest(ratio: float) -> Fraction:
    """What one would say of a ratio."""
    return min(SAYABLE, key=lambda said: abs(math.log(said / ratio)))


@pytest.mark.parametrize(
    ("claim", "goal", "ratio"),
    [
        (
            "about an eightieth of stock Faust's CPU",
            "like for like: stock Faust ÷ worker",
            Fraction(1, 80),
        ),
        (
            "an eleventh of idiomatic Quix Streams'",
            "like for like: Quix Streams, idiomatic ÷ worker",
            Fraction(1, 11),
        ),
        (
            "three quarters of hand-batched Bytewax's",
            "like for like: Bytewax, hand-batched ÷ worker",
            Fraction(3, 4),
        ),
        (
            "four fifths of that of Kafka Streams' Processor API",
            "like for like: worker ÷ Kafka Streams Processor API, warm",
            Fraction(4, 5),
        ),
        (
            "about twice what fetching it from Kafka does",
            "everything on: worker ÷ raw fetch",
            Fraction(2),
        ),
    ],
)
def test_a_cost_in_words_is_the_nearest_to_the_median_of_the_rounds(
    claim: str, goal: str, ratio: Fraction
) -> None:
    assert claim in README
    assert nearest(cost(goal)) == ratio


@pytest.mark.parametrize(
    ("measured", "said"),
    [(1 / 1.36, Fraction(3, 4)), (0.68, Fraction(2, 3)), (1 / 74, Fraction(1, 70))],
)
def test_a_fraction_beside_the_nearest_is_not_taken(measured: float, said: Fraction) -> None:
    assert nearest(measured) == said
