"""``cxkpi broker`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.broker.folder import DataFolder
from stream.broker.ports import free_port

COMMAND = [sys.executable, "-c", "from stream.cli.broker import broker; broker()"]


def start(data: Path) -> tuple[subprocess.Popen[str], int, int]:
    """Start the command, return it with the port and the JVM that it says."""
    process = subprocess.Popen(
        [*COMMAND, "--json", "--port", "0", "--data", data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said, process.communicate()[1]
    facts = json.loads(said)
    assert Path(facts["data"]) == data
    return process, int(facts["bootstrap"].rpartition(":")[2]), facts["pid"]


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def controller_port(data: Path) -> int:
    for line in (data / "server.properties").read_text().splitlines():
        if line.startswith("controller.quorum.voters="):
            return int(line.rpartition(":")[2])
    raise AssertionError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_it_cleanly(
    kafka_jars: str, tmp_path: Path, number: signal.Signals
) -> None:
    process, port, _ = start(tmp_path / "data")
    assert listening(port)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert not listening(port)
    # Kafka writes this when all its data is on the disk.
    assert (tmp_path / "data" / "logs" / ".kafka_cleanshutdown").exists()
    assert "shut down completed" in (tmp_path / "data" / "server.log").read_text()


def test_nothing_is_left_of_one_that_was_killed(kafka_jars: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process, port, _ = start(data)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while listening(port) or listening(controller_port(data)):
        assert time.monotonic() < deadline, "the JVM outlives the command"
        time.sleep(0.02)
    DataFolder(data).open()  # it can be used again at once


#: The command with a broker of which it never hears that it serves: its start has no end.
STARTING = [
    sys.executable,
    "-c",
    """
from stream.broker import broker as module
from stream.cli.broker import broker
module._STARTED = "never said"
broker()
""",
]


def test_a_signal_during_the_start_leaves_nothing(kafka_jars: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    port = free_port()
    process = subprocess.Popen(
        [*STARTING, "--port", str(port), "--data", data],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (data / "logs").exists():  # Kafka has been formatted and is about to start
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == ("", "")
    assert not listening(port)


def test_a_broker_that_ends_by_itself_is_told(kafka_jars: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process, port, jvm = start(data)
    os.kill(jvm, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith("Error: Kafka ended by itself: ")
    assert errors.count("\n") == 1
    assert not listening(port)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def test_what_can_not_run_is_one_line_and_exit_code_two(kafka_jars: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "version").write_text("3.7.1\n")
    with socket.create_server(("127.0.0.1", free_port())) as server:
        taken = str(server.getsockname()[1])
        cases = {
            f"port {taken} of 127.0.0.1 is taken": ("--port", taken, "--data", tmp_path / "new"),
            "was written by Apache Kafka 3.7.1": ("--port", "0", "--data", tmp_path / "old"),
        }
        for reason, arguments in cases.items():
            result = run(*map(str, arguments))
            assert result.returncode == 2
            assert result.stdout == ""
            assert result.stderr.startswith("Error: ")
            assert reason in result.stderr
            assert result.stderr.count("\n") == 1


def test_a_failed_download_is_one_line_after_what_it_tried(tmp_path: Path) -> None:
    settings = tmp_path / "jgo.conf"
    settings.write_text("[repositories]\nown = http://127.0.0.1:1\n")
    result = run(
        *("--port", "0", "--data", str(tmp_path / "data")),
        HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        JGO_CONFIG_FILE=str(settings),
        NO_PROXY="127.0.0.1",
    )
    assert result.returncode == 2
    tried, failed = result.stderr.splitlines()
    assert tried.startswith("Downloading Apache Kafka ")
    assert failed.startswith("Error: ")
    assert "could not be downloaded" in failed
    assert not (tmp_path / "data").exists()
