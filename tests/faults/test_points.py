"""An order is carried out once, or withdrawn, and never both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.alerting import Alerting
from tests.faults.points import Control, Refused
from tests.faults.schedule import CASES, Schedule
from tests.kafka.workers import Stuck


@pytest.fixture
def order(tmp_path: Path) -> Path:
    return tmp_path / "A.order"


def test_an_order_is_carried_out_once_at_the_passing_that_it_names(order: Path) -> None:
    control = Control(order)
    order.write_text("commit repeat 0 2")
    assert [control.passing(p) for p in ("begin", "commit", "commit")] == [None, None, "repeat"]
    assert not list(order.parent.iterdir())
    assert control.passing("commit") is None


def test_a_client_that_shall_refuse_raises(order: Path) -> None:
    order.write_text("commit refuse 0 1")
    with pytest.raises(Refused, match="commit"):
        Control(order).passing("commit")
    assert not order.exists()


def test_an_order_that_is_withdrawn_while_it_is_read_is_not_carried_out(
    order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_text

    def reading(path: Path) -> str:
        text = read(path)
        path.rename(path.with_suffix(".withdrawn"))
        return text

    order.write_text("commit refuse 0 1")
    monkeypatch.setattr(Path, "read_text", reading)
    assert Control(order).passing("commit") is None


@pytest.mark.parametrize("schedule", CASES.values(), ids=CASES)
def test_each_order_of_a_case_is_waited_for(schedule: Schedule) -> None:
    kinds = [(step.worker, step.do) for step in schedule.steps]
    ordered = Counter(worker for worker, do in kinds if do == "order")
    assert ordered == Counter(worker for worker, do in kinds if do == "obeyed")


def test_a_write_that_lingers_and_is_given_up_is_no_run_that_tested_a_fence(
    order: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    alerting = Alerting(nothing)
    alerting._orders, alerting._workers = [order], [nothing]
    monkeypatch.setattr("tests.faults.alerting._SOON", 0.05)
    with pytest.raises(Stuck, match="given up"):
        alerting._let_go(nothing, "linger")
    assert not order.exists()
