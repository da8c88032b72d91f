"""What an answer says, and what that adds to the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple, TypeVar

from stream.core.formulas import FIXED, fixed
from stream.core.settings import Settings
from stream.core.topics.survey.events import Answer

#: Surveys of a share of satisfied answers: satisfied and all answers are counted per kind.
RATIO_KINDS = ("csat", "css", "ces")
# On 1–5 a score of 4 is ¾ of the way, on 1–7 one of 5 is ⅔; multiplied, so nothing is divided.
_TOP = {"csat": (4, 3), "css": (4, 3), "ces": (3, 2)}
#: So many times the score, beside so many times the span of the scale, decide on a verdict.
_BORDERS: Final = {"nps": ((10, 9), (10, 7)), **{kind: (top,) for kind, top in _TOP.items()}}
#: What floats say is certain where the sides differ by more than this share of the numbers, which
#: are wrong by some 10⁻¹⁵ of themselves, or of this where they are smaller.
_CLOSE: Final = 1e-9
_LEAST: Final = 1e-290
#: Where a scale's limits are so many times farther from 0 than from each other, floats lose digits
#: that fixed point has.
_FAR: Final = 1e5

#: What a score can say: the counters that it adds one to.
VERDICTS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("nps_answers",),
    ("nps_answers", "nps_promoters"),
    ("nps_answers", "nps_detractors"),
    *((f"{kind}_answers",) for kind in RATIO_KINDS),
    *((f"{kind}_answers", f"{kind}_satisfied") for kind in RATIO_KINDS),
)
_NUMBER_OF: Final = {verdict: number for number, verdict in enumerate(VERDICTS)}
#: The sentiment of an answer that carries none; none is beyond ±10⁹.
NO_SENTIMENT: Final = -(1 << 31)

_Number = TypeVar("_Number", float, Fraction)


class Opinion(NamedTuple):
    """All that decides what an answer without emotions adds.

    ``verdict``: the number of one of ``VERDICTS``; the sentiment, or ``NO_SENTIMENT``, and the
    effort in fixed point.
    """

    verdict: int = 0
    sentiment: int = NO_SENTIMENT
    effort: int = 0


def judge(survey: str, score: float, low: float, high: float) -> tuple[int, int]:
    """The number of the verdict and the effort in fixed point that a score stands for.

    Numbers count as the decimals that were sent, the shortest ones that mean these floats: 0.18 of
    0.2 is exactly nine tenths.
    """
    effort = _effort(score, low, high) if survey == "ces" else 0
    if _is_close(survey, score, low, high):
        return _verdict(survey, *(Fraction(repr(number)) for number in (score, low, high))), effort
    return _verdict(survey, score, low, high), effort


def _effort(score: float, low: float, high: float) -> int:
    """How easy it was, from 1 to 7, in fixed point."""
    if _is_far(low, high):
        return round((1 + 6 * _share(score, low, high)) * FIXED)
    return fixed(1 + 6 * (score - low) / (high - low))


def _on_ten(intensity: float, low: float, high: float) -> int:
    """How strong an emotion is, from 0 to 10, in fixed point."""
    if _is_far(low, high):
        return round(10 * _share(intensity, low, high) * FIXED)
    return fixed(10 * (intensity - low) / (high - low))


def _is_far(low: float, high: float) -> bool:
    """Whether a scale is so far from 0 that the differences of floats have too few digits."""
    return max(abs(low), abs(high)) > _FAR * (high - low)


def _share(score: float, low: float, high: float) -> Decimal:
    """How far up its scale a score is.

    Numbers that are so close have differences of fewer digits than decimals keep.
    """
    least, most = (Decimal(repr(number)) for number in (low, high))
    return (Decimal(repr(score)) - least) / (most - least)


def _is_close(survey: str, score: float, low: float, high: float) -> bool:
    """Whether floats can't tell on which side of a border a score is."""
    if float(score).is_integer() and float(low).is_integer() and float(high).is_integer():
        return False  # Then nothing is rounded.
    least = 0 if survey == "nps" else low
    close = _CLOSE * max(abs(score), abs(low), abs(high), _LEAST)
    return any(
        abs(of * (score - least) - needed * (high - least)) <= close
        for of, needed in _BORDERS[survey]
    )


def _verdict(survey: str, score: _Number, low: _Number, high: _Number) -> int:
    """The number of the verdict, as exact as the numbers are."""
    if survey == "nps":
        nps: tuple[str, ...] = ("nps_answers",)
        if 10 * score >= 9 * high:
            nps += ("nps_promoters",)
        elif 10 * score < 7 * high:
            nps += ("nps_detractors",)
        return _NUMBER_OF[nps]
    of, needed = _TOP[survey]
    said: tuple[str, ...] = (f"{survey}_answers",)
    if of * (score - low) >= needed * (high - low):
        said += (f"{survey}_satisfied",)
    return _NUMBER_OF[said]


def opinion_of(answer: Answer) -> Opinion:
    """What an answer without emotions says."""
    verdict, effort = judge(answer.survey, answer.score or 0.0, *answer.limits())
    sentiment = NO_SENTIMENT if answer.sentiment is None else fixed(answer.sentiment)
    return Opinion(verdict, sentiment, effort)


def count_opinion(opinion: Opinion) -> Iterator[tuple[str, int]]:
    """What an answer without emotions adds."""
    if opinion.sentiment != NO_SENTIMENT:
        yield "sentiments", 1
        yield "sentiment_sum", opinion.sentiment
    for name in VERDICTS[opinion.verdict]:
        yield name, 1
    yield "ces_sum", opinion.effort


def count_emotions(answer: Answer, settings: Settings) -> Iterator[tuple[str, int]]:
    """What an answer with emotions adds."""
    if answer.sentiment is not None:
        yield "sentiments", 1
        yield "sentiment_sum", fixed(answer.sentiment)
    low, high = answer.limits()
    # Summed up, since it is remembered: one emotion can be written in thousands of ways.
    counts: Counter[str] = Counter()
    for name, intensity in answer.intensities().items():
        folded = name.casefold()
        if folded in settings.positive_emotions:
            counts["emotions_positive"] += 1
            counts["emotions_positive_sum"] += _on_ten(intensity, low, high)
        elif folded in settings.negative_emotions:
            counts["emotions_negative"] += 1
            counts["emotions_negative_sum"] += _on_ten(intensity, low, high)
    yield from counts.items()
