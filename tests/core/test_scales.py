"""On which side of a threshold a score is, on scales that begin and end anywhere."""

from __future__ import annotations

import pytest

from stream.core.topics.survey.opinions import VERDICTS, judge

PROMOTER = ("nps_answers", "nps_promoters")
PASSIVE = ("nps_answers",)
DETRACTOR = ("nps_answers", "nps_detractors")


@pytest.mark.parametrize(
    ("score", "low", "high", "verdict"),
    [
        (9, 0, 10, PROMOTER),
        (8.99, 0, 10, PASSIVE),
        (7, 0, 10, PASSIVE),
        (6.99, 0, 10, DETRACTOR),
        # The share is of the greatest score, wherever the scale begins.
        (9.9, 1, 11, PROMOTER),
        (9.89, 1, 11, PASSIVE),
        (7.7, 1, 11, PASSIVE),
        (7.69, 1, 11, DETRACTOR),
        (4.5, 1, 5, PROMOTER),
        (3.5, 1, 5, PASSIVE),
        (90, 0, 100, PROMOTER),
        (69.99, 0, 100, DETRACTOR),
    ],
)
def test_promoters_begin_at_nine_of_ten_and_detractors_end_below_seven(
    score: float, low: float, high: float, verdict: tuple[str, ...]
) -> None:
    assert VERDICTS[judge("nps", score, low, high)[0]] == verdict


@pytest.mark.parametrize("survey", ["csat", "css"])
@pytest.mark.parametrize(
    ("score", "low", "high", "satisfied"),
    [
        (4, 1, 5, True),
        (3.99, 1, 5, False),
        (75, 0, 100, True),
        (74.99, 0, 100, False),
        (2.75, 0.5, 3.5, True),
        (2.74, 0.5, 3.5, False),
        (-1, -4, 0, True),
    ],
)
def test_an_answer_is_satisfied_from_three_quarters_of_its_scale_on(
    survey: str, score: float, low: float, high: float, satisfied: bool
) -> None:
    verdict = VERDICTS[judge(survey, score, low, high)[0]]
    assert (f"{survey}_satisfied" in verdict) is satisfied


@pytest.mark.parametrize(
    ("score", "low", "high", "easy", "effort"),
    [
        (5, 1, 7, True, 5.0),
        (4.99, 1, 7, False, 4.99),
        (2.5, 0.5, 3.5, True, 5.0),
        (1, 1, 7, False, 1.0),
        (100, 0, 100, True, 7.0),
        (50, 0, 100, False, 4.0),
    ],
)
def test_effort_is_mapped_onto_one_to_seven_and_is_easy_from_five_on(
    score: float, low: float, high: float, easy: bool, effort: float
) -> None:
    verdict, found = judge("ces", score, low, high)
    assert ("ces_satisfied" in VERDICTS[verdict]) is easy
    assert found == round(effort * 10**9)
