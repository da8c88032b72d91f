"""Surveys: NPS, CSAT, CES, CSS, NEV and the sentiment of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from stream.core.event import Event, EventType, FieldRule, Id, Number, Refused, Sentiment
from stream.core.formulas import FIXED, divided, fixed, sum_of
from stream.core.kpi import Column, Columns, Counter, Kpi
from stream.core.labels import Labels
from stream.core.layout import Contribution
from stream.core.memory import LAST, Memory, Record, digest
from stream.core.settings import Settings
from stream.core.topic import MEMO, Context, Keeper, Store, Topic

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
    EventType(t, key="response_id", rules=_RULES) for t in (SurveyResponded, SurveyUpdated)
)


#: Surveys of a share of satisfied answers: satisfied and all answers are counted per kind.
_RATIO_KINDS = ("csat", "css", "ces")
# On 1–5 a score of 4 is ¾ of the way, on 1–7 one of 5 is ⅔; multiplied, so nothing is rounded.
_TOP = {"csat": (4, 3), "css": (4, 3), "ces": (3, 2)}


def count_answer(answer: Answer, settings: Settings) -> Iterator[tuple[str, int]]:
    """What an answer adds."""
    if answer.sentiment is not None:
        yield "sentiments", 1
        yield "sentiment_sum", fixed(answer.sentiment)
    low, high = answer.limits()
    if answer.survey == "emotion":
        yield from _count_emotions(answer.intensities(), low, high, settings)
        return
    score = answer.score or 0.0
    if answer.survey == "nps":
        yield "nps_answers", 1
        yield "nps_promoters", int(10 * score >= 9 * high)
        yield "nps_detractors", int(10 * score < 7 * high)
        return
    of, needed = _TOP[answer.survey]
    yield f"{answer.survey}_answers", 1
    yield f"{answer.survey}_satisfied", int(of * (score - low) >= needed * (high - low))
    if answer.survey == "ces":
        yield "ces_sum", fixed(1 + 6 * (score - low) / (high - low))


def _count_emotions(
    intensities: Mapping[str, float], low: float, high: float, settings: Settings
) -> Iterator[tuple[str, int]]:
    for name, intensity in intensities.items():
        on_ten = fixed(10 * (intensity - low) / (high - low))
        if name.casefold() in settings.positive_emotions:
            yield "emotions_positive", 1
            yield "emotions_positive_sum", on_ten
        elif name.casefold() in settings.negative_emotions:
            yield "emotions_negative", 1
            yield "emotions_negative_sum", on_ten


class Answers(Keeper):
    """Remembers each answer for the settings' memory, so that an update can replace it."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        # An event that is just not late may follow an answer that was given a memory earlier.
        self._answers = Memory("answers", 2 * self._memory_ms)
        self._contributions: dict[tuple[object, ...], Contribution] = {}

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {SurveyResponded: self._answered, SurveyUpdated: self._answered}

    def orphans(self) -> Mapping[type[Event], Callable[[Any, int], bool]]:
        return {SurveyUpdated: lambda e, at: self._recall(digest(e.response_id), at) is None}

    def stores(self) -> Sequence[Store]:
        return (self._answers,)

    def _recall(self, key: bytes, occurred: int) -> Record | None:
        known = self._answers.get(key)
        return known if known and abs(occurred - known[LAST]) <= self._memory_ms else None

    def _answered(self, answer: Answer, occurred: int, at: int, labels: Labels) -> None:
        key = digest(answer.response_id)
        contribution = self._contribution(answer)
        row = self.segments.row(labels, None, at)
        first = occurred
        known = self._recall(key, occurred)
        if known:
            _, first, former_row, former = known
            self.tally.take_back(first, former_row, former)
        self.tally.add(first, row, contribution)
        self._answers.put(key, first, row, contribution)

    def _contribution(self, answer: Answer) -> Contribution:
        if answer.survey == "emotion":
            return self.layout.contribution(count_answer(answer, self.settings))
        said = (answer.survey, answer.score, answer.scale, answer.sentiment)
        contribution = self._contributions.get(said)
        if contribution is None:
            contribution = self.layout.contribution(count_answer(answer, self.settings))
            if len(self._contributions) < MEMO:
                self._contributions[said] = contribution
        return contribution


