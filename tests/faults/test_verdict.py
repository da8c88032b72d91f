"""A mistake is found by what it leaves behind, not by a run that takes too long."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaError

from stream.kafka.producer import NotDelivered
from tests.faults import __main__ as faults
from tests.faults.mutations import MUTATIONS
from tests.faults.verdict import Verdict
from tests.kafka.workers import Stuck

NAME = MUTATIONS[0].name
STUCK = ["A is not ready after 20 s"]
FOUND = ["events are 3, not 4"]


@pytest.mark.parametrize(
    ("findings", "stuck", "is_found"),
    [([], [], False), ([], STUCK, False), (FOUND, [], True), (FOUND, STUCK, True)],
)
def test_a_mistake_is_found_by_what_differs_whether_or_not_the_run_got_stuck(
    findings: list[str], stuck: list[str], is_found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = Verdict("case", findings=findings, stuck=stuck)
    monkeypatch.setattr(faults, "_mutated", lambda _: verdict)
    assert (faults._run_mutations([NAME]) == []) is is_found


@pytest.mark.parametrize("error", [OSError("gone"), KafkaError(), NotDelivered(), Stuck("slow")])
def test_a_run_that_can_t_go_on_is_a_row_of_the_table(error: Exception) -> None:
    def run() -> Verdict:
        raise error

    verdict = faults._come_to_an_end("case", run)
    assert (verdict.schedule, verdict.findings, len(verdict.stuck)) == ("case", [], 1)


def test_what_falls_apart_in_process_finds_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def falling() -> list[str]:
        raise KeyError("pane")

    in_process = next(m for m in MUTATIONS if m.case == "log")
    monkeypatch.setattr(faults, "_IN_PROCESS", {"log": falling})
    assert faults._mutated(in_process).findings == ["the state falls apart: KeyError('pane')"]


def test_without_a_mistake_a_run_that_got_stuck_is_wrong() -> None:
    verdict = Verdict("case", findings=FOUND, stuck=STUCK)
    assert verdict.wrong == [*FOUND, f"stuck: {STUCK[0]}"]
