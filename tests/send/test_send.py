"""``cxkpi send`` against the real broker."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaTimeoutError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import MessageAccumulator
from click.testing import CliRunner, Result

from stream.broker.properties import MESSAGE_MAX_BYTES
from stream.cli.pace import MOST_AT_ONCE
from stream.cli.send import _Report, _shift_to_now, _tell, send
from stream.clock import now_ms
from stream.core.settings import MINUTE
from stream.core.timestamps import parse
from stream.generate.company import events
from stream.kafka import producer
from stream.kafka.producer import EventProducer, Message, NotDelivered
from tests.send.conftest import Kafka

START = 1_772_445_600_000
GENERATED = list(events(START, START + 2 * MINUTE, rate=30, seed=4))
LINES = b"".join(value + b"\n" for *_, value in GENERATED)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(LINES))
    return path


def test_recorded_events_reach_their_topics_by_entity_and_in_order(
    kafka: Kafka, recorded: Path
) -> None:
    result = kafka.run(send, recorded, "--json")
    assert result.exit_code == 0, result.output
    found = kafka.records()
    assert sorted(r[0::2] for r in found) == sorted((t, k) for _, t, k, _ in GENERATED)
    default = DefaultPartitioner()
    assert all(r.partition == default(r.key, [0, 1, 2], []) for r in found)
    by_partition: defaultdict[tuple[str, int], list[bytes]] = defaultdict(list)
    for record in found:
        by_partition[record[:2]].append(record.value)
    order = {value: place for place, (*_, value) in enumerate(GENERATED)}
    for values in by_partition.values():
        places = [order[value] for value in values]
        assert places == sorted(places)
    summary = json.loads(result.stdout)
    said = [summary[key] for key in ("sent", "at_least", "complete")]
    assert said == [len(GENERATED), False, True]
    assert set(summary["topics"]) == {record.topic for record in found}


def test_now_moves_the_last_event_to_the_present(kafka: Kafka) -> None:
    before = now_ms()
    result = kafka.run(send, "-", "--now", stdin=LINES)
    assert result.exit_code == 0, result.output
    found = {record.value for record in kafka.records()}
    moved = {event["event_id"]: event for event in map(json.loads, found)}
    shift = max(parse(e["occurred_at"]) for e in moved.values()) - GENERATED[-1][0]
    assert before <= GENERATED[-1][0] + shift <= now_ms()
    for *_, value in GENERATED:
        event = json.loads(value)
        sent = moved[event["event_id"]]
        for name in ("occurred_at", "opened_at", "started_at"):
            assert (name in event) == (name in sent)
            if name in event:
                assert parse(sent.pop(name)) == parse(event.pop(name)) + shift
        assert event == sent


@pytest.mark.parametrize("place", [0, 20_000, 39_999])
def test_now_goes_by_the_latest_of_all_events_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("stream.cli.send.now_ms", lambda: START + 5_000)
    lines = [b'{"occurred_at":"2026-03-02T10:00:00Z"}\n'] * 40_000
    lines[place] = b'{"occurred_at":"2026-03-02T10:00:01Z"}\n'
    (tmp_path / "many.jsonl").write_bytes(b"".join(lines))
    assert _shift_to_now([str(tmp_path / "many.jsonl")]) == 4_000


BAD = b'{"type":"visit.ended","visit_id":"v"}\nno JSON\n\n{"type":"visit.begun"}\n'


def test_lines_that_belong_to_no_topic_are_named_and_the_others_sent(
    kafka: Kafka, tmp_path: Path
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(BAD)
    result = kafka.run(send, path)
    assert result.exit_code == 1
    assert f"{path}:2: not JSON" in result.output
    assert f"{path}:3: a blank line" in result.output
    assert f"{path}:4: no event type: 'visit.begun'" in result.output
    assert [record.key for record in kafka.records()] == [b"v"]


def test_raw_sends_them_as_they_are(kafka: Kafka) -> None:
    result = kafka.run(send, "-", "--raw", "cx.ticket", stdin=BAD)
    assert result.exit_code == 0, result.output
    assert sorted((r.topic, r.key, r.value) for r in kafka.records() if r.topic == "cx.ticket") == [
        ("cx.ticket", None, b""),
        ("cx.ticket", None, b"no JSON"),
        ("cx.ticket", None, b'{"type":"visit.begun"}'),
    ]


@pytest.mark.parametrize(
    ("raw", "refused"),
    [("op.cx.survey", True), ("cx.survey", False), ("op.cx.other", False), ("survey", False)],
)
def test_raw_does_not_take_the_prefix_a_second_time(
    raw: str, refused: bool, tmp_path: Path
) -> None:
    config = tmp_path / "cxkpi.toml"
    config.write_text('[kafka]\nbootstrap = "127.0.0.1:1"\ntopic_prefix = "op."\n')
    (tmp_path / "empty").touch()
    line = [str(tmp_path / "empty"), "--raw", raw, "--config", str(config)]
    result = CliRunner().invoke(send, line)
    assert result.exit_code == 2
    said = f"Error: --raw {raw}: say cx.survey; [kafka] topic_prefix 'op.' is put before\n"
    assert (result.stderr == said) == refused


def test_the_summary_names_the_topics_as_kafka_has_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = _Report(Counter({"cx.visit": 1_000, "cx.survey": 1}), seconds=2.0)
    _tell(report, "op.", as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "1,001 events sent in 2.0 s (500/s)",
        "  op.cx.survey  1",
        "  op.cx.visit  1,000",
    ]


def test_a_record_that_its_topic_does_not_take_is_named_and_the_others_sent(kafka: Kafka) -> None:
    large = b'{"type":"visit.ended","visit_id":"large","x":"%s"}\n' % (
        b"x" * (MESSAGE_MAX_BYTES + 1)
    )
    fits = b'{"type":"visit.ended","visit_id":"fits","x":"%s"}\n' % (
        b"x" * (MESSAGE_MAX_BYTES - 1_000)
    )
    result = kafka.run(send, "-", "--json", stdin=large + fits + BAD[:38])
    assert result.exit_code == 1
    (unsendable,) = json.loads(result.stdout)["unsendable_lines"]
    assert unsendable["line"] == 1
    assert "cx.visit takes" in unsendable["reason"]
    assert {record.key for record in kafka.records()} == {b"fits", b"v"}


@pytest.mark.parametrize("as_json", [False, True])
def test_where_the_broker_goes_away_it_says_first_what_is_there(
    kafka: Kafka, recorded: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    write = EventProducer.write
    calls = 0

    async def failing(self: EventProducer, messages: Sequence[Message]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            await self.flush()
            await write(self, messages)
            raise NotDelivered("the broker is gone")
        await write(self, messages)

    monkeypatch.setattr(EventProducer, "write", failing)
    result = kafka.run(send, recorded, "--rate", 5_000, *(["--json"] if as_json else []))
    assert (result.exit_code, calls) == (2, 3)
    there = Counter(record.topic for record in kafka.records())
    assert 0 < there.total() < len(GENERATED)
    if as_json:
        summary = json.loads(result.stdout)
        assert (summary["topics"], summary["complete"]) == (dict(there), False)
        assert result.stderr == "Error: the broker is gone\n"
        return
    first, *topics, last = result.stderr.splitlines()
    assert first.startswith(f"at least {there.total():,} events sent in ")
    assert topics == [f"  {kafka.prefix}{t}  {n:,}" for t, n in sorted(there.items())]
    assert last == "Error: the broker is gone"


@pytest.mark.parametrize(("patience", "refusals"), [(60.0, 3), (0.0, 1)])
def test_a_broker_that_is_away_for_longer_than_a_request_is_waited_for(
    kafka: Kafka,
    recorded: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
    refusals: int,
) -> None:
    send_batch = AIOKafkaProducer.send_batch
    calls = 0

    async def full(self: AIOKafkaProducer, *given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= refusals:
            raise KafkaTimeoutError
        return await send_batch(self, *given, **named)

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", full)
    monkeypatch.setattr(producer, "DELIVERY_SECONDS", patience)
    result = kafka.run(send, recorded)
    if patience:
        assert result.exit_code == 0, result.output
        assert len(kafka.records()) == len(GENERATED)
    else:
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1].endswith("KafkaTimeoutError()")


def test_partitions_without_a_leader_for_longer_than_a_request_are_waited_for(
    kafka: Kafka, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = ClusterMetadata.leader_for_partition
    init = MessageAccumulator.__init__
    asked: list[float] = []

    # A time of requests that is as short would be too short for a broker that is busy.
    def hasty(self: MessageAccumulator, *given: Any, **named: Any) -> None:
        cluster, size, compression, _ = given
        init(self, cluster, size, compression, 1.0, **named)

    def later(self: ClusterMetadata, partition: TopicPartition) -> Any:
        asked.append(time.monotonic())
        return leader(self, partition) if asked[-1] > asked[0] + 2.5 else -1

    monkeypatch.setattr(MessageAccumulator, "__init__", hasty)
    monkeypatch.setattr(ClusterMetadata, "leader_for_partition", later)
    result = kafka.run(send, recorded)
    assert result.exit_code == 0, result.output
    assert len(kafka.records()) == len(GENERATED)


@pytest.mark.parametrize("as_json", [False, True])
def test_two_signals_while_the_broker_hangs_say_that_there_may_be_more(
    hanging: Kafka, recorded: Path, as_json: bool
) -> None:
    result = hanging.run(send, recorded, "--rate", 5_000, *(["--json"] if as_json else []))
    there = len(hanging.records())
    assert result.exit_code == 130
    assert there > 0
    if as_json:
        summary = json.loads(result.stdout)
        said = [summary[key] for key in ("sent", "at_least", "complete")]
        assert said == [there, True, False]
    else:
        assert f"at least {there:,} events sent in " in result.stderr


def test_a_rate_is_not_exceeded(kafka: Kafka, tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_bytes(b"".join(LINES.splitlines(keepends=True)[:100]))
    summary = json.loads(kafka.run(send, path, "--rate", 100, "--json").stdout)
    assert summary["sent"] == 100
    assert summary["seconds"] > 0.85


def test_an_empty_file_sends_nothing(kafka: Kafka, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    result = kafka.run(send, tmp_path / "empty", "--now", "--json")
    assert (result.exit_code, json.loads(result.stdout)["sent"]) == (0, 0)


def test_a_missing_file_is_one_line(kafka: Kafka, tmp_path: Path) -> None:
    result = kafka.run(send, tmp_path / "nowhere")
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "nowhere: no such file or directory" in result.output


def test_a_broken_gzip_is_one_line(kafka: Kafka, tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(LINES)[:1000])
    result = kafka.run(send, path)
    assert result.exit_code == 2
    first, *_, last = result.stderr.splitlines()
    # What came before the damage is there, and that is said.
    assert first.startswith(f"at least {len(kafka.records())} events sent in ")
    assert last.startswith("Error: ")
    assert "the gzip data end too early" in last


def test_an_unreachable_broker_is_one_line(offline: Callable[..., Result], recorded: Path) -> None:
    result = offline(send, recorded)
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "no Kafka broker answers at 127.0.0.1:1" in result.output


def test_a_broken_configuration_is_one_line(kafka: Kafka, recorded: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[kafka]\npartitons = 3\n")
    result = kafka.run(send, recorded, "--config", config)
    assert (result.exit_code, len(result.output.splitlines())) == (2, 1)
    assert "partitons" in result.output


class Sending(NamedTuple):
    """``send`` in a process of its own, and the pipe that it reads."""

    process: subprocess.Popen[bytes]
    pipe: BinaryIO


@pytest.fixture
def sending(kafka: Kafka) -> Iterator[Callable[..., Sending]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: object) -> Sending:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream", "send", *map(str, args), "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **kafka.env},
        )  # fmt: skip
        started.append(process)
        assert process.stdin is not None
        return Sending(process, cast("BinaryIO", process.stdin))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def comes_to(kafka: Kafka, count: int) -> bool:
    """Whether so many records are there before long, and no more."""
    end = time.monotonic() + 120
    while (there := len(kafka.records())) < count and time.monotonic() < end:
        time.sleep(0.1)
    return there == count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_pipe_brought_is_sent_though_it_stays_open_and_a_signal_ends_the_wait(
    kafka: Kafka, sending: Callable[..., Sending], number: signal.Signals
) -> None:
    first, second, rest = LINES.split(b"\n", 2)
    process, pipe = sending("-")
    pipe.write(first + b"\n")
    pipe.flush()
    assert comes_to(kafka, 1)
    # A slice is full and nothing follows; the line after it has no end yet.
    full = (rest.splitlines(keepends=True) * 9)[:MOST_AT_ONCE]
    pipe.write(second + b"\n" + b"".join(full) + b'{"type"')
    pipe.flush()
    assert comes_to(kafka, 2 + MOST_AT_ONCE)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    said = [summary[key] for key in ("sent", "at_least", "complete")]
    assert said == [2 + MOST_AT_ONCE, False, False]
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_named_pipe_without_a_writer_is_waited_for_until_a_signal(
    sending: Callable[..., Sending], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    process, _ = sending(tmp_path / "pipe")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
