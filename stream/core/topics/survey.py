"""Surveys: NPS, CSAT, CES, CSS, NEV and the sentiment of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from stream.core.cells import Ints
from stream.core.event import Event, EventType, FieldRule, Id, Number, Refused, Sentiment
from stream.core.formulas import FIXED, divided, fixed, fixed_columns, sum_of
from stream.core.kpi import Column, Columns, Counter, Kpi, Meaning, Move, Term
from stream.core.labels import Labels
from stream.core.layout import Contribution
from stream.core.meanings import survey as meanings
from stream.core.memory import LAST, Memory, Record
from stream.core.settings import Settings
from stream.core.table import ABSENT, Mask, Slots
from stream.core.topic import (
    MEMO,
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    Topic,
    numbers,
)

SurveyKind = Literal["nps", "csat", "ces", "css", "emotion"]

DEFAULT_SCALES: dict[str, tuple[float, float]] = {
    "nps": (0, 10),
    "csat": (1, 5),
    "css": (1, 5),
    "ces": (1, 7),
    "emotion": (0, 10),
}


class Scale(msgspec.Struct, gc=False, frozen=True):
    """The least and the greatest score that can be given."""

    min: Number
    max: Number


class Answer(Event):
    """What an answer to a survey says."""

    response_id: Id
    survey: SurveyKind
    score: Number | None = None
    scale: Scale | None = None
    #: Read by ``intensities``; whatever it is, it is ignored where the survey is not ``emotion``.
    emotions: msgspec.Raw = msgspec.Raw(b"null")
    sentiment: Sentiment | None = None

    def intensities(self) -> dict[str, float]:
        """The emotions and how strong they were, on the scale; only of ``emotion`` surveys.

        Raises:
            Refused: no object of numbers, which the decoder has ruled out.
        """
        try:
            return _read_emotions(self.emotions)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Refused("must be an object of numbers on the scale") from None

    def limits(self) -> tuple[float, float]:
        """The scale as (min, max), the survey kind's default where none was sent."""
        return (self.scale.min, self.scale.max) if self.scale else DEFAULT_SCALES[self.survey]


_read_emotions = msgspec.json.Decoder(dict[str, Number]).decode


class SurveyResponded(Answer, tag="survey.responded"):
    """A customer has answered a survey."""


class SurveyUpdated(Answer, tag="survey.updated"):
    """A customer has changed an answer."""


def _check_scale(event: Any, at: int) -> str | None:
    if event.scale is None:
        return None
    if event.scale.min >= event.scale.max:
        return "is not below scale.max"
    return "is below 0" if event.survey == "nps" and event.scale.min < 0 else None


def _check_score(event: Any, at: int) -> str | None:
    if event.survey == "emotion":
        return None
    if event.score is None:
        return f"is required for {event.survey}"
    low, high = event.limits()
    return None if low <= event.score <= high else f"is not on the scale from {low:g} to {high:g}"


def _check_emotions(event: Any, at: int) -> str | None:
    if event.survey != "emotion":
        return None
    intensities = event.intensities()
    if not intensities:
        return "is empty, but required for emotion"
    low, high = event.limits()
    for name, intensity in intensities.items():
        if not low <= intensity <= high:
            path = f"emotions.{name[:64]}"
            raise Refused(f"is not on the scale from {low:g} to {high:g}", path)
    return None


def _all_sound(events: Sequence[Any], at: Ints) -> bool:
    for event in events:
        said = (event.survey, event.score, event.scale)
        if said not in _SOUND:
            try:
                if any(rule.check(event, 0) for rule in _RULES):
                    return False
            except Refused:
                return False
            if event.survey != "emotion" and len(_SOUND) < MEMO:
                _SOUND.add(said)
    return True


#: What was found to be a score on its scale.
_SOUND: Final[set[tuple[object, ...]]] = set()

_RULES = (
    FieldRule("scale.min", "is below scale.max, and for nps not below 0", _check_scale),
    FieldRule("score", "is required and on the scale, but ignored for emotion", _check_score),
    FieldRule(
        "emotions",
        "is required for emotion: not empty, each intensity a number on the scale; else ignored",
        _check_emotions,
    ),
)

NAME = "cx.survey"
TYPES = tuple(
    EventType(t, key="response_id", rules=_RULES, hold=_all_sound)
    for t in (SurveyResponded, SurveyUpdated)
)


#: Surveys of a share of satisfied answers: satisfied and all answers are counted per kind.
_RATIO_KINDS = ("csat", "css", "ces")
# On 1–5 a score of 4 is ¾ of the way, on 1–7 one of 5 is ⅔; multiplied, so nothing is rounded.
_TOP = {"csat": (4, 3), "css": (4, 3), "ces": (3, 2)}

_GOOD = {"csat": "satisfied", "css": "satisfied", "ces": "easy"}

#: What a score can say: the counters that it adds one to.
VERDICTS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("nps_answers",),
    ("nps_answers", "nps_promoters"),
    ("nps_answers", "nps_detractors"),
    *((f"{kind}_answers",) for kind in _RATIO_KINDS),
    *((f"{kind}_answers", f"{kind}_satisfied") for kind in _RATIO_KINDS),
)
_NUMBER_OF: Final = {verdict: number for number, verdict in enumerate(VERDICTS)}
#: The sentiment of an answer that carries none; none is beyond ±10⁹.
NO_SENTIMENT: Final = -(1 << 31)


