"""Which answers are valid, and what their scores stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core.event import LIMIT, EventType, FieldRule, Refused, having
from stream.core.integers import Ints
from stream.core.memo import Memo
from stream.core.topic import MEMO
from stream.core.topics.survey.events import (
    LONGEST_SHOWN,
    Answer,
    Scale,
    SurveyKind,
    SurveyResponded,
    SurveyUpdated,
    limits_of,
)
from stream.core.topics.survey.opinions import judge

#: A verdict and an effort in one number.
VERDICT_BITS: Final = 8
VERDICT: Final = (1 << VERDICT_BITS) - 1
#: Of an answer with emotions: no verdict and no effort.
EMOTIONAL: Final = VERDICT
#: Of a score or a scale that breaks a rule.
UNSOUND: Final = -(1 << 62)


class _Scored(NamedTuple):
    """All that decides what the score of an answer means, named as in ``Answer``."""

    survey: SurveyKind
    score: float | None
    scale: Scale | None

    def limits(self) -> tuple[float, float]:
        return limits_of(self.survey, self.scale)


#: The same as a plain tuple, which is made faster.
_Key = tuple[SurveyKind, float | None, Scale | None]
_scored: Final[Callable[[Answer], _Key]] = attrgetter(*_Scored._fields)


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
    if low <= min(intensities.values()) and max(intensities.values()) <= high:
        return None
    for name, intensity in intensities.items():
        if not low <= intensity <= high:
            path = f"emotions.{name[:LONGEST_SHOWN]}"
            raise Refused(f"is not on the scale from {low:g} to {high:g}", path)
    return None


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
    FieldRule(
        "score",
        "is required and on the scale, but ignored for emotion, where any number will do",
        _check_score,
    ),
    FieldRule(
        "emotions",
        "is required for emotion: not empty, each intensity a number on the scale; else ignored",
        _check_emotions,
        (_SCORE_OR_EMOTIONS,),
    ),
)


def judged(answers: Iterable[Answer], count: int) -> Ints:
    """What the scores of ``count`` answers stand for: efforts, and below them verdicts."""
    found = map(_JUDGEMENTS.__getitem__, map(_scored, answers))
    return np.fromiter(found, dtype=np.int64, count=count)


def _judgement(key: _Key) -> int:
    said = _Scored(*key)
    if _check_scale(said, 0) or _check_score(said, 0):
        return UNSOUND
    if said.survey == "emotion":
        return EMOTIONAL
    verdict, effort = judge(said.survey, said.score or 0.0, *said.limits())
    return effort << VERDICT_BITS | verdict


_JUDGEMENTS: Final = Memo(_judgement, MEMO)


def _hold(answers: Sequence[Any], at: Ints) -> Ints | bool:
    found = judged(answers, len(answers))
    emotional = np.flatnonzero(found == EMOTIONAL).tolist()
    if (found == UNSOUND).any() or not all(_has_emotions(answers[place]) for place in emotional):
        return False
    return found


def _has_emotions(answer: Answer) -> bool:
    try:
        return _check_emotions(answer, 0) is None
    except Refused:
        return False


TYPES = tuple(
    EventType(t, key="response_id", rules=_RULES, hold=_hold)
    for t in (SurveyResponded, SurveyUpdated)
)
