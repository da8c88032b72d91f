"""Rounds are interleaved, and a subject that fails is left out without stopping the others."""

import pytest

from bench.__main__ import _interleaved
from bench.measured import Failed, Measurement, Subject
from bench.subjects import NAMES, TABLES, size_of


class Recorded:
    """Subjects that note when they run."""

    def __init__(self) -> None:
        self.order: list[tuple[int, str]] = []

    def subject(self, name: str, fails_in: int | None = None) -> Subject:
        def measure(turn: int) -> Measurement:
            self.order.append((turn, name))
            if turn == fails_in:
                raise Failed("counted wrong")
            return Measurement(1, 1.0, 1.0, 1.0)

        return Subject(name, "like for like", "", measure)


def test_each_round_runs_all_and_begins_with_another_one() -> None:
    recorded = Recorded()
    _interleaved([recorded.subject(n) for n in "abc"], 3)
    assert recorded.order == [
        (0, "a"), (0, "b"), (0, "c"),
        (1, "b"), (1, "c"), (1, "a"),
        (2, "c"), (2, "a"), (2, "b"),
    ]  # fmt: skip


def test_one_that_fails_has_no_result_even_of_the_rounds_before() -> None:
    recorded = Recorded()
    chosen = [recorded.subject("a"), recorded.subject("b", fails_in=1)]
    results, failures = _interleaved(chosen, 3)
    assert (len(results["a"]), results["b"]) == (3, [])
    assert failures == {"b": "counted wrong"}
    assert (2, "b") not in recorded.order


@pytest.mark.parametrize("name", NAMES)
def test_only_slow_subjects_read_fewer_records(name: str) -> None:
    whole = size_of(name, 1_000_000) == 1_000_000
    assert whole is not name.startswith(("quix", "faust"))


def test_what_is_compared_stands_in_one_table() -> None:
    assert {TABLES[n] for n in NAMES} == {"everything on", "like for like"}