class Opinion(NamedTuple):
    """All that decides what an answer without emotions adds.

    ``verdict``: the number of one of ``VERDICTS``; the sentiment, or ``NO_SENTIMENT``, and the
    effort in fixed point.
    """

    verdict: int = 0
    sentiment: int = NO_SENTIMENT
    effort: int = 0


#: Of an answer with emotions, which are remembered as what they have added.
_NO_OPINION: Final = Opinion()


def judge(survey: str, score: float, low: float, high: float) -> tuple[int, int]:
    """The number of the verdict and the effort in fixed point that a score stands for."""
    if survey == "nps":
        nps: tuple[str, ...] = ("nps_answers",)
        if 10 * score >= 9 * high:
            nps += ("nps_promoters",)
        elif 10 * score < 7 * high:
            nps += ("nps_detractors",)
        return _NUMBER_OF[nps], 0
    of, needed = _TOP[survey]
    said: tuple[str, ...] = (f"{survey}_answers",)
    if of * (score - low) >= needed * (high - low):
        said += (f"{survey}_satisfied",)
    effort = fixed(1 + 6 * (score - low) / (high - low)) if survey == "ces" else 0
    return _NUMBER_OF[said], effort


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
    for name, intensity in answer.intensities().items():
        on_ten = fixed(10 * (intensity - low) / (high - low))
        if name.casefold() in settings.positive_emotions:
            yield "emotions_positive", 1
            yield "emotions_positive_sum", on_ten
        elif name.casefold() in settings.negative_emotions:
            yield "emotions_negative", 1
            yield "emotions_negative_sum", on_ten


