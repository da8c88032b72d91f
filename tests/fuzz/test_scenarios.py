"""Scenarios in all ways of reading show no difference, and one that does is made small."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tests.fuzz import running
from tests.fuzz.running import findings
from tests.fuzz.scenario import Scenario, Step, of_topic, scenario
from tests.fuzz.shrinking import shrunk
from tests.reference.events import TOPICS

#: ``make mutants`` asks only whether there is a difference.
IS_HASTY = "FUZZ_HASTY" in os.environ


def check(given: Scenario) -> None:
    found = findings(given)
    if found and not IS_HASTY:
        small = shrunk(given, lambda other: bool(findings(other)), tries=500)
        pytest.fail("\n".join([*findings(small), small.dump()]))
    assert not found


@pytest.mark.parametrize("topic", TOPICS)
def test_the_core_says_of_short_streams_what_the_reference_says(topic: str) -> None:
    for seed in range(200):
        check(of_topic(topic, seed))


@pytest.mark.parametrize("first", range(0, 160, 20))
def test_the_core_says_of_a_scenario_what_the_reference_says(first: int) -> None:
    for seed in range(first, first + 20):
        check(scenario(seed))


def test_a_scenario_follows_from_its_seed_and_is_the_same_from_a_file() -> None:
    for seed in range(30):
        given = scenario(seed)
        assert given == scenario(seed) == Scenario.load(given.dump())


def test_scenarios_are_read_in_every_way() -> None:
    found = [scenario(seed) for seed in range(100)]
    assert {s.shards for s in found} == {0, 1, 2, 3}
    assert {step.then for s in found for step in s.steps} == {
        "on", "batch", "look", "settle", "flush", "restart", "crash",
    }  # fmt: skip
    for holds in (
        lambda s: s.told,
        lambda s: not s.columns,
        lambda s: s.until is not None,
        lambda s: s.after[-1] > 0,
    ):
        assert any(map(holds, found))


def test_a_scenario_that_fails_is_made_as_small_as_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    given = next(s for s in map(scenario, range(100)) if s.shards and len(s.steps) > 40)
    culprits = {given.steps[i].record for i in (3, 30)}
    assert len(culprits) == 2

    def fails(other: Scenario) -> bool:
        return culprits <= {step.record for step in other.steps}

    small = shrunk(given, fails)
    assert {step.record for step in small.steps} == culprits
    assert len(small.steps) == 2
    assert (small.shards, small.told, len(small.config["windows"])) == (0, False, 1)


def test_an_error_of_the_core_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("so it is told")

    monkeypatch.setattr(running, "Site", broken)
    assert findings(scenario(1)) == ["ZeroDivisionError: so it is told"]


def test_a_wrong_outcome_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(scenario(1), steps=(Step(b"{", 0, "on"),))
    assert not findings(given)
    monkeypatch.setattr(running, "outcomes", lambda *_: ["accepted"])
    assert findings(given) == ["record 1: core accepted, reference invalid"]
