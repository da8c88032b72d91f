"""Workers as processes of their own, as an operator starts, watches, freezes and kills them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.metrics.exposition import Scraped, parse

#: Generous, for a machine that is loaded many times over; a worker that works needs seconds.
PATIENCE = 180.0


class Stuck(AssertionError):
    """What was waited for did not come true in time, or can't any more."""


class WorkerProcess:
    """One ``cxkpi worker``. As a context manager it is gone after the block, whatever happened."""

    def __init__(self, config: Path, log: Path, module: Sequence[str] = ("stream",)) -> None:
        """``module`` is what to run in the place of the product's command, with its options."""
        self.started = time.monotonic()
        self._log = log
        self._address: str | None = None
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *module, "worker", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={k: v for k, v in os.environ.items() if not k.startswith("CXKPI_")},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, seconds: float = PATIENCE) -> float:
        """Send SIGTERM; how many seconds it took to end."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self.wait(seconds)
        return time.monotonic() - began

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for it to end; its exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Stuck(
                f"the worker has not ended in {seconds:.0f} s:\n{self.log()[-5000:]}"
            ) from None

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(errors="replace")

    @property
    def address(self) -> str | None:
        """The address of its pages, or None as long as it has not said so."""
        if self._address is None:
            found = re.search(r"Metrics at (\S+)/metrics", self.log())
            self._address = found[1] if found else None
        return self._address

    @property
    def url(self) -> str:
        """The address of its pages, once it has said so."""
        self.until(lambda: self.address is not None, "said where its pages are")
        assert self.address is not None
        return self.address

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                return int(answer.status), str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self) -> bool:
        """Whether /readyz says so; a worker that does not answer is not."""
        try:
            return self.page("/readyz")[0] == 200
        except OSError:
            return False

    def scrape(self) -> list[Scraped]:
        """All series that it shows."""
        return list(parse(self.page("/metrics")[1]))

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
        """Wait for a condition; how many seconds since the start of the worker."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.exit_code is not None:
                raise Stuck(f"the worker ended ({self.exit_code}):\n{self.log()[-5000:]}")
            if time.monotonic() > deadline:
                raise Stuck(f"the worker has not {what} in {seconds:.0f} s:\n{self.log()[-5000:]}")
            time.sleep(0.05)
        return time.monotonic() - self.started

    def until_ready(self, seconds: float = PATIENCE) -> float:
        return self.until(self.ready, "become ready", seconds)


def resident_mb(worker: WorkerProcess, field: str = "VmHWM") -> float:
    """The most memory (or with VmRSS, the memory) that a process has had, in MB."""
    for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError("no such figure")
