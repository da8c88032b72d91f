"""Results by part, kept beside the page so that one part can be measured anew."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from stream.broker import jars

PARTS: Final = ("rounds", "curves", "latency", "endurance")
_ROOT: Final = Path(__file__).parent.parent


def stamp() -> dict[str, Any]:
    """When and where it is, and of what code: to be taken before a part is measured."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "load": os.getloadavg()[0],
        "machine": machine(),
    }


class Stored:
    """The figures behind a page, by part, in a file beside it; none behind ``/dev/null``."""

    def __init__(self, page: Path) -> None:
        self._file = None if page == Path(os.devnull) else page.with_suffix(".json")
        self.parts: dict[str, Any] = {}
        if self._file is not None and self._file.exists():
            self.parts = json.loads(self._file.read_text())

    def save(self, part: str, found: dict[str, Any], stamp: dict[str, Any]) -> None:
        """Keep the results of a part; those of the others stay."""
        self.parts[part] = {"stamp": stamp, **found}
        if self._file is not None:
            self._file.write_text(json.dumps(self.parts, indent=1) + "\n")


def commit() -> str:
    """The commit of this checkout, and whether the product's files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "stream", "requirements.lock")
        return git("rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """The machine and the versions of what matters, in one sentence each."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("aiokafka", "faust-streaming", "msgspec", "numpy")
    )
    return (
        f"{os.cpu_count()} cores ({platform.machine()}, {_processor()}), {memory:.0f} GiB,"
        f" {platform.system()} {platform.release().split('-')[0]}; Python"
        f" {platform.python_version()}, Apache Kafka {jars.KAFKA_VERSION} on the same machine,"
        f" {versions}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"
