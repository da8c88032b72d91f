"""The recorded incident makes exactly its recorded changes."""

from __future__ import annotations

from typing import Any

import msgspec

from stream.core.alerts import AlertStates, Change, RuleSet
from tests.core import incident
from tests.core.alerting import evaluate


def played(*, restart: bool = False) -> list[Change]:
    """The incident's changes; with ``restart`` the states are written and read each time."""
    settings = incident.settings()
    rules, states = RuleSet.of(settings), AlertStates()
    made: list[Change] = []
    for evaluation in incident.evaluations(settings):
        states, changes = evaluate(rules, states, evaluation, evaluation.at)
        made.extend(changes)
        if restart:
            states = msgspec.msgpack.decode(msgspec.msgpack.encode(states), type=AlertStates)
    return made


def short(change: Change) -> dict[str, Any]:
    return {
        "at": change.changed_at,
        "rule": change.rule,
        "labels": change.labels,
        "from": change.from_,
        "to": change.to,
    }


def test_the_recorded_incident_makes_its_recorded_changes() -> None:
    assert [short(change) for change in played()] == incident.changes()


def test_a_restart_after_every_evaluation_makes_the_same_changes() -> None:
    assert played(restart=True) == played()
