"""What rules are decided by beside KPIs: since when there is data, when topics last had events.

How long ago a topic's latest event was is a sample, for rules that miss input. By event time, not
by arrival: it is what both a recording and a live log hold, so both give the same alerts; and a
producer that only sends what is long past is missed too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stream.core.series import Evaluation, Sample
from stream.core.settings import INPUT, SECOND, Rule


def with_input(
    evaluation: Evaluation,
    rules: Iterable[Rule],
    latest: Mapping[str, int],
    first: int | None,
    starts: Mapping[str, int] | None = None,
) -> Evaluation:
    """The evaluation with ``first`` and a sample for each topic that a rule misses events of.

    ``latest`` is the greatest ``occurred_at`` (ms) of an accepted event by topic. A topic that
    never had one is measured from ``first``, the earliest ever of any topic; before that there is
    no sample. An event that is ahead of the evaluation counts as 0 s ago. ``starts`` says from when
    on (ms) windows that began empty hold what happened.
    """
    topics = sorted({rule.topic for rule in rules if rule.topic})
    samples = [
        Sample(INPUT, "", (("topic", topic),), max(0, evaluation.at - since) / SECOND)
        for topic in topics
        if (since := latest.get(topic, first)) is not None
    ]
    return Evaluation(evaluation.at, (*evaluation.samples, *samples), first, starts or {})
