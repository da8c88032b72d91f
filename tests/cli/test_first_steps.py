"""What a newcomer types first, right and wrong: each mistake is one line, with exit code 2."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result

from stream.cli import COMMANDS, cli
from stream.replay.files import InputMissing, standard_input

EVENT = (
    b'{"event_id":"1","type":"visit.ended","occurred_at":"2026-03-02T10:00:00Z","visit_id":"v"}\n'
)
RULE = '[[alert]]\nname = "A"\nkpi = "npss"\nwindow = "1h"\nabove = 1\n'
SINK = '[[sink]]\ntype = "slack"\nurl_env = "SLACK_URL"\n'


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("CXKPI_")]:
        monkeypatch.delenv(name)
    Path("good.jsonl").write_bytes(EVENT)
    Path("blank.jsonl").write_bytes(EVENT + b"\n  \n")
    Path("empty.jsonl").touch()
    Path("broken.gz").write_bytes(gzip.compress(EVENT * 100)[:60])
    Path("key.toml").write_text("[kafka]\nbootsrap = 'x'\n")
    Path("kpi.toml").write_text(RULE)
    Path("broken.toml").write_text("[kafka\n")
    Path("sink.toml").write_text(SINK)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens already."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port: int = listener.getsockname()[1]
        yield port


def _cxkpi(line: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, line.split(), env=environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = _cxkpi(f"{command} --help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: cli {command} [OPTIONS]")
    assert (" --json" in result.stdout) == (command != "worker"), "a worker prints no data"


_NO_BROKER = "no Kafka broker answers at 127.0.0.1:1; start one with `cxkpi broker`, or name yours"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("replay missing.jsonl", "missing.jsonl: no such file or directory"),
        ("replay .", ".: is a directory"),
        ("replay broken.gz", "broken.gz: line 1: the gzip data end too early"),
        ("replay good.jsonl --config missing.toml", "missing.toml: no such file or directory"),
        ("replay good.jsonl --at yesterday", "--at 'yesterday' is not an RFC 3339 date-time"),
        ("replay good.jsonl --rejects no/where", "no/where: no such file or directory"),
        ("send good.jsonl", _NO_BROKER),
        ("send good.jsonl --raw cx.vist", '--raw cx.vist: unknown topic; did you mean "cx.visit"?'),
        ("generate --for 1s", _NO_BROKER),
        ("generate --to no/where --for 1s", "no/where: no such file or directory"),
        ("check --state", _NO_BROKER),
        ("state show", _NO_BROKER),
        ("dlq list", _NO_BROKER),
        ("top 127.0.0.1:1", "http://127.0.0.1:1 cannot be reached: Connection refused; start"),
        *(
            (f"{command} --config {file}", said)
            for command in ("replay good.jsonl", "send good.jsonl", "generate", "worker", "top")
            for file, said in (
                ("key.toml", 'key.toml:2: kafka.bootsrap: unknown key; did you mean "bootstrap"?'),
                ("kpi.toml", 'kpi.toml:3: alert[0].kpi: unknown KPI "npss"; did you mean "nps"?'),
                ("broken.toml", "broken.toml:1: not TOML:"),
            )
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(line: str, said: str) -> None:
    unreachable = {} if "--config" in line else {"CXKPI_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
    result = _cxkpi(line, **unreachable)
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.removeprefix("Error: ").startswith(said)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        *("check", "worker", "replay good.jsonl", "alerts backtest good.jsonl"),
        "alerts backtest good.jsonl --incidents locked.toml",
    ],
)
def test_a_file_that_may_not_be_read_is_told_in_one_line(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        if path.name == "locked.toml":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return b'[[alert]]\nname = "A"\nkpi = "nps"\nwindow = "1h"\nabove = 1\n'

    Path("locked.toml").touch()
    Path("cxkpi.toml").touch()
    # Root may read any file, whatever its mode.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    result = _cxkpi(line if "locked" in line else f"{line} --config locked.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "locked.toml: permission denied\n"


@pytest.mark.parametrize("command", ["replay", "send"])
def test_a_closed_standard_input_is_told_in_one_line(command: str) -> None:
    with mock.patch.object(sys, "stdin", None), pytest.raises(InputMissing) as refused:
        standard_input()
    assert str(refused.value) == "standard input: is closed"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m stream {command} - <&-', sys.executable],
        env=os.environ | {"CXKPI_KAFKA__BOOTSTRAP": "127.0.0.1:1", "PYTHONPATH": _ROOT},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "Error: standard input: is closed\n")


def test_a_worker_whose_port_is_taken_says_so(taken: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stream", "worker"],
        env=os.environ | {"CXKPI_HTTP__PORT": str(taken), "PYTHONPATH": _ROOT},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"port {taken} on 127.0.0.1 is in use" in done.stderr


_ROOT = str(Path(__file__).parents[2])


def test_a_worker_without_broker_says_so_once_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "stream", "worker"],
            env=os.environ
            | {"CXKPI_HTTP__PORT": "0", "CXKPI_KAFKA__BOOTSTRAP": "127.0.0.1:1"}
            | {"PYTHONPATH": _ROOT},
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while "trying again" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2.5)  # It tries every second.
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()
    said = log.read_text()
    assert said.count("no Kafka broker answers at 127.0.0.1:1; trying again") == 1
    assert "Traceback" not in said


def test_blank_lines_are_invalid_and_named_among_the_rejects() -> None:
    result = _cxkpi("replay blank.jsonl --json --rejects rejects")
    assert result.exit_code == 0
    assert json.loads(result.stderr.splitlines()[-1]) == {"outcomes": {"invalid": 2, "accepted": 1}}
    rejects = [json.loads(line) for line in Path("rejects").read_text().splitlines()]
    assert [(r["file"], r["line"], r["outcome"], r["field"], r["reason"]) for r in rejects] == [
        ("blank.jsonl", 2, "invalid", "$", "is empty"),
        ("blank.jsonl", 3, "invalid", "$", "is empty"),
    ]


def test_an_empty_file_gives_an_empty_list() -> None:
    result = _cxkpi("replay empty.jsonl --json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert (_cxkpi("replay empty.jsonl").stdout, _cxkpi("replay empty.jsonl").exit_code) == ("", 0)


def test_replay_needs_no_secrets_of_sinks() -> None:
    assert _cxkpi("replay good.jsonl --config sink.toml").exit_code == 0


def test_alerts_without_a_rule_are_no_riddle() -> None:
    result = _cxkpi("replay good.jsonl --alerts --json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "There is no [[alert]] in the configuration." in result.stderr
