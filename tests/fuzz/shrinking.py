"""The smallest scenario that still shows a difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.fuzz.scenario import Scenario, Step
from tests.reference.config import DEFAULTS

#: So many scenarios are tried at most.
TRIES = 3000


def shrunk(scenario: Scenario, fails: Callable[[Scenario], bool], tries: int = TRIES) -> Scenario:
    """A scenario with as few steps and settings as still fail; ``scenario`` must fail."""
    left = tries
    found, is_new = scenario, True
    while is_new and left > 0:
        is_new = False
        for smaller in _smaller(found):
            left -= 1
            if fails(smaller):
                found, is_new = smaller, True
                break
            if left <= 0:
                break
    return found


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios that are a little less, the boldest first."""
    for steps in _parts(scenario.steps):
        yield replace(scenario, steps=steps)
    for config in _simpler(scenario.config):
        yield replace(scenario, config=config)
    for i, step in enumerate(scenario.steps):
        if step.then != "on":
            yield replace(scenario, steps=_with(scenario.steps, i, replace(step, then="on")))
    if len(scenario.after) > 1:
        yield from (replace(scenario, after=(after,)) for after in scenario.after)
    if scenario.told:
        yield replace(scenario, told=False)
    if scenario.shards > 1:
        yield replace(scenario, shards=1)
    if scenario.shards:
        yield replace(scenario, shards=0)
    if scenario.until is not None:
        yield replace(scenario, until=None)
    if not scenario.columns:
        yield replace(scenario, columns=True)


def _parts(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps without some that follow one another: many, then fewer, then one."""
    size = len(steps) // 2
    while size:
        for first in range(len(steps) - size, -1, -size):
            yield (*steps[:first], *steps[first + size :])
        size //= 2


def _simpler(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, default in DEFAULTS.items():
        if name not in ("windows", "rollups", "dimensions") and config[name] != default:
            yield {**config, name: default}
    for name in ("windows", "rollups"):
        if len(config[name]) > 1:
            for gone in config[name]:
                rest: Any = [x for x in config[name] if x != gone]
                if name == "windows":
                    rest = {label: config[name][label] for label in rest}
                yield {**config, name: rest}


def _with(steps: Sequence[Step], place: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:place], step, *steps[place + 1 :])
