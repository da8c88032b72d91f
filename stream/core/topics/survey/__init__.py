"""Surveys: NPS, CSAT, CES, CSS, NEV and the sentiment of answers."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream.core.bounds import WILSON, net_score
from stream.core.formulas import FIXED, divided, sum_of, times
from stream.core.kpi import Column, Columns, Counter, Kpi, Meaning, Move, Term
from stream.core.meanings import survey as meanings
from stream.core.topic import Topic
from stream.core.topics.survey.answers import Answers
from stream.core.topics.survey.opinions import RATIO_KINDS
from stream.core.topics.survey.rules import TYPES

NAME = "cx.survey"

_GOOD = {"csat": "satisfied", "css": "satisfied", "ces": "easy"}


def _satisfaction(
    kind: str, gauge: str, title: str, text: str, satisfied: str, source: str, meaning: Meaning
) -> Kpi:
    return Kpi(
        id=kind,
        gauge=gauge,
        title=title,
        help=text,
        formula=f"{satisfied} / answers",
        terms=(Term(satisfied, f"{kind}_satisfied"), Term("answers", f"{kind}_answers")),
        unit="ratio",
        source=source,
        good="up",
        meaning=meaning,
        numerator=sum_of(f"{kind}_satisfied"),
        denominator=sum_of(f"{kind}_answers"),
        bounds=WILSON,
        highest=1.0,
        moves=(
            Move(
                f"{satisfied} answer",
                f"{satisfied} answers",
                (f"{kind}_answers", f"{kind}_satisfied"),
            ),
            Move(
                f"answer that is not {satisfied}",
                f"answers that are not {satisfied}",
                (f"{kind}_answers",),
            ),
        ),
    )


def _sum(name: str, says: str) -> Counter:
    """Numbers of answers in fixed point: hundreds of millions of answers pass what 62 bits hold."""
    return Counter(name, says, scale=FIXED, wide=True, wide_since=2)


def _nev(c: Columns) -> Column:
    positives, negatives = c["emotions_positive"], c["emotions_negative"]
    # Over a denominator that both have, so that the difference is not of rounded means.
    positive = times(c["emotions_positive_sum"], negatives)
    negative = times(c["emotions_negative_sum"], positives)
    both = np.where((positives > 0) & (negatives > 0), times(positives, negatives), 0)
    return divided(positive - negative, times(both, FIXED))


_TOP_TWO_BOX: Final = (
    'N. A. Morgan and L. L. Rego, "The Value of Different Customer Satisfaction and Loyalty Metrics'
    ' in Predicting Business Performance", Marketing Science 25 (2006): the top-two-box score.'
)
_EFFORT: Final = (
    'M. Dixon, K. Freeman and N. Toman, "Stop Trying to Delight Your Customers", Harvard Business'
    ' Review (July 2010); the scale of agreement from M. Dixon, N. Toman and R. DeLisi, "The'
    ' Effortless Experience" (2013).'
)

TOPIC = Topic(
    name=NAME,
    title="Surveys",
    types=TYPES,
    keeper=Answers,
    counters=(
        Counter("nps_answers", "Answers to NPS surveys"),
        Counter("nps_promoters", "NPS answers of at least 9 of 10"),
        Counter("nps_detractors", "NPS answers below 7 of 10"),
        *(Counter(f"{k}_answers", f"Answers to {k} surveys") for k in RATIO_KINDS),
        *(
            Counter(f"{k}_satisfied", f"Answers to {k} surveys that are {_GOOD[k]}")
            for k in RATIO_KINDS
        ),
        _sum("ces_sum", "Effort scores on 1 to 7, added up"),
        Counter("emotions_positive", "Positive emotions named"),
        _sum("emotions_positive_sum", "Intensities of positive emotions on 0 to 10, added up"),
        Counter("emotions_negative", "Negative emotions named"),
        _sum("emotions_negative_sum", "Intensities of negative emotions on 0 to 10, added up"),
        Counter("sentiments", "Answers and closed tickets that carry a sentiment"),
        _sum("sentiment_sum", "Sentiments of answers and closed tickets, added up"),
    ),
    kpis=(
        Kpi(
            id="nps",
            gauge="cx_nps",
            title="Net promoter score",
            help="Promoters minus detractors per 100 answers.",
            formula="100 · (promoters − detractors) / answers",
            terms=(
                Term("promoters", "nps_promoters"),
                Term("detractors", "nps_detractors"),
                Term("answers", "nps_answers"),
            ),
            unit="points",
            source=(
                'F. F. Reichheld, "The One Number You Need to Grow", Harvard Business Review'
                " (December 2003)."
            ),
            good="up",
            meaning=meanings.NPS,
            numerator=lambda c: c["nps_promoters"] - c["nps_detractors"],
            denominator=sum_of("nps_answers"),
            scale=100,
            bounds=net_score("nps_promoters", "nps_detractors"),
            lowest=-100.0,
            highest=100.0,
            moves=(
                Move("promoter", "promoters", ("nps_answers", "nps_promoters")),
                Move("detractor", "detractors", ("nps_answers", "nps_detractors")),
            ),
        ),
        _satisfaction(
            "csat",
            "cx_csat_ratio",
            "Customer satisfaction",
            "Share of satisfied answers (4 or 5 of 5).",
            "satisfied",
            _TOP_TWO_BOX,
            meanings.CSAT,
        ),
        _satisfaction(
            "ces",
            "cx_ces_ratio",
            "Customer effort score",
            "Share of answers that call it easy (5 to 7 of 7).",
            "easy",
            _EFFORT,
            meanings.CES,
        ),
        Kpi(
            id="ces_mean",
            gauge="cx_ces_mean",
            title="Mean customer effort score",
            help="Mean effort score on 1 to 7.",
            formula="sum of scores / answers",
            terms=(Term("sum of scores", "ces_sum"), Term("answers", "ces_answers")),
            unit="points",
            source=_EFFORT,
            good="up",
            meaning=meanings.CES_MEAN,
            numerator=sum_of("ces_sum"),
            numerator_unit=FIXED,
            denominator=sum_of("ces_answers"),
            lowest=1.0,
            highest=7.0,
        ),
        _satisfaction(
            "css",
            "cx_css_ratio",
            "Customer service satisfaction",
            "Share of answers satisfied with the service (4 or 5 of 5).",
            "satisfied",
            _TOP_TWO_BOX,
            meanings.CSS,
        ),
        Kpi(
            id="nev",
            gauge="cx_nev",
            title="Net emotional value",
            help="Mean intensity of positive minus that of negative emotions, on 0 to 10.",
            formula="positive intensity / positives − negative intensity / negatives",
            terms=(
                Term("positive intensity", "emotions_positive_sum"),
                Term("positives", "emotions_positive"),
                Term("negative intensity", "emotions_negative_sum"),
                Term("negatives", "emotions_negative"),
            ),
            unit="points",
            source=(
                'C. Shaw, "The DNA of Customer Experience: How Emotions Drive Value" (Palgrave'
                " Macmillan, 2007)."
            ),
            good="up",
            meaning=meanings.NEV,
            value=_nev,
            lowest=-10.0,
            highest=10.0,
        ),
        Kpi(
            id="sentiment",
            gauge="cx_sentiment",
            title="Sentiment",
            help="Mean sentiment of answers and closed tickets, -1 to 1.",
            formula="sum of sentiments / events that carry one",
            terms=(
                Term("sum of sentiments", "sentiment_sum"),
                Term("events that carry one", "sentiments"),
            ),
            unit="points",
            source=(
                'C. J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment'
                ' Analysis of Social Media Text", ICWSM (2014), for the scale from −1 to 1.'
            ),
            good="up",
            meaning=meanings.SENTIMENT,
            numerator=sum_of("sentiment_sum"),
            numerator_unit=FIXED,
            denominator=sum_of("sentiments"),
            lowest=-1.0,
            highest=1.0,
        ),
    ),
)
