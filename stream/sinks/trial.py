"""A marked alert that tries out the sinks: it fires and is resolved, and nothing is wrong."""

from __future__ import annotations

from typing import Final

import msgspec

from stream.core.alerts import Change, Phase, Target
from stream.core.alerts.change import change_of
from stream.core.alerts.sentences import summary_values
from stream.core.alerts.template import filled
from stream.core.settings import Rule

#: The label that marks a test, also for a receiver that routes by labels.
MARK: Final = ("test", "true")
_STEPS: tuple[tuple[Phase, Target], ...] = (("inactive", "firing"), ("firing", "resolved"))


def trial(rule: Rule, began: int, ended: int) -> tuple[Change, ...]:
    """The two changes of a test alert of a rule; times are in ms since the epoch.

    Its labels are those of the rule's rollup, each with the value ``test``, and the mark. It has no
    value, since nothing was measured.
    """
    labels = dict.fromkeys(rule.by, "test") | dict([MARK])
    if rule.topic:
        labels["topic"] = rule.topic
    series = tuple(sorted(labels.items()))
    changes = (
        msgspec.structs.replace(
            change_of(rule, series, from_, to, started=began, now=at),
            threshold=rule.threshold,
            explanation=f"This is a test of the rule {rule.name}; nothing is wrong.",
            summary=f"[TEST] {rule.summary}".rstrip(),
        )
        for (from_, to), at in zip(_STEPS, (began, ended), strict=True)
    )
    return tuple(
        msgspec.structs.replace(one, summary=filled(one.summary, summary_values(one)))
        for one in changes
    )
