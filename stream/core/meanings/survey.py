"""What the KPIs of surveys say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_ANSWER: Final = ("response_id", "survey", "score", "scale")
_SCORED: Final = {"survey.responded": _ANSWER, "survey.updated": _ANSWER}
_CORRECTIONS: Final = (
    (
        "`survey.updated`, or a second `survey.responded` of the same `response_id`, replaces the"
        " earlier answer: what that one counted is taken back, and the new one counts in the pane"
        " of the first answer, under its own labels."
    ),
    (
        "An answer is remembered for the longest window, at least 7 days. A `survey.updated` of one"
        " that is not remembered is an `orphan`: it goes to the dead letters and counts nothing."
    ),
    "An update that names another survey moves the answer to that survey's KPI.",
)
_UNANSWERED: Final = (
    "Surveys that were sent and not answered: there is no event for them, so they are in no"
    " denominator. The KPI says nothing of how many were asked."
)


def _answers(survey: str, *said: tuple[int, str]) -> tuple[Told, ...]:
    """Answers, the last of which replaces the one before; each its score and what that does."""
    *others, (mended, does) = said
    first = [
        told(
            text,
            "survey.responded",
            f"11:{number}0",
            response_id=f"r{number}",
            survey=survey,
            score=score,
        )
        for number, (score, text) in enumerate(others, start=1)
    ]
    last = f"r{len(others)}"
    return (
        *first,
        told(does, "survey.updated", "11:50", response_id=last, survey=survey, score=mended),
    )


_FEELINGS: Final = (
    told(
        "One positive and one negative emotion.",
        "survey.responded",
        "11:10",
        response_id="r1",
        survey="emotion",
        emotions={"happy": 8, "frustrated": 3},
    ),
    told(
        "A positive one; `curious` is in neither list.",
        "survey.responded",
        "11:20",
        response_id="r2",
        survey="emotion",
        emotions={"Valued": 6, "curious": 9},
    ),
    told(
        "A negative one, of 20 on a scale to 100, which is 2 of 10.",
        "survey.responded",
        "11:30",
        response_id="r3",
        survey="emotion",
        emotions={"irritated": 20},
        scale={"min": 0, "max": 100},
    ),
)
_SENTIMENTS: Final = (
    told(
        "Counts 0.8.",
        "survey.responded",
        "11:10",
        response_id="r1",
        survey="nps",
        score=10,
        sentiment=0.8,
    ),
    told(
        "Carries none, and so counts nothing here.",
        "survey.responded",
        "11:20",
        response_id="r2",
        survey="nps",
        score=0,
    ),
    told(
        "Counts −0.2.",
        "ticket.closed",
        "11:30",
        ticket_id="t1",
        opened_at="2026-03-02T10:30:00Z",
        sentiment=-0.2,
    ),
)

NPS: Final = Meaning(
    definition=(
        "How much more of the customers would recommend you than would advise against you. With"
        " s = 10 · score / scale.max, an answer is a promoter from s = 9 on, a passive from 7 on,"
        " and a detractor below 7. Passives count in the denominator alone. −100 is nothing but"
        " detractors, 100 nothing but promoters."
    ),
    examples=(
        Example(
            "90 promoters, 5 passives and 5 detractors of 100 answers",
            {"nps_promoters": 90, "nps_detractors": 5, "nps_answers": 100},
            85.0,
        ),
        Example(
            "50 promoters, 30 passives and 20 detractors of 100 answers",
            {"nps_promoters": 50, "nps_detractors": 20, "nps_answers": 100},
            30.0,
            14.1,
            44.2,
        ),
        Example(
            "3 promoters of 3 answers: the bounds say how little that is",
            {"nps_promoters": 3, "nps_answers": 3},
            100.0,
            -6.6,
            100.0,
        ),
    ),
    story=_answers(
        "nps",
        (10, "A promoter."),
        (7, "A passive: it counts in the denominator alone."),
        (3, "A detractor, until the next record."),
        (9, "Takes the detractor back; a promoter stands in its place, at 11:30."),
    ),
    fed_by=_SCORED,
    left_out=(
        _UNANSWERED,
        "Answers to other surveys than `nps`.",
        (
            "Answers whose score is off their scale, or whose scale begins below 0: they are"
            " `invalid`, since no share of the maximum could be told."
        ),
    ),
    corrections=_CORRECTIONS,
    alert_at=20.0,
)

CSAT: Final = Meaning(
    definition=(
        "The share of answers that are satisfied: 4 or 5 on a scale of 1 to 5. Other scales are"
        " mapped onto that one, and an answer is satisfied where"
        " 1 + 4 · (score − min) / (max − min) is at least 4."
    ),
    examples=(
        Example(
            "111 of 146 answers rated 4 or 5",
            {"csat_satisfied": 111, "csat_answers": 146},
            0.7603,
            0.685,
            0.822,
        ),
        Example(
            "One satisfied answer of one",
            {"csat_satisfied": 1, "csat_answers": 1},
            1.0,
            0.207,
            1.0,
        ),
    ),
    story=_answers(
        "csat",
        (5, "Satisfied."),
        (3, "Not satisfied."),
        (2, "Not satisfied, until the next record."),
        (4, "Takes that back; a satisfied answer stands in its place, at 11:30."),
    ),
    fed_by=_SCORED,
    left_out=(
        _UNANSWERED,
        "Answers to other surveys than `csat`; satisfaction with the service is `css`.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.7,
)

CSS: Final = Meaning(
    definition=(
        "The share of answers that are satisfied with the service that was given, counted like"
        " `csat` on surveys of their own: 4 or 5 on a scale of 1 to 5, other scales mapped onto it."
    ),
    examples=(
        Example(
            "45 of 50 answers rated 4 or 5",
            {"css_satisfied": 45, "css_answers": 50},
            0.9,
            0.786,
            0.957,
        ),
    ),
    story=_answers(
        "css",
        (4, "Satisfied."),
        (5, "Satisfied."),
        (1, "Not satisfied, until the next record."),
        (3, "Takes that back; it is not satisfied either, and still one answer."),
    ),
    fed_by=_SCORED,
    left_out=(
        _UNANSWERED,
        "Answers to other surveys than `css`; satisfaction on the whole is `csat`.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.7,
)

CES: Final = Meaning(
    definition=(
        'The share of answers that agree that it was easy ("the company made it easy for me to'
        ' handle my issue"): 5 to 7 on a scale of 1 to 7. Other scales are mapped onto that one,'
        " and an answer is easy where 1 + 6 · (score − min) / (max − min) is at least 5. Higher is"
        " better; the older scale, on which a high number was much effort, must be turned round"
        " before it is sent."
    ),
    examples=(
        Example(
            "78 of 122 answers rated 5 to 7",
            {"ces_satisfied": 78, "ces_answers": 122},
            0.6393,
            0.551,
            0.719,
        ),
    ),
    story=_answers(
        "ces",
        (6, "Easy."),
        (4, "Not easy."),
        (2, "Not easy, until the next record."),
        (7, "Takes that back; an easy answer stands in its place, at 11:30."),
    ),
    fed_by=_SCORED,
    left_out=(
        _UNANSWERED,
        "Answers to other surveys than `ces`.",
        "How easy an easy answer was: for that see `ces_mean`.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.6,
)

CES_MEAN: Final = Meaning(
    definition=(
        "The mean of the answers on a scale of 1 to 7, where 7 is the least effort; other scales"
        " are mapped onto it by 1 + 6 · (score − min) / (max − min). It moves with every answer,"
        " where the share of easy answers only moves with those that cross 5."
    ),
    examples=(
        Example(
            "Answers of 4, 5, 6 and 7",
            {"ces_sum": 22, "ces_answers": 4},
            5.5,
        ),
    ),
    story=_answers(
        "ces",
        (6, "Counts 6."),
        (4, "Counts 4."),
        (2, "Counts 2, until the next record."),
        (7, "Takes the 2 back and counts 7 in its place, at 11:30."),
    ),
    fed_by=_SCORED,
    left_out=(_UNANSWERED, "Answers to other surveys than `ces`."),
    corrections=_CORRECTIONS,
    alert_at=5.0,
)

_FELT: Final = ("response_id", "survey", "emotions", "scale")

NEV: Final = Meaning(
    definition=(
        "What customers feel on balance: the mean intensity of the positive emotions that they name"
        " minus the mean intensity of the negative ones, each on 0 to 10, over all pairs of an"
        " answer and an emotion. Which names are positive and negative is configured in"
        " `[emotion]`; upper and lower case are the same. There is no value while one side is"
        " empty: no negative emotion named is not the same as one of intensity 0."
    ),
    examples=(
        Example(
            "Two positive emotions of 8 and 6, two negative ones of 2 and 3",
            {
                "emotions_positive_sum": 14,
                "emotions_positive": 2,
                "emotions_negative_sum": 5,
                "emotions_negative": 2,
            },
            4.5,
        ),
    ),
    story=_FEELINGS,
    fed_by={"survey.responded": _FELT, "survey.updated": _FELT},
    left_out=(
        "Emotions that are in neither list of `[emotion]`.",
        "`emotions` of other surveys than `emotion`: they are ignored.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.0,
)

SENTIMENT: Final = Meaning(
    definition=(
        "The mean of the sentiments that answers and closed tickets carry, from −1 (negative) to 1"
        " (positive). The number itself comes from whoever sends the event, such as an analyser of"
        " texts; it is not derived here."
    ),
    examples=(
        Example(
            "Sentiments of 0.8, 0.3 and −0.2",
            {"sentiment_sum": 0.9, "sentiments": 3},
            0.3,
        ),
    ),
    story=_SENTIMENTS,
    fed_by={
        "survey.responded": ("response_id", "sentiment"),
        "survey.updated": ("response_id", "sentiment"),
        "ticket.closed": ("ticket_id", "sentiment"),
        "ticket.reopened": ("ticket_id",),
    },
    left_out=("Answers and tickets without `sentiment`: absent is not neutral.",),
    corrections=(
        *_CORRECTIONS[:2],
        (
            "`ticket.reopened` takes back the sentiment of the close; a second close within 7 days"
            " replaces that of the first."
        ),
    ),
    alert_at=0.0,
)
