"""``cxkpi generate``: into files, and live against the real broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream.cli.generate import generate
from stream.clock import now_ms
from stream.core.settings import MINUTE
from stream.core.timestamps import parse
from stream.generate.company import events
from stream.kafka.producer import EventProducer, NotDelivered
from tests.send.conftest import Kafka


def run(*args: object) -> Result:
    return CliRunner().invoke(generate, list(map(str, args)))


def test_a_file_holds_the_company_s_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    start = "2026-03-02T10:00:00Z"
    result = run("--to", path, "--start", start, "--history", "2m", "--for", "1m", "--seed", 3)
    assert result.exit_code == 0, result.output
    now = parse(start)
    expected = [value for *_, value in events(now - 2 * MINUTE, now + MINUTE, 50, 3)]
    assert path.read_bytes().splitlines() == expected


def test_standard_output_holds_nothing_but_events() -> None:
    result = run("--to", "-", "--history", "10s", "--json")
    assert json.loads(result.stderr)["events"] == len(result.stdout.splitlines())
    assert all(json.loads(line)["event_id"] for line in result.stdout.splitlines())


def test_an_incident_is_placed_relative_to_now(tmp_path: Path) -> None:
    start = "2026-03-02T10:00:00Z"
    counts = []
    for incident in ("churn-spike:eu@-5m/5m", "churn-spike:eu@+5m"):
        path = tmp_path / "events.jsonl"
        span = ("--start", start, "--history", "10m", "--rate", 100)
        run("--to", path, *span, "--incident", incident)
        cancelled = [
            event
            for event in map(json.loads, path.read_bytes().splitlines())
            if event["type"] == "subscription.cancelled" and event["labels"]["region"] == "eu"
        ]
        counts.append(sum(parse(e["occurred_at"]) >= parse(start) - 5 * MINUTE for e in cancelled))
    assert counts[0] > 5 * counts[1] > 0


def test_live_events_come_as_time_passes_after_the_history(kafka: Kafka) -> None:
    before = now_ms()
    result = kafka.run(
        generate, "--rate", 100, "--history", "1m", "--for", "2s", "--json", "--seed", 9
    )
    after = time.time() * 1000
    assert result.exit_code == 0, result.output
    assert after - before >= 1_900
    times = [parse(json.loads(record.value)["occurred_at"]) for record in kafka.records()]
    assert len(times) == json.loads(result.stdout)["events"]
    # How long it takes to begin says nothing.
    assert before - 60_000 <= min(times) < max(times) - 57_000
    assert before + 1_000 < max(times) < after


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_delivered(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    submit = EventProducer.submit
    calls = 0

    async def telling(self: EventProducer) -> None:
        nonlocal calls
        calls += 1
        await submit(self)
        if calls == 5:  # The history is on its way, and some of what came after it.
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)

    monkeypatch.setattr(EventProducer, "submit", telling)
    result = kafka.run(generate, "--rate", 200, "--history", "10s", "--json")
    assert calls > 5
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    delivered = len(kafka.records())
    assert 500 < summary["events"] == delivered
    assert not summary["at_least"]


def test_two_signals_while_the_broker_hangs_claim_no_more_than_it_has(
    hanging: Kafka,
) -> None:
    said = hanging.run(generate, "--rate", 200, "--history", "5s").stderr.splitlines()[-1]
    there = len(hanging.records())
    assert there > 0
    assert said.startswith(f"at least {there} events from ")


@pytest.mark.parametrize("as_json", [False, True])
def test_where_the_broker_goes_away_it_says_first_what_is_there(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    submit = EventProducer.submit
    calls = 0

    async def failing(self: EventProducer) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise NotDelivered("the broker is gone")
        await submit(self)
        if calls == 3:
            await self.flush()

    monkeypatch.setattr(EventProducer, "submit", failing)
    # In the quietest hour of the week half as much happens as usually.
    result = kafka.run(generate, "--history", "10s", *(["--json"] if as_json else []))
    there = len(kafka.records())
    assert result.exit_code == 2
    assert there > 100
    *_, before, last = result.stderr.splitlines()
    assert last == "Error: the broker is gone"
    if as_json:
        summary = json.loads(result.stdout)
        assert (summary["events"], summary["at_least"]) == (there, True)
    else:
        assert before.startswith(f"at least {there} events from ")


def test_an_unreachable_broker_is_one_line(offline: Callable[..., Result]) -> None:
    result = offline(generate, "--for", "1s")
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "no Kafka broker answers at 127.0.0.1:1" in result.output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--start", "2026-03-02T10:00:00Z"), "--start needs --to"),
        (("--to", "-"), "--to needs --for or --history"),
        (("--rate", "0"), "--rate"),
        (("--rate", "nan", "--to", "-", "--for", "1s"), "nan is not in the range"),
        (("--rate", "inf", "--to", "-", "--for", "1s"), "inf is not in the range"),
        (("--history", "99999d", "--to", "-"), "is before 1970-01-01T00:00:00.000Z"),
        (("--history", "999999999999999d"), "is before 1970-01-01T00:00:00.000Z"),
        (("--to", "-", "--start", "0001-01-01T00:00:00Z", "--for", "1h"), "is before 1970"),
        (("--to", "-", "--start", "9999-12-31T23:59:59Z", "--for", "1h"), "end after 9999-12-31"),
        (("--for", "999999999999999d"), "end after 9999-12-31T23:59:59.999Z"),
        (("--for", "1 minute"), "is not a duration"),
        (("--to", "-", "--for", "1s", "--start", "today"), "is not an RFC 3339 date-time"),
        (("--incident", "fire"), "the kinds are outage"),
        (("--to", "/nowhere/at/all", "--for", "1s"), "no such file or directory"),
    ],
)
def test_what_can_t_be_done_is_refused_with_the_reason(args: tuple[str, ...], said: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "span",
    [
        ("--start", "1970-01-01T01:00:00Z", "--history", "1h"),
        ("--start", "9999-12-31T22:59:59.999Z", "--for", "1h"),
    ],
)
def test_events_may_begin_and_end_with_the_calendar(span: tuple[str, ...]) -> None:
    result = run("--to", "-", *span)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) > 10_000
    assert all(parse(json.loads(line)["occurred_at"]) >= 0 for line in lines)
