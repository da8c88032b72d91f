"""The answers that are remembered, so that an update can replace one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.event import Event
from stream.core.formulas import fixed_columns
from stream.core.integers import Ints, Mask, distinct
from stream.core.kpi import Column
from stream.core.labels import Labels
from stream.core.layout import Contribution
from stream.core.memory import LAST, Memory, Record
from stream.core.table import ABSENT, Slots
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    Reference,
    RowHandler,
    Store,
    numbers,
)
from stream.core.topics.survey.events import Answer, SurveyResponded, SurveyUpdated
from stream.core.topics.survey.opinions import (
    NO_SENTIMENT,
    VERDICTS,
    Opinion,
    count_emotions,
    count_opinion,
    opinion_of,
)
from stream.core.topics.survey.rules import EMOTIONAL, VERDICT, VERDICT_BITS, judged

#: Of an answer with emotions, which are remembered as what they have added.
_NO_OPINION: Final = Opinion()


class _Said(NamedTuple):
    """What answers say, in columns."""

    #: Means nothing where an answer has emotions.
    verdict: Ints
    effort: Ints
    #: NaN where there is none.
    sentiment: Column
    emotional: Mask
    #: What emotions add, where there are any.
    emotions: NDArray[np.object_]


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

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {SurveyResponded: self._answered, SurveyUpdated: self._answered}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        answered = ColumnHandler(self._said, self._many_answered, self._said_judged)
        return {SurveyResponded: answered, SurveyUpdated: answered}

    def references(self) -> Mapping[type[Event], Reference]:
        return {SurveyUpdated: Reference(self._answers, "last", self._memory_ms)}

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

    def _are_known(self, slots: Slots, occurred: Ints) -> Mask:
        """Which answers are remembered, without emotions."""
        first = self._answers.field("last")[slots]
        known: Mask = (slots != ABSENT) & (np.abs(occurred - first) <= self._memory_ms)
        known[known] = self._answers.without_extra(slots[known])
        return known

    def _said(self, answers: Sequence[Answer]) -> _Said:
        return self._said_judged(answers, judged(answers, len(answers)))

    def _said_judged(self, answers: Sequence[Answer], packed: Ints) -> _Said:
        emotional = packed == EMOTIONAL
        emotions = np.empty(len(answers), dtype=object)
        for i in np.flatnonzero(emotional).tolist():
            emotions[i] = self.layout.contribution(count_emotions(answers[i], self.settings))
        sentiment = numbers([a.sentiment for a in answers])
        verdict, effort = packed & VERDICT, packed >> VERDICT_BITS
        return _Said(verdict, effort, sentiment, emotional, emotions)

    def _many_answered(self, answers: Arrivals[_Said]) -> Mask:
        slots = self._answers.find(answers.keys)
        new: Mask = slots == ABSENT
        emotional = answers.said.emotional
        known = self._are_known(slots, answers.occurred) & ~emotional
        self._remember_emotions(answers, np.flatnonzero(new & emotional))
        chosen = np.flatnonzero(known | (new & ~emotional))
        if chosen.size:
            self._remember(answers, chosen, slots[chosen])
        unusual: Mask = ~new & ~known
        return unusual

    def _remember(self, answers: Arrivals[_Said], chosen: Ints, slots: Slots) -> None:
        """Answers without emotions that are new, or replace one without emotions."""
        said = answers.said
        sentiment = said.sentiment[chosen]
        sentiments = fixed_columns(np.nan_to_num(sentiment))
        sentiments[np.isnan(sentiment)] = NO_SENTIMENT
        fields = {
            "row": answers.rows[chosen],
            "verdict": said.verdict[chosen],
            "sentiment": sentiments,
            "effort": said.effort[chosen],
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

    def _remember_emotions(self, answers: Arrivals[_Said], chosen: Ints) -> None:
        """Answers with emotions that were not known: counted one by one."""
        if not chosen.size:
            return
        added = answers.said.emotions[chosen].tolist()
        occurred, rows = answers.occurred[chosen], answers.rows[chosen]
        for at, row, emotions in zip(occurred.tolist(), rows.tolist(), added, strict=True):
            self.tally.add(at, row, emotions)
        fields = {"verdict": 0, "sentiment": NO_SENTIMENT, "effort": 0}
        keys = answers.keys[chosen]
        self._answers.put_new(keys, occurred, extras=added, row=rows, **fields)

    def _count(
        self, at: Ints, row: Ints, verdict: Ints, sentiment: Ints, effort: Ints, sign: int
    ) -> None:
        """Add, or take back, what ``count_opinion`` says, for many."""
        for number in distinct(verdict).tolist():
            chosen = np.flatnonzero(verdict == number)
            ones = np.full(chosen.size, sign, dtype=np.int64)
            counts = [(name, ones) for name in VERDICTS[number]]
            self.tally.add_columns(at[chosen], row[chosen], self.layout.parts(counts))
        said = sentiment != NO_SENTIMENT
        counts = [
            ("sentiments", said.astype(np.int64)),
            ("sentiment_sum", np.where(said, sentiment, 0)),
            ("ces_sum", effort),
        ]
        # What is taken back is what was added, part by part, so that no part of a sum remains.
        parts = [(place, sign * values) for place, values in self.layout.parts(counts)]
        self.tally.add_columns(at, row, parts)