def _satisfaction(kind: str, gauge: str, title: str, text: str, source: str) -> Kpi:
    return Kpi(
        id=kind,
        gauge=gauge,
        title=title,
        help=text,
        unit="ratio",
        source=source,
        good="up",
        numerator=sum_of(f"{kind}_satisfied"),
        denominator=sum_of(f"{kind}_answers"),
        bounds="wilson",
        highest=1.0,
        topic=NAME,
    )


def _nev(c: Columns) -> Column:
    positive = divided(c["emotions_positive_sum"], c["emotions_positive"])
    return positive - divided(c["emotions_negative_sum"], c["emotions_negative"])


TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Answers,
    counters=(
        Counter("nps_answers", "Answers to NPS surveys"),
        Counter("nps_promoters", "NPS answers of at least 9 of 10"),
        Counter("nps_detractors", "NPS answers below 7 of 10"),
        *(Counter(f"{k}_answers", f"Answers to {k} surveys") for k in _RATIO_KINDS),
        *(Counter(f"{k}_satisfied", f"Answers to {k} surveys that are good") for k in _RATIO_KINDS),
        Counter("ces_sum", "Effort scores on 1 to 7", scale=FIXED),
        Counter("emotions_positive", "Positive emotions named"),
        Counter("emotions_positive_sum", "Their intensities on 0 to 10", scale=FIXED),
        Counter("emotions_negative", "Negative emotions named"),
        Counter("emotions_negative_sum", "Their intensities on 0 to 10", scale=FIXED),
        Counter("sentiments", "Answers and closed tickets that carry a sentiment"),
        Counter("sentiment_sum", "Their sentiments, -1 to 1", scale=FIXED),
    ),
    kpis=(
        Kpi(
            id="nps",
            gauge="cx_nps",
            title="Net promoter score",
            help="Promoters minus detractors per 100 answers.",
            unit="points",
            source='F. F. Reichheld, "The One Number You Need to Grow", HBR (December 2003).',
            good="up",
            numerator=lambda c: c["nps_promoters"] - c["nps_detractors"],
            denominator=sum_of("nps_answers"),
            scale=100.0,
            bounds="nps",
            lowest=-100.0,
            highest=100.0,
            topic=NAME,
        ),
        _satisfaction(
            "csat",
            "cx_csat_ratio",
            "Customer satisfaction",
            "Share of satisfied answers (4 or 5 of 5).",
            "Top-two-box score of a five-point satisfaction scale.",
        ),
        _satisfaction(
            "ces",
            "cx_ces_ratio",
            "Customer effort score",
            "Share of answers that call it easy (5 to 7 of 7).",
            "CES 2.0: share of answers of at least 5 on the seven-point scale of agreement.",
        ),
        Kpi(
            id="ces_mean",
            gauge="cx_ces_mean",
            title="Mean customer effort score",
            help="Mean effort score on 1 to 7.",
            unit="points",
            source="Mean of the seven-point effort scale; other scales are mapped onto it.",
            good="up",
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
            "Top-two-box score of a five-point satisfaction scale.",
        ),
        Kpi(
            id="nev",
            gauge="cx_nev",
            title="Net emotional value",
            help="Mean intensity of positive minus that of negative emotions, on 0 to 10.",
            unit="points",
            source='C. Shaw, "The DNA of Customer Experience" (2007).',
            good="up",
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
            unit="points",
            source="Mean of the sentiments that events carry.",
            good="up",
            numerator=sum_of("sentiment_sum"),
            denominator=sum_of("sentiments"),
            lowest=-1.0,
            highest=1.0,
            topic=NAME,
        ),
    ),
)
