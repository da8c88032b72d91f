"""The service desk's four weeks through the real broker into a real worker."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.broker import Broker
from stream.core.catalogue import KPIS
from stream.core.timestamps import format_ms, parse
from stream.top.snapshot import read
from tests.e2e import commands
from tests.examples.test_service_desk import EXAMPLE, WINDOWS, Labels, compare, replay
from tests.kafka.topics import records
from tests.kafka.workers import WorkerProcess

EVENTS = EXAMPLE / "events.jsonl.gz"
COUNT = 6_175
#: So wide a window that nothing is too late when it is read.
WIDE = '[[window]]\nsize = "35d"\npane = "4h"\n'
Rows = dict[tuple[str, str, Labels], dict[str, Any]]


def configuration(folder: Path, broker: Broker, name: str) -> Path:
    more = (EXAMPLE / "cxkpi.toml").read_text("utf-8") + WIDE
    return commands.configuration(folder / "cxkpi.toml", broker.bootstrap, name, more)


def outcomes(worker: WorkerProcess) -> Mapping[str, float]:
    """The outcomes that the worker has counted."""
    return read(worker.page("/metrics")[1], 0.0, KPIS).outcomes


def settled(worker: WorkerProcess) -> tuple[Rows, int]:
    """The series once all records were counted, and the time that they stand for, in ms."""
    worker.until(lambda: sum(outcomes(worker).values()) == COUNT, "counted all records")
    counted = time.time()

    def evaluated() -> bool:
        at = read(worker.page("/metrics")[1], 0.0, KPIS).evaluated
        return at is not None and at > counted

    worker.until(evaluated, "evaluated them")
    text = worker.page("/metrics")[1]
    rows: Rows = {}
    at = 0
    for window in WINDOWS:
        snapshot = read(text, 0.0, KPIS, window)
        assert snapshot.evaluated is not None
        at = round(snapshot.evaluated * 1000)
        for (kpi, labels), sample in snapshot.samples.items():
            rows[kpi, window, labels] = {
                part: getattr(sample, part)
                for part in ("value", "lower", "upper", "numerator", "denominator")
            }
    return rows, at


def test_four_weeks_until_now_agree_with_the_columns_and_with_replay(
    broker: Broker, tmp_path: Path
) -> None:
    config = configuration(tmp_path, broker, "e2e-desk")
    sent = json.loads(commands.run("send", EVENTS, "--now", "--json", "--config", config).stdout)
    assert (sent["sent"], sent["unsendable"]) == (COUNT, 0)
    with WorkerProcess(config, tmp_path / "worker.log") as worker:
        rows, at = settled(worker)
        counted = outcomes(worker)
    moved = [record.value or b"" for record in records(broker.bootstrap, ["e2e-desk-cx.ticket"])]
    compare(rows, at / 1000, shift(moved) / 1000)
    assert (counted["accepted"], counted["orphan"]) == (COUNT - 3, 3)

    recorded = tmp_path / "moved.jsonl"
    recorded.write_bytes(b"".join(value + b"\n" for value in moved))
    expected, _ = replay(recorded, more=("--at", format_ms(at)))
    expected = {key: row for key, row in expected.items() if row["value"] is not None}
    found = {key: row for key, row in rows.items() if row["value"] is not None}
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row == {part: expected[key][part] for part in row}, key


def shift(moved: list[bytes]) -> int:
    """By how much ``--now`` has moved the events, in ms: all by the same."""
    with gzip.open(EVENTS) as file:
        before = {event["event_id"]: event["occurred_at"] for event in map(json.loads, file)}
    shifts = {
        parse(event["occurred_at"]) - parse(before[event["event_id"]])
        for event in map(json.loads, moved)
    }
    (only,) = shifts
    return only


def test_as_they_were_recorded_they_are_all_too_late_and_no_dead_letters(
    broker: Broker, tmp_path: Path
) -> None:
    config = configuration(tmp_path, broker, "e2e-late")
    commands.run("send", EVENTS, "--config", config)
    with WorkerProcess(config, tmp_path / "worker.log") as worker:
        rows, _ = settled(worker)
        assert {outcome: n for outcome, n in outcomes(worker).items() if n} == {"late": COUNT}
    assert all(not row["denominator"] and row["value"] is None for row in rows.values())
    assert records(broker.bootstrap, ["e2e-late-cx.ticket.dlq"]) == []
