"""Alerts that are over since their rule is gone or watches something else now."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from stream.core.alerts.change import Change
from stream.core.alerts.machine import AlertState, AlertStates, Watched, end, is_watched
from stream.core.alerts.measures import SERIES
from stream.core.alerts.rules import PreparedRule, RuleSet
from stream.core.series import rollup_of
from stream.core.settings import Rule


class Sorted(NamedTuple):
    """States by whether they go on, and the changes of those that don't."""

    going_on: list[AlertState]
    #: Inactive from now on; until the next evaluation their places are taken.
    over: list[AlertState]
    changes: list[Change]


def sorted_out(rules: RuleSet, states: AlertStates, now: int) -> Sorted:
    """End the alerts whose rule is gone, or watches something else, at ``now`` (ms).

    Of those that an earlier version left nobody knows what they watched: they go on where there is
    a rule of their name and rollup, and else are dropped untold.
    """
    found = Sorted([], [], [])
    prepared = {one.rule.name: one for one in rules.rules}
    for state in states.alerts:
        rule = prepared.get(state.rule)
        if rule is not None and _goes_on(rule, state):
            found.going_on.append(_noted(state, rule.rule))
        elif state.phase == "inactive" or state.watched is None:
            continue
        elif state.known_until is not None and now <= state.known_until:
            found.over.append(state)
        else:
            after, change = end(_former(state, state.watched), state, None, now)
            found.over.append(after)
            found.changes.append(msgspec.structs.replace(change, explanation=_why(state, rule)))
    return found


def _goes_on(prepared: PreparedRule, state: AlertState) -> bool:
    is_of_rollup = state.overflow or rollup_of(state.labels) == prepared.by
    return is_of_rollup and is_watched(state, prepared.rule)


def _noted(state: AlertState, rule: Rule) -> AlertState:
    if state.watched is not None:
        return state
    return msgspec.structs.replace(state, watched=Watched.of(rule))


def _former(state: AlertState, watched: Watched) -> Rule:
    """As much of the rule as changes say of it."""
    kpi, window = (SERIES, "") if state.overflow else (watched.kpi, watched.window)
    return Rule(state.rule, kpi, window, watched.by, severity=watched.severity)


def _why(state: AlertState, rule: PreparedRule | None) -> str:
    what = "is not configured any more" if rule is None else "watches something else now"
    return f"The alert is over, since rule {state.rule} {what}."
