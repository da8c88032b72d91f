"""What nobody listens to works as well."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.broker.ports import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def _pipe_without_a_reader() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("standard_error", ["without a reader", "closed"])
def test_a_worker_whose_lines_nobody_reads_serves_its_pages_until_it_is_stopped(
    standard_error: str, tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "cxkpi.toml"
    # Nobody listens there: it is the pages that are looked at.
    config.write_text(f'[kafka]\nbootstrap = "127.0.0.1:9"\n[http]\nport = {port}\n')
    command = [sys.executable, "-m", "stream", "worker", "--config", str(config)]
    if standard_error == "closed":
        command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with (
        _pipe_without_a_reader() as pipe,
        subprocess.Popen(command, stderr=pipe, env={**os.environ, "PYTHONPATH": str(ROOT)}) as run,
    ):
        try:
            assert _lives(run, f"http://127.0.0.1:{port}/healthz")
            if standard_error == "closed" and sys.platform == "linux":
                assert Path(f"/proc/{run.pid}/fd/2").resolve() == Path(os.devnull)
        finally:
            run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0


def test_what_is_printed_arrives_where_nobody_reads_the_warnings(tmp_path: Path) -> None:
    (tmp_path / "cxkpi.toml").write_text(
        '[[alert]]\nname = "Low"\nkpi = "csat"\nwindow = "1h"\nbelow = 0.5\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CXKPI_BOOTSTRAP": "sets nothing"}
    with _pipe_without_a_reader() as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "stream", "dashboard", "export"],
            stdout=subprocess.PIPE, stderr=pipe, cwd=tmp_path, env=environment,
            check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"]


def _lives(run: subprocess.Popen[bytes], page: str) -> bool:
    until = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(page, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            time.sleep(0.1)
    return False
