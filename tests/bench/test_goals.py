"""Ratios are paired round by round, and a verdict follows from the figures alone."""

import math

import pytest

from bench.goals import Goal, of_curves, of_endurance, of_rounds, paired, spread
from bench.measured import Measurement


def runs(*costs: float) -> list[Measurement]:
    """Runs over a million events that cost so many CPU seconds."""
    return [Measurement(1_000_000, cost, cost, 100.0) for cost in costs]


def test_ratios_pair_the_runs_of_a_round() -> None:
    results = {"slow": runs(10, 40, 30), "fast": runs(1, 2, 3)}
    assert paired(results, "slow", "fast") == [10, 20, 10]


@pytest.mark.parametrize("results", [{}, {"slow": runs(1)}, {"slow": runs(1), "fast": []}])
def test_what_was_not_measured_has_no_ratio(results: dict[str, list[Measurement]]) -> None:
    assert paired(results, "slow", "fast") == []


@pytest.mark.parametrize("fast", [(1, 2), (1, 2, 3, 4)])
def test_runs_of_which_nobody_knows_the_rounds_are_not_paired(fast: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        paired({"slow": runs(10, 40, 30), "fast": runs(*fast)}, "slow", "fast")


def test_costs_are_compared_per_event() -> None:
    few = [Measurement(1_000, 1.0, 1.0, 1.0)]
    assert math.isclose(paired({"few": few, "many": runs(10)}, "few", "many")[0], 100)


@pytest.mark.parametrize(
    ("sense", "values", "verdict"),
    [
        ("at least", [3.0], "reached"),
        ("at least", [2.9], "not reached"),
        ("at most", [3.0], "reached"),
        ("at most", [3.1], "not reached"),
        ("at least", [1.0, 3.0, 9.0], "reached"),
        ("at least", [1.0, 2.9, 9.0], "not reached"),
        ("at most", [1.0, 3.1, 3.2], "not reached"),
        ("at least", [], "not measured"),
    ],
)
def test_the_median_is_judged_and_the_bound_belongs_to_the_goal(
    sense: str, values: list[float], verdict: str
) -> None:
    goal = Goal("a figure", "at least" if sense == "at least" else "at most", 3.0, values)
    assert goal.verdict == verdict


def test_a_spread_is_least_median_most() -> None:
    assert spread([3, 1, 2], ".0f") == "1 / 2 / 3"
    assert spread([3], ".0f") == "3"


def verdicts(results: dict[str, list[Measurement]]) -> dict[str, str]:
    return {goal.text: goal.verdict for goal in of_rounds(results)}


def test_nothing_is_reached_where_nothing_was_measured() -> None:
    assert set(verdicts({}).values()) == {"not measured"}


def test_a_peer_that_is_cheap_enough_turns_a_verdict() -> None:
    slow = verdicts({"worker-nps": runs(2), "faust": runs(81), "fetch-nps": runs(1)})
    fast = verdicts({"worker-nps": runs(2), "faust": runs(79), "fetch-nps": runs(0.7)})
    faust = next(text for text in slow if "stock Faust" in text)
    fetch = next(text for text in slow if "raw fetch ÷ worker" in text)
    assert (slow[faust], slow[fetch]) == ("reached", "reached")
    assert (fast[faust], fast[fetch]) == ("not reached", "not reached")


def test_a_worker_over_the_limit_of_the_raw_fetch_is_told() -> None:
    text = "everything on: worker ÷ raw fetch"
    assert verdicts({"worker": runs(5), "fetch": runs(2)})[text] == "reached"
    assert verdicts({"worker": runs(5.1), "fetch": runs(2)})[text] == "not reached"


def test_a_curve_is_flat_if_its_points_are_alike_in_a_round() -> None:
    # Rounds differ by a factor of two, points of a round do not.
    (flat,) = of_curves({"windows": [("1", [1.0, 2.0]), ("6", [1.1, 2.2])]})
    (steep,) = of_curves({"windows": [("1", [1.0, 2.0]), ("6", [1.5, 3.0])]})
    assert (flat.verdict, steep.verdict) == ("reached", "not reached")


def row(days: float, rss: float, log: float) -> dict[str, float]:
    return {"days": days, "rss_mib": rss, "log_mib": log}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([row(3, 10, 1), row(22, 100, 10), row(40, 105, 10.5)], ["reached", "reached"]),
        ([row(22, 100, 10), row(40, 120, 10)], ["not reached", "reached"]),
        ([row(22, 100, 10), row(40, 100, 12)], ["reached", "not reached"]),
        # Memory swings within a week: the most of each half is compared.
        ([row(22, 100, 10), row(27, 130, 10), row(36, 131, 10)], ["reached", "reached"]),
        ([row(22, 100, 10), row(34, 100, 10)], ["not measured", "not measured"]),
        ([row(3, 10, 1), row(15, 100, 10)], ["not measured", "not measured"]),
    ],
)
def test_memory_is_judged_once_everything_has_expired(
    rows: list[dict[str, float]], wanted: list[str]
) -> None:
    goals = of_endurance({"rows": rows, "recovery": {"seconds": 11}})
    assert [g.verdict for g in goals] == [*wanted, "not reached"]
