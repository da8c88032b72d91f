"""The data folder of an embedded broker: whose it is, which version wrote it, where things lie.

``version`` names the Kafka that made the folder and is locked while a broker runs in it, ``logs``
holds Kafka's data, ``server.log`` what Kafka says, ``jvm.log`` what Java says, ``tmp`` the native
libraries that Java unpacks.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

from stream.broker.errors import FolderRefused
from stream.broker.jars import KAFKA_VERSION


class DataFolder:
    """A folder that holds the data of one broker; used by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.server_log = Log(self.path / "server.log")
        self.jvm_log = Log(self.path / "jvm.log")
        self.properties = self.path / "server.properties"
        self.scratch = self.path / "tmp"
        self._version = self.path / "version"
        self._lock: IO[str] | None = None

    @property
    def formatted(self) -> bool:
        """Whether Kafka has been told to use the folder."""
        return self.logs.is_dir()

    def open(self) -> None:
        """Take the folder, making it if need be.

        Raises ``FolderRefused`` if another Kafka wrote it, another broker is using it, or if it
        holds something else.
        """
        if "," in str(self.path):
            raise FolderRefused(f"{self.path} has a comma in its name, which Kafka can't deal with")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self._version.exists() and any(self.path.iterdir()):
                raise FolderRefused(
                    f"{self.path} is not empty and not the folder of an embedded broker: "
                    "name an empty or a new one"
                )
            self._take()
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir()
        except OSError as error:
            self.close()
            raise FolderRefused(f"{self.path} can't be used: {error.strerror or error}") from error

    def _take(self) -> None:
        self._lock = self._version.open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise FolderRefused(f"{self.path} is in use by another broker") from error
        self._lock.seek(0)
        found = self._lock.read().strip()
        if not found:
            self._lock.write(f"{KAFKA_VERSION}\n")
            self._lock.flush()
        elif found != KAFKA_VERSION:
            self.close()
            raise FolderRefused(
                f"{self.path} was written by Apache Kafka {found[:20]}, this is {KAFKA_VERSION}: "
                "name another folder"
            )

    def close(self) -> None:
        """Let others use the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Log:
    """A log file, of which only what was written since ``mark`` counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0

    def mark(self) -> None:
        """Forget what the log holds up to now."""
        self._start = self._size()

    def text(self) -> str:
        """Return the end of what was written since the mark."""
        size = self._size()
        # A smaller file is a new one: the old one was full.
        start = self._start if size >= self._start else 0
        try:
            with self.path.open("rb") as content:
                content.seek(max(start, size - _TAIL_BYTES))
                return content.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


_TAIL_BYTES = 256 * 1024
_TELLING = ("ERROR", "FATAL", "Exception", "Error:", "Error occurred")


def telling_line(*texts: str) -> str:
    """Return the last line that speaks of an error, else the last line; "" where none is.

    Earlier texts go before later ones. Lines of a stack trace are passed over.
    """
    lines = [
        line.strip() for text in reversed(texts) for line in text.splitlines() if _speaks(line)
    ]
    errors = [line for line in lines if any(word in line for word in _TELLING)]
    return (errors or lines or [""])[-1]


def _speaks(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("\t", "Caused by:"))
