"""Mistakes about surveys and tickets."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.mistake import Mistake

SURVEYS: Final = (
    Mistake(
        "promoters-above-nine",
        "topics/survey/opinions.py",
        "if 10 * score >= 9 * high:",
        "if 10 * score > 9 * high:",
        "a score of exactly nine is no promoter",
    ),
    Mistake(
        "detractors-up-to-seven",
        "topics/survey/opinions.py",
        "elif 10 * score < 7 * high:",
        "elif 10 * score <= 7 * high:",
        "a score of exactly seven is a detractor",
    ),
    Mistake(
        "nps-from-the-scale-s-minimum",
        "topics/survey/opinions.py",
        "if 10 * score >= 9 * high:",
        "if 10 * (score - low) >= 9 * (high - low):",
        "promoters on scales that don't begin at 0 are others",
    ),
    Mistake(
        "satisfied-above-four",
        "topics/survey/opinions.py",
        "if of * (score - low) >= needed * (high - low):",
        "if of * (score - low) > needed * (high - low):",
        "a four of five is not satisfied",
    ),
    Mistake(
        "effort-off-by-one",
        "topics/survey/opinions.py",
        "return fixed(1 + 6 * (score - low)",
        "return fixed(6 * (score - low)",
        "the mean effort is one too low",
    ),
    Mistake(
        "edit-in-its-own-pane",
        "topics/survey/answers.py",
        "self.tally.add(first, row, self._added(opinion, emotions))",
        "self.tally.add(occurred, row, self._added(opinion, emotions))",
        "an edited answer moves to the pane of the edit",
    ),
    Mistake(
        "edit-not-taken-back",
        "topics/survey/answers.py",
        "self._count(first[known], **former, sign=-1)",
        "self._count(first[known], **former, sign=0)",
        "an edited answer counts twice",
    ),
    Mistake(
        "answers-forgotten-early",
        "topics/survey/answers.py",
        "abs(occurred - known[LAST]) <= self._memory_ms else None",
        "abs(occurred - known[LAST]) < self._memory_ms else None",
        "an edit exactly at the end of the memory is an orphan",
    ),
    Mistake(
        "emotions-case-sensitive",
        "topics/survey/opinions.py",
        "if folded in settings.positive_emotions:",
        "if name in settings.positive_emotions:",
        "Happy is no emotion",
    ),
    Mistake(
        "intensities-without-minimum",
        "topics/survey/opinions.py",
        "return fixed(10 * (intensity - low) / (high - low))",
        "return fixed(10 * intensity / high)",
        "intensities on scales that don't begin at 0 are too high",
    ),
    Mistake(
        "sentiment-of-answers-forgotten",
        "topics/survey/answers.py",
        '("sentiments", said.astype(np.int64)),',
        '("sentiments", said * max(sign, 0)),',
        "edited answers stay in the denominator of the sentiment",
    ),
)


TICKETS: Final = (
    Mistake(
        "seven-days-exclusive",
        "topic.py",
        "if known is None or occurred - known > self.reach_ms:",
        "if known is None or occurred - known >= self.reach_ms:",
        "a reopening exactly seven days later is an orphan",
    ),
    Mistake(
        "reopening-from-long-before-is-an-orphan",
        "topic.py",
        "return not self.of_any_age and known - occurred > self.reach_ms",
        "return known - occurred > self.reach_ms",
        "a reopening from more than seven days before the close is refused",
    ),
    Mistake(
        "overtaken-close-is-remembered",
        "topics/ticket/tickets.py",
        "if known is None or known.closed_at - occurred <= CLOSE_MEMORY_MS:",
        "if True:",
        "a close that comes late takes the place of a much younger one",
    ),
    Mistake(
        "many-overtaken-closes-are-remembered",
        "topics/ticket/tickets.py",
        "        usual &= ~self._are_overtaken(slots, occurred)\n",
        "",
        "closes that come late take the places of much younger ones where many do",
    ),
    Mistake(
        "reopened-tickets-forgotten-early",
        "topics/ticket/tickets.py",
        "            last = max(occurred, reopened_at)\n",
        "            last = occurred\n",
        "a close that replaces a younger one, which was reopened, makes the reopening forgotten",
    ),
    Mistake(
        "old-reopening-counts",
        "topics/ticket/tickets.py",
        "if known is None or occurred < known.closed_at:",
        "if known is None:",
        "a reopening from before the close takes it back",
    ),
    Mistake(
        "second-close-adds",
        "topics/ticket/tickets.py",
        "                self._take_back(known)\n                reopened_at = known.reopened_at",
        "                reopened_at = known.reopened_at",
        "a ticket that is closed twice counts twice",
    ),
    Mistake(
        "reopening-takes-nothing-back",
        "topics/ticket/tickets.py",
        "            return\n        self._take_back(known)\n",
        "            return\n",
        "a reopened ticket stays resolved",
    ),
    Mistake(
        "many-reopenings-take-nothing-back",
        "topics/ticket/tickets.py",
        "            self._take_back_many(slots)\n",
        "",
        "tickets that are reopened many at a time stay resolved",
    ),
    Mistake(
        "many-second-closes-add",
        "topics/ticket/tickets.py",
        "        self._take_back_many(slots[near])\n",
        "",
        "tickets that are closed twice count twice where many are",
    ),
    Mistake(
        "first-contact-after-one-of-many-reopenings",
        "topics/ticket/tickets.py",
        "            said.first_contact[reopened_at != _NEVER] = 0\n",
        "",
        "of many tickets those that were opened again are first contacts",
    ),
    Mistake(
        "parts-of-what-is-negative",
        "topics/ticket/tickets.py",
        "[(where, n * sign) for where, n in self.layout.parts(counts)]",
        "self.layout.parts([(name, n * sign) for name, n in counts])",
        "resolution times that are taken back leave traces",
    ),
    Mistake(
        "first-contact-after-a-reopening",
        "topics/ticket/closes.py",
        "and not ticket.reopens and not reopened:",
        "and not ticket.reopens:",
        "a ticket that was opened again is a first contact",
    ),
    Mistake(
        "negative-resolution-times",
        "topics/ticket/tickets.py",
        "time = np.maximum(0, lasted[chosen] * PER_MS - fixed_columns(excluded[chosen]))",
        "time = lasted[chosen] * PER_MS - fixed_columns(excluded[chosen])",
        "more excluded time than there was lowers the mean below zero",
    ),
    Mistake(
        "unresolved-counted",
        "topics/ticket/tickets.py",
        "return bits | resolved * said.resolved",
        "return bits | resolved",
        "the denominator covers tickets that are not resolved",
    ),
    Mistake(
        "rapid-resolution-exclusive",
        "topics/ticket/tickets.py",
        "rapid = time <= self.settings.rapid_resolution_ms * PER_MS",
        "rapid = time < self.settings.rapid_resolution_ms * PER_MS",
        "a resolution exactly in time is too late",
    ),
    Mistake(
        "rapid-response-exclusive",
        "topics/ticket/tickets.py",
        "said.response_seconds <= self.settings.rapid_response_ms / SECOND",
        "said.response_seconds < self.settings.rapid_response_ms / SECOND",
        "a response exactly in time is too late",
    ),
    Mistake(
        "quantile-rank-off-by-one",
        "quantiles.py",
        'np.searchsorted(cumulative, before + ranks, side="right")',
        'np.searchsorted(cumulative, before + ranks, side="left")',
        "quantiles are those of the ticket below",
    ),
    Mistake(
        "coarse-buckets",
        "quantiles.py",
        "RELATIVE_ERROR = 0.01",
        "RELATIVE_ERROR = 0.04",
        "quantiles are off by more than 1%",
    ),
)
