"""A worker has as many file descriptors as it may."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stream.descriptors import allow_all

ROOT = Path(__file__).parents[1]
_WORKER = """
import resource
from stream import wiring
from stream.cli import main

async def run(*_):
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))

wiring.Worker.run = run
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
main()
"""


def test_a_worker_starts_with_the_hard_limit(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, "worker"], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "300 300\n"), done.stderr


@pytest.mark.parametrize("refusal", [ValueError, PermissionError])
def test_a_system_that_refuses_is_no_reason_to_end(
    monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_all()
