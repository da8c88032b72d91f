"""The service desk's four weeks: what ``replay`` says, against a computation from the columns."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import math
import runpy
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.broker import Broker

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "service-desk"
MINUTE = 60
WINDOWS = {"24h": (86_400, 600), "7d": (7 * 86_400, 3_600), "28d": (28 * 86_400, 14_400)}
#: A close is remembered for this long.
REMEMBERED = 7 * 86_400
Z = 1.959964

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Close:
    """A ticket that was closed, as the columns say; times in seconds."""

    at: int
    channel: str
    region: str
    resolution: int
    first_response: int
    first_contact: bool


def seconds(text: str) -> int:
    day, month, year, hour, minute = map(int, text.replace("/", " ").replace(":", " ").split())
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


def columns() -> dict[str, list[dict[str, str]]]:
    """The rows of each incident, but for those whose times run backwards."""
    incidents: dict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(EXAMPLE / "states.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            incidents[row["number"]].append(row)
    in_order = {}
    for number, rows in incidents.items():
        at = [seconds(rows[0]["opened_at"]), *(seconds(row["sys_updated_at"]) for row in rows)]
        if all(one <= two for one, two in pairwise(at)):
            in_order[number] = rows
    return in_order


def top_locations() -> list[str]:
    with gzip.open(EXAMPLE / "states.csv.gz", "rt") as file:
        first = {row["number"]: row["location"] for row in csv.DictReader(file)}
    return [place for place, _ in Counter(first.values()).most_common(6)]


def standing() -> tuple[list[Close], Counter[str], int]:
    """The closes that count in the end, the outcomes, and the time of the last event."""
    outcomes: Counter[str] = Counter()
    last = 0
    kept: list[Close] = []
    large = top_locations()
    for rows in columns().values():
        opened = seconds(rows[0]["opened_at"])
        mine: list[Close] = []
        remembered: Close | None = None
        reopened = False
        for i, row in enumerate(rows):
            at = seconds(row["sys_updated_at"])
            is_closed = row["incident_state"] in {"Resolved", "Closed"}
            was_closed = i > 0 and rows[i - 1]["incident_state"] in {"Resolved", "Closed"}
            if is_closed == was_closed:
                continue
            last = max(last, at)
            known = remembered is not None and at - remembered.at <= REMEMBERED
            if was_closed:
                outcomes["accepted" if known else "orphan"] += 1
                if known and remembered in mine:
                    mine.remove(remembered)
                    reopened = True
                continue
            outcomes["accepted"] += 1
            if known and remembered in mine:
                mine.remove(remembered)
            idle = sum(
                seconds(after["sys_updated_at"]) - seconds(before["sys_updated_at"])
                for before, after in pairwise(rows[: i + 1])
                if before["incident_state"] in {"Awaiting User Info", "Resolved", "Closed"}
            )
            answer = next(
                seconds(r["sys_updated_at"]) for r in rows if r["incident_state"] != "New"
            )
            place = row["location"]
            remembered = Close(
                at,
                row["contact_type"].lower(),
                place.lower().replace(" ", "-") if place in large else "elsewhere",
                max(0, at - opened - idle),
                answer - opened,
                row["reassignment_count"] == "0" and row["reopen_count"] == "0" and not reopened,
            )
            mine.append(remembered)
        kept += mine
    return kept, outcomes, last


def wilson(k: int, n: int) -> tuple[float, float]:
    p = k / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return middle - half, middle + half


@dataclass(frozen=True, slots=True)
class Truth:
    """What the columns say of one series."""

    numerator: float
    denominator: int


def truth(
    at: float | None = None, later: float = 0
) -> tuple[dict[tuple[str, str, Labels], Truth], dict[tuple[str, Labels], list[int]]]:
    """By (KPI, window, labels): numerator and denominator; and the resolution times, sorted.

    For the windows at ``at``, by default the last event's time, of events that happened ``later``.
    """
    closes, _, last = standing()
    series: dict[tuple[str, str, Labels], Truth] = {}
    times: dict[tuple[str, Labels], list[int]] = {}
    for window, (size, pane) in WINDOWS.items():
        start = ((last + later if at is None else at) // pane - size // pane + 1) * pane
        groups: dict[Labels, list[Close]] = defaultdict(list)
        for close in closes:
            if close.at + later >= start:
                groups[()].append(close)
                groups[(("channel", close.channel),)].append(close)
                groups[(("region", close.region),)].append(close)
        for labels, group in groups.items():
            n = len(group)
            sums: dict[str, int] = {
                "art": sum(c.resolution for c in group),
                "fcr": sum(c.first_contact for c in group),
                "rapid_response": sum(c.first_response <= 3_600 for c in group),
                "rapid_resolution": sum(c.resolution <= 86_400 for c in group),
                "automation": 0,
            }
            for kpi, numerator in sums.items():
                series[kpi, window, labels] = Truth(numerator, n)
            times[window, labels] = sorted(c.resolution for c in group)
    return series, times


def replay(
    *files: Path, more: Sequence[str] = ()
) -> tuple[dict[tuple[str, str, Labels], dict[str, Any]], dict[str, int]]:
    """The series that ``cxkpi replay`` prints, and the outcomes."""
    done = subprocess.run(
        [sys.executable, "-m", "stream", "replay", *map(str, files), "--json",
         "--config", str(EXAMPLE / "cxkpi.toml"), *more],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    rows = {
        (row["kpi"], row["window"], tuple(sorted(row["labels"].items()))): row
        for row in json.loads(done.stdout)
    }
    outcomes: dict[str, int] = json.loads(done.stderr.splitlines()[-1])["outcomes"]
    return rows, outcomes


def compare(
    rows: Mapping[tuple[str, str, Labels], Mapping[str, Any]],
    at: float | None = None,
    later: float = 0,
) -> None:
    series, times = truth(at, later)
    assert len(series) > 100
    for key, expected in series.items():
        row = rows[key]
        assert row["denominator"] == expected.denominator, key
        assert row["numerator"] == pytest.approx(expected.numerator, rel=1e-12), key
        assert row["value"] == pytest.approx(expected.numerator / expected.denominator), key
        if key[0] != "art":
            bounds = wilson(int(expected.numerator), expected.denominator)
            assert (row["lower"], row["upper"]) == pytest.approx(bounds, abs=1e-9), key
    for (window, labels), sorted_times in times.items():
        for quantile in (0.5, 0.9, 0.99):
            rank = quantile * (len(sorted_times) - 1)
            low, high = sorted_times[math.floor(rank)], sorted_times[math.ceil(rank)]
            name = tuple(sorted([*labels, ("quantile", str(quantile))]))
            value = rows["art_quantile", window, name]["value"]
            assert low * 0.99 <= value <= high * 1.01, (window, name)
    with_value = {
        key
        for key, row in rows.items()
        if row["denominator"] and key[0] in {"art", "fcr", "rapid_response", "rapid_resolution"}
    }
    assert with_value == {key for key in series if key[0] != "automation"}


def test_replay_agrees_with_the_columns() -> None:
    rows, outcomes = replay(EXAMPLE / "events.jsonl.gz")
    compare(rows)
    _, expected, _ = standing()
    assert +Counter(outcomes) == expected
    assert expected["orphan"] > 0


def test_what_comes_back_from_the_broker_agrees_with_the_columns(
    broker: Broker, tmp_path: Path
) -> None:
    prefix = "service-desk-"
    subprocess.run(
        [sys.executable, "-m", "stream", "send", str(EXAMPLE / "events.jsonl.gz"), "--json"],
        cwd=ROOT, timeout=120, check=True, capture_output=True,
        env={
            "CXKPI_KAFKA__BOOTSTRAP": broker.bootstrap,
            "CXKPI_KAFKA__TOPIC_PREFIX": prefix,
            "CXKPI_KAFKA__PARTITIONS": "4",
        },
    )  # fmt: skip
    files = []
    for partition in range(4):
        values = asyncio.run(read_back(broker.bootstrap, f"{prefix}cx.ticket", partition))
        files.append(tmp_path / f"partition-{partition}.jsonl")
        files[-1].write_bytes(b"".join(value + b"\n" for value in values))
    assert min(path.stat().st_size for path in files) > 0
    rows, _ = replay(*files)
    compare(rows)


async def read_back(bootstrap: str, topic: str, partition: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        part = TopicPartition(topic, partition)
        consumer.assign([part])
        end = (await consumer.end_offsets([part]))[part]
        values: list[bytes] = []
        while await consumer.position(part) < end:
            for message in (await consumer.getmany(part, timeout_ms=1_000)).get(part, []):
                values.append(message.value)  # noqa: PERF401 - batches come one after the other.
        return values
    finally:
        await consumer.stop()


def test_the_converter_makes_the_events_of_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = runpy.run_path(str(EXAMPLE / "convert.py"))
    made = tmp_path / "events.jsonl.gz"
    monkeypatch.setitem(script["convert"].__globals__, "EVENTS", made)
    script["convert"]()
    assert gzip.decompress(made.read_bytes()) == gzip.decompress(
        (EXAMPLE / "events.jsonl.gz").read_bytes()
    )
