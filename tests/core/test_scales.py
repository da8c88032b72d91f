"""On which side of a threshold a score is, on scales that begin and end anywhere."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.settings import Settings
from stream.core.topics.survey.events import Scale, SurveyResponded
from stream.core.topics.survey.opinions import VERDICTS, count_emotions, judge

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
        # Decimals count as they were sent, not as the nearest binary fractions.
        (0.18, 0, 0.2, PROMOTER),
        (0.14, 0, 0.2, PASSIVE),
        (0.63, 0.1, 0.7, PROMOTER),
        (0.49, 0.1, 0.7, PASSIVE),
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
        (0.6, 0, 0.8, True),
        (0.59, 0, 0.8, False),
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
        (0.6, 0, 0.9, True, 5.0),
        (26868661103.7, 26868661103.5, 26868661103.8, True, 5.0),
    ],
)
def test_effort_is_mapped_onto_one_to_seven_and_is_easy_from_five_on(
    score: float, low: float, high: float, easy: bool, effort: float
) -> None:
    verdict, found = judge("ces", score, low, high)
    assert ("ces_satisfied" in VERDICTS[verdict]) is easy
    assert found == round(effort * 10**9)


@pytest.mark.parametrize(
    ("intensity", "low", "high", "on_ten"),
    [
        (5, 0, 10, 5),
        (3, 1, 5, 5),
        (1_000_000.15, 1_000_000.1, 1_000_000.2, 5),
        (1_000_000_000.15, 1_000_000_000.1, 1_000_000_000.2, 5),
        (999_999_999_999.2, 999_999_999_999.1, 999_999_999_999.3, 5),
        (-1_000_000_000.1, -1_000_000_000.4, -1_000_000_000, Fraction(15, 2)),
    ],
)
def test_the_intensity_of_an_emotion_is_mapped_onto_ten(
    intensity: float, low: float, high: float, on_ten: Fraction
) -> None:
    answer = SurveyResponded(
        event_id="a",
        occurred_at="2026-03-02T12:00:00Z",
        response_id="a",
        survey="emotion",
        scale=Scale(low, high),
        emotions=msgspec.Raw(msgspec.json.encode({"happy": intensity})),
    )
    counted = dict(count_emotions(answer, Settings()))
    assert counted == {"emotions_positive": 1, "emotions_positive_sum": on_ten * 10**9}


#: From which share of the scale on an answer adds to a counter; detractors are below theirs.
BORDERS = {
    "nps_promoters": ("nps", Fraction(9, 10)),
    "nps_detractors": ("nps", Fraction(7, 10)),
    "csat_satisfied": ("csat", Fraction(3, 4)),
    "css_satisfied": ("css", Fraction(3, 4)),
    "ces_satisfied": ("ces", Fraction(2, 3)),
}


@pytest.mark.parametrize("counter", BORDERS)
@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 15),
    st.integers(-(10**6), 10**6),
    st.integers(1, 10**5),
    st.integers(-2, 2) | st.integers(-(10**6), 10**6),
)
@example(digits=2, low=0, span=20, beside=0)
@example(digits=1, low=0, span=9, beside=0)
@example(digits=1, low=0, span=8, beside=0)
@example(digits=9, low=10**6, span=60, beside=-1)
def test_a_score_beside_a_border_is_on_the_side_that_its_decimals_are(
    counter: str, digits: int, low: int, span: int, beside: int
) -> None:
    survey, share = BORDERS[counter]
    if survey == "nps":
        low = abs(low)
    high = low + span
    border = share * high if survey == "nps" else low + share * span
    score = max(low, min(high, round(border) + beside))
    sent = (float(f"{number}e-{digits}") for number in (score, low, high))
    verdict, _ = judge(survey, *sent)
    is_above = score >= border
    assert (counter in VERDICTS[verdict]) is (is_above is not counter.endswith("detractors"))