class Answers(Keeper):
    """Remembers each answer for the settings' memory, so that an update can replace it.

    The last time of a record is that of the first answer. What emotions have added is the
    ``extra``.
    """

    entity = "response_id"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        # An event that is just not late may follow an answer that was given a memory earlier.
        self._answers = Memory(
            "answers",
            2 * self._memory_ms,
            {"row": np.int32, "verdict": np.uint8, "sentiment": np.int32, "effort": np.int64},
            context.settings.max_remembered,
        )
        self._verdicts: dict[tuple[object, ...], tuple[int, int]] = {}

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {SurveyResponded: self._answered, SurveyUpdated: self._answered}

    def columns(self) -> Mapping[type[Event], ColumnHandler]:
        return {SurveyResponded: self._many_answered, SurveyUpdated: self._many_answered}

    def orphans(self) -> Mapping[type[Event], Callable[[int, int], bool]]:
        return {SurveyUpdated: lambda key, at: self._recall(key, at) is None}

    def stores(self) -> Sequence[Store]:
        return (self._answers,)

    def _recall(self, key: int, occurred: int) -> Record | None:
        known = self._answers.get(key)
        return known if known and abs(occurred - known[LAST]) <= self._memory_ms else None

    def _answered(
        self, answer: Answer, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        opinion, emotions = _NO_OPINION, None
        if answer.survey == "emotion":
            emotions = self.layout.contribution(count_emotions(answer, self.settings))
        else:
            opinion = opinion_of(answer)
        first = occurred
        known = self._recall(key, occurred)
        if known:
            first, former_row, *former, former_emotions = known
            self.tally.take_back(first, former_row, self._added(Opinion(*former), former_emotions))
        self.tally.add(first, row, self._added(opinion, emotions))
        self._answers.put(key, first, row, *opinion, extra=emotions)

    def _added(self, opinion: Opinion, emotions: Contribution | None) -> Contribution:
        if emotions is not None:
            return emotions
        return self.layout.contribution(count_opinion(opinion))

    def are_remembered(self, struct: type[Event], keys: Ints, occurred: Ints) -> Mask:
        return self._are_known(self._answers.find(keys), occurred)

    def _are_known(self, slots: Slots, occurred: Ints) -> Mask:
        """Which answers are remembered, without emotions."""
        first = self._answers.field("last")[slots]
        known: Mask = (slots != ABSENT) & (np.abs(occurred - first) <= self._memory_ms)
        known[known] = self._answers.without_extra(slots[known])
        return known

    def _many_answered(self, answers: Arrivals) -> Mask:
        slots = self._answers.find(answers.keys)
        new: Mask = slots == ABSENT
        emotional = np.array([a.survey == "emotion" for a in answers.events], dtype=bool)
        known = self._are_known(slots, answers.occurred) & ~emotional
        self._remember_emotions(answers, np.flatnonzero(new & emotional))
        chosen = np.flatnonzero(known | (new & ~emotional))
        if chosen.size:
            self._remember(answers, chosen, slots[chosen])
        unusual: Mask = ~new & ~known
        return unusual

    def _remember(self, answers: Arrivals, chosen: Ints, slots: Slots) -> None:
        """Answers without emotions that are new, or replace one without emotions."""
        events = [answers.events[i] for i in chosen.tolist()]
        verdict, effort = self._judged(events)
        sentiment = numbers([a.sentiment for a in events])
        sentiments = fixed_columns(np.nan_to_num(sentiment))
        sentiments[np.isnan(sentiment)] = NO_SENTIMENT
        fields = {
            "row": answers.rows[chosen],
            "verdict": verdict,
            "sentiment": sentiments,
            "effort": effort,
        }
        first = answers.occurred[chosen]
        known = slots != ABSENT
        if known.any():
            again = slots[known]
            # An answer counts in the pane of the first one.
            first[known] = self._answers.field("last")[again]
            former = {name: self._answers.field(name)[again].astype(np.int64) for name in fields}
            self._count(first[known], **former, sign=-1)
            changed = {name: values[known] for name, values in fields.items()}
            self._answers.update(again, first[known], **changed)
        self._count(first, **fields, sign=1)
        new = ~known
        fresh = {name: values[new] for name, values in fields.items()}
        self._answers.put_new(answers.keys[chosen][new], first[new], **fresh)

    def _remember_emotions(self, answers: Arrivals, chosen: Ints) -> None:
        """Answers with emotions that were not known: counted one by one."""
        if not chosen.size:
            return
        added = [
            self.layout.contribution(count_emotions(answers.events[i], self.settings))
            for i in chosen.tolist()
        ]
        occurred, rows = answers.occurred[chosen], answers.rows[chosen]
        for at, row, emotions in zip(occurred.tolist(), rows.tolist(), added, strict=True):
            self.tally.add(at, row, emotions)
        fields = {"verdict": 0, "sentiment": NO_SENTIMENT, "effort": 0}
        keys = answers.keys[chosen]
        self._answers.put_new(keys, occurred, extras=added, row=rows, **fields)

    def _judged(self, answers: Sequence[Answer]) -> tuple[Ints, Ints]:
        """The verdict and effort of each answer; what was judged before is remembered."""
        known = self._verdicts
        judged = []
        for answer in answers:
            said = (answer.survey, answer.score, answer.scale)
            found = known.get(said)
            if found is None:
                found = judge(answer.survey, answer.score or 0.0, *answer.limits())
                if len(known) < MEMO:
                    known[said] = found
            judged.append(found)
        both = np.array(judged, dtype=np.int64)
        return both[:, 0], both[:, 1]

    def _count(
        self, at: Ints, row: Ints, verdict: Ints, sentiment: Ints, effort: Ints, sign: int
    ) -> None:
        """Add, or take back, what ``count_opinion`` says, for many."""
        for number in np.unique(verdict).tolist():
            chosen = np.flatnonzero(verdict == number)
            ones = np.full(chosen.size, sign, dtype=np.int64)
            counts = [(name, ones) for name in VERDICTS[number]]
            self.tally.add_columns(at[chosen], row[chosen], self.layout.parts(counts))
        said = sentiment != NO_SENTIMENT
        counts = [
            ("sentiments", said * sign),
            ("sentiment_sum", np.where(said, sentiment, 0) * sign),
            ("ces_sum", effort * sign),
        ]
        self.tally.add_columns(at, row, self.layout.parts(counts))


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
        bounds="wilson",
        highest=1.0,
        topic=NAME,
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


def _nev(c: Columns) -> Column:
    positive = divided(c["emotions_positive_sum"], c["emotions_positive"])
    return positive - divided(c["emotions_negative_sum"], c["emotions_negative"])


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
    types=TYPES,
    keeper=Answers,
    counters=(
        Counter("nps_answers", "Answers to NPS surveys"),
        Counter("nps_promoters", "NPS answers of at least 9 of 10"),
        Counter("nps_detractors", "NPS answers below 7 of 10"),
        *(Counter(f"{k}_answers", f"Answers to {k} surveys") for k in _RATIO_KINDS),
        *(
            Counter(f"{k}_satisfied", f"Answers to {k} surveys that are {_GOOD[k]}")
            for k in _RATIO_KINDS
        ),
        Counter("ces_sum", "Effort scores on 1 to 7, added up", scale=FIXED),
        Counter("emotions_positive", "Positive emotions named"),
        Counter(
            "emotions_positive_sum",
            "Intensities of positive emotions on 0 to 10, added up",
            scale=FIXED,
        ),
        Counter("emotions_negative", "Negative emotions named"),
        Counter(
            "emotions_negative_sum",
            "Intensities of negative emotions on 0 to 10, added up",
            scale=FIXED,
        ),
        Counter("sentiments", "Answers and closed tickets that carry a sentiment"),
        Counter("sentiment_sum", "Sentiments of answers and closed tickets, added up", scale=FIXED),
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
            scale=100.0,
            bounds="nps",
            lowest=-100.0,
            highest=100.0,
            topic=NAME,
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
            denominator=sum_of("ces_answers"),
            lowest=1.0,
            highest=7.0,
            topic=NAME,
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
            topic=NAME,
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
            denominator=sum_of("sentiments"),
            lowest=-1.0,
            highest=1.0,
            topic=NAME,
        ),
    ),
)
