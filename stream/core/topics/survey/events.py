"""What surveys send: answers and changes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec

from stream.core.cells import Ints
from stream.core.event import (
    LIMIT,
    Event,
    EventType,
    FieldRule,
    Id,
    Number,
    Refused,
    Sentiment,
    having,
    says,
)
from stream.core.topic import MEMO

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

    response_id: Annotated[
        Id, says("The answer to a survey; an update replaces the earlier answer of this id.")
    ]
    survey: Annotated[SurveyKind, says("The kind of survey.")]
    score: Annotated[Number | None, says("The score that was given, on the scale.")] = None
    scale: Annotated[
        Scale | None,
        says(
            "The least and the greatest score; by default 0 to 10 for nps and emotion, 1 to 5 for"
            " csat and css, 1 to 7 for ces."
        ),
    ] = None
    #: Read by ``intensities``; whatever it is, it is ignored where the survey is not ``emotion``.
    emotions: Annotated[
        msgspec.Raw, says("Emotions by name and how strong they were, on the scale.")
    ] = msgspec.Raw(b"null")
    sentiment: Annotated[
        Sentiment | None, says("The sentiment of the text, from -1 (bad) to 1 (good).")
    ] = None

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
        return limits(self.survey, self.scale)


def limits(survey: str, scale: Scale | None) -> tuple[float, float]:
    """A scale as (min, max), the survey kind's default where there is none."""
    return (scale.min, scale.max) if scale else DEFAULT_SCALES[survey]


#: The survey's kind, the score and the scale.
Judged = tuple[SurveyKind, float | None, Scale | None]
#: All that decides what the score of an answer means.
judged_by: Final[Callable[[Answer], Judged]] = attrgetter("survey", "score", "scale")

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
    return _SOUND.issuperset(map(judged_by, events)) or all(map(_is_sound, events))


def _is_sound(event: Answer) -> bool:
    said = judged_by(event)
    if said in _SOUND:
        return True
    try:
        if any(rule.check(event, 0) for rule in _RULES):
            return False
    except Refused:
        return False
    if event.survey != "emotion" and len(_SOUND) < MEMO:
        _SOUND.add(said)
    return True


#: What was found to be a score on its scale.
_SOUND: Final[set[Judged]] = set()

_INTENSITIES: Final = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "number", "minimum": -LIMIT, "maximum": LIMIT},
}
_SCORE_OR_EMOTIONS: Final = {
    "if": {"properties": {"survey": {"const": "emotion"}}},
    "then": {"required": ["emotions"], "properties": {"emotions": _INTENSITIES}},
    "else": having("score", "number"),
}

_RULES = (
    FieldRule("scale.min", "is below scale.max, and for nps not below 0", _check_scale),
    FieldRule("score", "is required and on the scale, but ignored for emotion", _check_score),
    FieldRule(
        "emotions",
        "is required for emotion: not empty, each intensity a number on the scale; else ignored",
        _check_emotions,
        (_SCORE_OR_EMOTIONS,),
    ),
)


TYPES = tuple(
    EventType(t, key="response_id", rules=_RULES, hold=_all_sound)
    for t in (SurveyResponded, SurveyUpdated)
)
