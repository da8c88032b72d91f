"""Standard output and error that whoever started the command has closed, or that are full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
EVENT = {
    "event_id": "1",
    "type": "visit.ended",
    "occurred_at": "2026-03-02T10:00:00Z",
    "visit_id": "1",
}


@pytest.mark.parametrize(
    "line",
    [
        "generate --to - --for 1m --rate 1",
        "replay day.jsonl --every 1h",
        "replay day.jsonl --rejects -",
        "replay day.jsonl",
        "explain conversion day.jsonl",
        "schema",
    ],
)
def test_what_is_printed_is_lost_and_all_else_goes_on(tmp_path: Path, line: str) -> None:
    (tmp_path / "day.jsonl").write_bytes(orjson.dumps(EVENT) + b"\n{\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec '{sys.executable}' -m stream {line} >&-"],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=tmp_path, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert "Error" not in said


FULL = Path("/dev/full")
_GOES_ON = """
from stream.cli import main, worker

async def run(_):
    for _ in range(3):
        worker.tell("Metrics at http://127.0.0.1:9464/metrics")
        worker.log.error("a line of the log")
    print("went on")

worker._run = run
main()
"""


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
@pytest.mark.parametrize(
    ("program", "code", "printed"),
    [
        (["-c", _GOES_ON, "worker"], 0, "went on\n"),
        (["-m", "stream", "check", "--config", "none.toml"], 2, ""),
        (["-m", "stream", "worker", "--config", "none.toml"], 2, ""),
        (["-m", "stream", "no-such-command"], 2, ""),
    ],
)
def test_a_disk_that_is_full_behind_standard_error_changes_no_exit_code(
    tmp_path: Path, program: list[str], code: int, printed: str
) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, *program], stdout=subprocess.PIPE, stderr=full, text=True,
            stdin=subprocess.DEVNULL, cwd=tmp_path, check=False, timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, printed)


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is full")
def test_a_disk_that_is_full_behind_both_is_exit_code_2(tmp_path: Path) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stream", "schema"], stdout=full, stderr=full,
            stdin=subprocess.DEVNULL, cwd=tmp_path, check=False, timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert done.returncode == 2
