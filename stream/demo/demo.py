"""Starts a broker, a worker and producers in a folder of their own, and ends them together."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from stream.broker import Broker
from stream.broker.process import GuardedProcess

#: The worker's usual port; another one is taken where it is not free.
USUAL_PORT: Final = 9464
#: The churn spike comes so long after the start of the live events.
SPIKE_AFTER_SECONDS: Final = 30
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 8
_POLL_SECONDS: Final = 0.2

_CONFIG: Final = """\
# What the demonstration runs with; see docs/configuration.md for all keys.
[kafka]
bootstrap = "{bootstrap}"

[http]
port = {port}

[[alert]]
name = "ChurnSpike"
kpi = "churn"
window = "5m"
by = ["region"]
baseline = "1h"
factor = 3.0
severity = "critical"
summary = "More subscriptions are cancelled than usual."

[[alert]]
name = "CsatLow"
kpi = "csat"
window = "5m"
below = 0.6
clear = 0.65
for = "30s"
significant = true
summary = "Customers are less satisfied."

[[sink]]
type = "log"
"""


class DemoFailed(Exception):
    """A part of the demonstration did not start or has ended; the message says which and why."""

    decision: ClassVar[str] = "stop"


class Demo:
    """A context manager; inside, everything runs. ``tell`` gets a line for each step."""

    def __init__(self, folder: Path, rate: float, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self._rate = rate
        self._tell = tell
        self._parts: list[tuple[str, GuardedProcess]] = []
        self._stack = ExitStack()
        self.port = _free_port()

    @property
    def url(self) -> str:
        """Where the worker's pages are."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            BrokerError, DemoFailed: a part does not start.
        """
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        self._tell("Starting Apache Kafka")
        broker = self._stack.enter_context(Broker(self.folder / "kafka", tell=self._tell))
        config = self.folder / "cxkpi.toml"
        config.write_text(_CONFIG.format(bootstrap=broker.bootstrap, port=self.port))
        self._tell("Starting the worker")
        self._run("worker", ["worker", "--config", str(config)])
        self._await_ready()
        self._tell(f"Generating an hour of history and {self._rate:g} events/s from now on")
        spike = f"churn-spike:eu@+{SPIKE_AFTER_SECONDS}s/10m"
        self._run(
            "generator",
            [
                *("generate", "--config", str(config), "--rate", f"{self._rate:g}"),
                *("--history", "1h", "--incident", spike),
            ],
        )

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "stream", *arguments]
        process = GuardedProcess(command, self.log(name), os.environ)
        self._parts.append((name, process))

    def log(self, name: str) -> Path:
        """The file with what a part has said."""
        return self.folder / f"{name}.log"

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=1):  # noqa: S310
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(_POLL_SECONDS)
        raise DemoFailed(
            f"the worker was not ready in {_START_SECONDS} s; see {self.log('worker')}"
        )

    def check(self) -> None:
        """Raise DemoFailed where a part has ended."""
        for name, process in self._parts:
            if process.poll() is not None:
                said = self.log(name).read_text(errors="replace").strip().splitlines()[-1:]
                raise DemoFailed(f"the {name} has ended: {''.join(said) or 'it said nothing'}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything, in the opposite order."""
        for _, process in reversed(self._parts):
            process.terminate(_STOP_SECONDS)
            process.close()
        self._parts.clear()
        self._stack.close()


def _free_port() -> int:
    """The usual port, or any other that is free now."""
    for wanted in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("no port is free on 127.0.0.1")
