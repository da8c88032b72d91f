"""What a live worker's rules were given, recorded; and the changes that the core makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.core.alerts import AlertStates, Change, RuleSet
from stream.core.catalogue import FAMILIES, KPIS
from stream.core.series import Evaluation
from stream.core.settings import Rule, Settings
from stream.kafka.alert_log import states_in
from stream.kafka.topics import COMPACTED
from tests.core.alerting import evaluate
from tests.kafka.topics import administer, records


class Recorded(msgspec.Struct, frozen=True):
    """An evaluation of a family's rules: the family (topic), and all that it saw."""

    family: str
    evaluation: Evaluation


def install(file: Path) -> None:
    """Have this process append every evaluation of its rules to a file."""
    from stream import desk

    original = vars(desk)["evaluate"]

    def recording(rules: RuleSet, states: AlertStates, evaluation: Evaluation, *more: Any) -> Any:
        line = msgspec.json.encode(Recorded(_topic(rules.rules[0].rule), evaluation)) + b"\n"
        with file.open("ab") as record:
            record.write(line)
        return original(rules, states, evaluation, *more)

    vars(desk)["evaluate"] = recording


def _topic(rule: Rule) -> str:
    """The family that a rule belongs to."""
    return rule.topic or KPIS[rule.kpi].topic


def read(files: Iterable[Path]) -> dict[str, list[Evaluation]]:
    """The evaluations of all workers by family, in order of time.

    One that is there twice was made anew, or by an owner that did not know that it was none. A line
    that a kill -9 has cut off was never acted upon.
    """
    found: dict[str, list[Evaluation]] = {}
    for file in files:
        lines = file.read_bytes().split(b"\n") if file.exists() else []
        for line in lines[:-1]:
            one = msgspec.json.decode(line, type=Recorded)
            found.setdefault(one.family, []).append(one.evaluation)
    return {family: sorted(some, key=lambda e: e.at) for family, some in found.items()}


@dataclass
class Retold:
    """What the core makes of recorded evaluations."""

    changes: list[Change] = field(default_factory=list)
    #: Evaluations whose outcome was not committed.
    dropped: int = 0
    #: Committed outcomes that are those of no recorded evaluation.
    unseen: list[str] = field(default_factory=list)


def retell(
    settings: Settings,
    recorded: Mapping[str, Sequence[Evaluation]],
    committed: Mapping[str, Sequence[AlertStates]],
) -> Retold:
    """Take the rules through recorded evaluations.

    ``committed`` are the states that were written, by family in order. An outcome that is not the
    next of them was lost with its worker.
    """
    told = Retold()
    for family in recorded.keys() | committed.keys():
        own = tuple(rule for rule in settings.rules if _topic(rule) == family)
        rules, states = RuleSet.of(replace(settings, rules=own)), AlertStates()
        written = list(committed.get(family, ()))
        for evaluation in recorded.get(family, ()):
            after, changes = evaluate(rules, states, evaluation, evaluation.at)
            if after.alerts != states.alerts or changes:
                if not written or not _are_same(after, written[0]):
                    told.dropped += 1
                    continue
                told.changes += changes
                del written[0]
            states = after
        told.unseen += [f"{family} at {states.at}" for states in written]
    return told


def _are_same(some: AlertStates, others: AlertStates) -> bool:
    """Whether two states are the same, in whatever order their alerts are."""
    return (some.at, set(some.alerts)) == (others.at, set(others.alerts))


#: What a change says of the rule and its sample; the rest explains it to people.
_DECIDED: Final = (
    *("id", "rule", "from_", "to", "severity", "kpi", "window", "labels", "started_at"),
    *("changed_at", "value", "lower", "upper", "numerator", "denominator", "threshold"),
)


def decided(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """What the rules have decided, in order of time, rule and labels."""
    return [{name: getattr(c, name) for name in _DECIDED} for c in sorted(changes, key=in_order)]


def in_order(change: Change) -> tuple[str, str, list[tuple[str, str]]]:
    """Sorts changes by time, rule and labels; families write theirs apart from each other."""
    return change.changed_at, change.rule, sorted(change.labels.items())


def keep_all_states(bootstrap: str, group: str) -> None:
    """Have no state of the alerts compacted away, so that all can be read later."""
    settings = COMPACTED | {"min.compaction.lag.ms": str(30 * 24 * 60 * 60 * 1000)}
    kept = ConfigResource(ConfigResourceType.TOPIC, f"{group}-alerts", settings)
    administer(bootstrap, lambda admin: admin.alter_configs([kept]))


def committed_states(bootstrap: str, group: str) -> dict[str, list[AlertStates]]:
    """The states that were written, by family in order."""
    found: dict[str, list[AlertStates]] = {}
    log: dict[bytes, bytes] = {}
    topic = f"{group}-alerts"
    for record in records(bootstrap, [topic]):
        key = record.key or b""
        if record.value is None:
            # A worker with a mistake may delete what was never written.
            log.pop(key, None)
        else:
            log[key] = record.value
        # The record of the family itself ends what is written at a time.
        if key.decode() in FAMILIES:
            found.setdefault(key.decode(), []).append(states_in(log, topic, key))
    return found


def changes_of(bootstrap: str, prefix: str) -> list[Change]:
    """The changes in ``cx.alert``, in order."""
    found = records(bootstrap, [f"{prefix}cx.alert"])
    return [msgspec.json.decode(r.value or b"", type=Change) for r in found]
