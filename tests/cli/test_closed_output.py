"""Standard output that whoever started the command has closed."""

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
