"""At most so many alerts per rule, and one more that says of how many series there are none.

Every series is still evaluated. What counts is how many of a rule's alerts can be pending or firing
at a time: those that are keep their places, and free places go to further series in the order of
their labels. Which ones have a place is in the states, so a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from stream.core.alerts.change import Change, Contributor, Rest
from stream.core.alerts.machine import AlertState, RuleSample, step
from stream.core.alerts.measures import SERIES
from stream.core.series import LabelPairs
from stream.core.settings import MINUTE, Rule

#: The alert is resolved once no more than this part of the places is needed, ...
CLEAR_PART: Final = 0.9
#: ... and that for so long at least, in ms: a rule at its limit does not flap.
LEAST_HOLD_MS: Final = 5 * MINUTE
#: How many of the series without an alert a change names.
MOST_NAMED: Final = 5


def overflow_rule(rule: Rule) -> Rule:
    """The rule of the alert on the number of series: a threshold like any other."""
    return replace(
        rule,
        kpi=SERIES,
        window="",
        by=(),
        topic="",
        above=float(rule.max_series),
        below=None,
        clear=float(min(rule.max_series - 1, int(CLEAR_PART * rule.max_series))),
        keep_firing_for_ms=max(rule.keep_firing_for_ms, LEAST_HOLD_MS),
        significant=False,
        on_no_data="keep",
        baseline=None,
        factor=None,
    )


def longest_wait_ms(rule: Rule) -> int:
    """How long an alert of a rule can take to come to rest once nothing moves any more.

    The alert on the number of series begins to clear only when the last series has: their times
    that they are kept follow each other, and a series that waited for a place is pending from then.
    """
    return rule.for_ms + rule.keep_firing_for_ms + overflow_rule(rule).keep_firing_for_ms


def step_overflow(
    rule: Rule, previous: AlertState, active: int, left_out: Sequence[LabelPairs], now: int
) -> tuple[AlertState, Change | None]:
    """Take the alert on the number of series through the evaluation at ``now`` (ms).

    ``rule`` is an ``overflow_rule``, ``active`` the number of its series' alerts that are pending
    or firing, ``left_out`` the series that would be too, in order.
    """
    needed = active + len(left_out)
    # Alerts that are kept from before a lower limit are no series without one.
    sample = RuleSample(float(needed if left_out else min(needed, rule.max_series)))
    state, change = step(rule, previous, sample, now)
    if change is None:
        return state, change
    change = msgspec.structs.replace(change, value=float(needed))
    if not left_out:
        return state, change
    named = tuple(Contributor(dict(labels), 1.0) for labels in left_out[:MOST_NAMED])
    beyond = float(needed - rule.max_series)
    return state, msgspec.structs.replace(
        change,
        contributors=named,
        rest=Rest(beyond - len(named), series=len(left_out) - len(named)),
        reference=float(rule.max_series),
    )
