"""The worker's log, as it stands beside alerts and pages of other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
#: Whose information is told always, and whose with -v only.
TOLD = ("stream.kafka.readiness", "stream.sinks.dispatcher", "stream.wiring")
MORE = ("stream.desk", "stream.kafka.ending", "stream.kafka.firing", "stream.kafka.owner")

#: Warned of, and then the address is none of this machine's, so that the worker ends at once.
CONFIG = """\
[http]
host = "192.0.2.1"
port = 0
[[alert]]
name = "ChurnSpike"
kpi = "churn"
window = "1h"
baseline = "24h"
factor = 3
"""


def test_times_in_the_log_are_utc_in_every_zone(tmp_path: Path) -> None:
    config = tmp_path / "cxkpi.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "stream", "worker", "--config", str(config)],
        env={**os.environ, "TZ": "America/New_York", "PYTHONPATH": ROOT},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    warned, *others = done.stderr.splitlines()
    at, words = warned.split(" ", 1)
    assert words.startswith("WARNING stream.cli.worker: ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(at)) < timedelta(minutes=5)
    assert (done.returncode, [line.split(":")[0] for line in others]) == (
        2,
        ["Error"],
    ), done.stderr


@pytest.mark.parametrize(
    ("options", "told"), [((), TOLD), (("-v",), TOLD + MORE), (("--verbose",), TOLD + MORE)]
)
def test_what_the_parts_do_is_told_when_it_is_asked_for_and_the_workers_life_always(
    options: tuple[str, ...], told: tuple[str, ...], tmp_path: Path
) -> None:
    code = f"""
from importlib import import_module
from stream.cli import main, worker

async def run(_):
    for name in {TOLD + MORE}:
        log = import_module(name).log
        log.debug("a detail")
        log.info("what it does")
        log.warning("look at it")

worker._run = run
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "worker", *options], cwd=tmp_path, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True,
    )  # fmt: skip
    lines = [line.split(" ", 1)[1] for line in done.stderr.splitlines()]
    assert (done.returncode, {line for line in lines if line.startswith("WARNING ")}) == (
        0,
        {f"WARNING {name}: look at it" for name in TOLD + MORE},
    ), done.stderr
    assert {line for line in lines if not line.startswith("WARNING ")} == {
        f"INFO {name}: what it does" for name in told
    }
