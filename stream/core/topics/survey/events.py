"""What surveys send: answers and changes of them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from stream.core.errors import UNREADABLE
from stream.core.event import Event, Id, Number, Refused, Sentiment, says

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
        except UNREADABLE:
            name = _no_number(self.emotions)
            if name is not None:
                path = f"emotions.{name[:LONGEST_SHOWN]}"
                raise Refused("must be a number on the scale", path) from None
            raise Refused("must be an object of numbers on the scale") from None

    def limits(self) -> tuple[float, float]:
        """The scale as (min, max), the survey kind's default where none was sent."""
        return limits_of(self.survey, self.scale)


def limits_of(survey: str, scale: Scale | None) -> tuple[float, float]:
    """A scale as (min, max), the survey kind's default where there is none."""
    return (scale.min, scale.max) if scale else DEFAULT_SCALES[survey]


#: Paths have no more characters of an emotion's name.
LONGEST_SHOWN: Final = 64

_read_emotions = msgspec.json.Decoder(dict[str, Number]).decode
_read_any = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_number = msgspec.json.Decoder(Number).decode


def _no_number(emotions: msgspec.Raw) -> str | None:
    """The name of the first emotion that has no number, if that is what is wrong."""
    try:
        named = _read_any(emotions)
    except UNREADABLE:
        return None
    for name, intensity in named.items():
        try:
            _read_number(intensity)
        except UNREADABLE:
            return name
    return None


class SurveyResponded(Answer, tag="survey.responded"):
    """A customer has answered a survey."""


class SurveyUpdated(Answer, tag="survey.updated"):
    """A customer has changed an answer."""
