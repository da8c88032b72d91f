"""A mistake is found by what it leaves behind, not by a run that takes too long."""

from __future__ import annotations

from dataclasses import replace

from tests.faults.mutations import MUTATIONS
from tests.faults.verdict import Verdict

PLAIN = replace(MUTATIONS[0], stands_still="")


def test_a_run_that_got_stuck_is_wrong_and_finds_no_mistake() -> None:
    verdict = Verdict("case", stuck=["A is not ready after 20 s"])
    assert verdict.of(PLAIN) == []
    assert verdict.wrong == ["stuck: A is not ready after 20 s"]


def test_it_finds_one_whose_harm_is_that_a_worker_stands_still() -> None:
    verdict = Verdict("case", stuck=["A is not ready after 20 s"])
    harm = replace(PLAIN, stands_still="a worker waits for ever")
    assert verdict.of(harm) == ["A is not ready after 20 s"]


def test_what_differs_finds_a_mistake_whether_or_not_the_run_got_stuck() -> None:
    verdict = Verdict("case", findings=["events are 3, not 4"], stuck=["A is not ready"])
    assert verdict.of(PLAIN) == ["events are 3, not 4"]
    assert len(verdict.wrong) == 2
