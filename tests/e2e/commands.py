"""The command line as processes of their own, away from what the surroundings configure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("CXKPI_")}


def cxkpi(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stream", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which has to be a good one."""
    return subprocess.run(
        cxkpi(*arguments),
        env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        timeout=180,
    )  # fmt: skip


def configuration(file: Path, bootstrap: str, name: str, more: str) -> Path:
    """A configuration with topics and a group of its own, and a free port for the pages."""
    file.write_text(
        f"{more}\n"
        f'[kafka]\nbootstrap = "{bootstrap}"\ngroup = "{name}"\ntopic_prefix = "{name}-"\n'
        "[http]\nport = 0\n"
    )
    return file
