"""The worker's log, as it stands beside alerts and pages of other machines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
        env={**os.environ, "TZ": "America/New_York", "PYTHONPATH": str(Path(__file__).parents[2])},
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
