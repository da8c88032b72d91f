"""What README.md says of the cost of an event is what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
RESULTS = (ROOT / "bench" / "results.md").read_text(encoding="utf-8")
#: A figure in words is "about" one that is this near.
NEAR = 0.15


def median(goal: str) -> float:
    """The median of a ratio in the table of goals."""
    found = re.search(
        rf"^\| {re.escape(goal)} \|[^|]*\| ([\d.]+) / ([\d.]+) / ", RESULTS, re.MULTILINE
    )
    assert found is not None, goal
    return float(found[2])


@pytest.mark.parametrize(
    ("claim", "goal", "ratio"),
    [
        ("about an eightieth of stock Faust's CPU", "like for like: stock Faust ÷ worker", 80),
        (
            "an eleventh of idiomatic Quix Streams'",
            "like for like: Quix Streams, idiomatic ÷ worker",
            11,
        ),
        (
            "two thirds of hand-batched Bytewax's",
            "like for like: Bytewax, hand-batched ÷ worker",
            3 / 2,
        ),
        (
            "four fifths of that of Kafka Streams' Processor API",
            "like for like: worker ÷ Kafka Streams Processor API, warm",
            4 / 5,
        ),
        (
            "about twice what fetching it from Kafka does",
            "everything on: worker ÷ raw fetch",
            2,
        ),
    ],
)
def test_a_cost_in_words_is_near_the_median_of_the_rounds(
    claim: str, goal: str, ratio: float
) -> None:
    assert claim in README
    assert median(goal) == pytest.approx(ratio, rel=NEAR)
