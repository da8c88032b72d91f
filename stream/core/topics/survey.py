"""Surveys: NPS, CSAT, CES, CSS, NEV and the sentiment of answers."""

from __future__ import annotations

from typing import Literal, cast

import msgspec

from stream.core.event import Event, EventType, FieldRule, Id, Number, Sentiment

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
    emotions: dict[str, Number] | None = None
    sentiment: Sentiment | None = None

    def limits(self) -> tuple[float, float]:
        """The scale as (min, max), the survey kind's default where none was sent."""
        return (self.scale.min, self.scale.max) if self.scale else DEFAULT_SCALES[self.survey]


class SurveyResponded(Answer, tag="survey.responded"):
    """A customer has answered a survey."""


class SurveyUpdated(Answer, tag="survey.updated"):
    """A customer has changed an answer."""
