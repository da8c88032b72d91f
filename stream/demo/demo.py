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
from stream.core.errors import StopError
from stream.core.settings import SECOND
from stream.generate.profile import busiest_region

#: The worker's usual port; another one is taken where it is not free.
USUAL_PORT: Final = 9464
#: The churn spike comes so long after the start of the events.
SPIKE_AFTER_SECONDS: Final = 10
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 3
_POLL_SECONDS: Final = 0.2
#: Loopback is never behind a proxy, whatever the surroundings say.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

CONFIG: Final = """\
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
factor = 2
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


class DemoFailed(StopError):
    """A part of the demonstration did not start or has ended; the message says which and why."""


class Demo:
    """A context manager; inside, everything runs. ``tell`` gets a line for each step."""

    #: The rule that tells of the churn spike.
    SPIKE_RULE: ClassVar[str] = "ChurnSpike"

    def __init__(self, folder: Path, rate: float, tell: Callable[[str], None]) -> None:
        self.folder = folder
        #: Events per second, once the history was sent.
        self.rate = rate
        self._tell = tell
        self._parts: list[tuple[str, GuardedProcess]] = []
        self._broker: Broker | None = None
        self._stack = ExitStack()
        self.port = _free_port()
        #: Where the churn spike comes: where most happens now, so that it shows soon.
        self.region = busiest_region("office", int(time.time() * SECOND))
        #: When it comes, in seconds since the epoch; about, as the generator starts first.
        self.spike_at = 0.0

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
        broker = self._broker = Broker(self.folder / "kafka", tell=self._tell)
        # Nobody needs its data afterwards, so it need not end in good order.
        self._stack.callback(broker.kill)
        broker.start()
        config = self.folder / "cxkpi.toml"
        config.write_text(CONFIG.format(bootstrap=broker.bootstrap, port=self.port))
        self._tell("Starting the worker")
        self._run("worker", ["worker", "--config", str(config)])
        self._await_ready()
        self._tell(f"Generating an hour of history and {self.rate:g} events/s from now on")
        spike = f"churn-spike:{self.region}@+{SPIKE_AFTER_SECONDS}s/10m"
        self.spike_at = time.time() + SPIKE_AFTER_SECONDS
        self._run(
            "generator",
            [
                *("generate", "--config", str(config), "--rate", f"{self.rate:g}"),
                *("--history", "1h", "--incident", spike),
            ],
        )

    def _run(self, name: str, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "stream", *arguments]
        # The configuration is the demonstration's own, whatever the surroundings say.
        env = {k: v for k, v in os.environ.items() if not k.startswith("CXKPI_")}
        # Nothing stays behind, whatever a part puts aside.
        env["TMPDIR"] = str(self.folder)
        process = GuardedProcess(command, self.log(name), env)
        self._stack.callback(process.close)
        self._stack.callback(process.terminate, _STOP_SECONDS)
        self._parts.append((name, process))

    def log(self, name: str) -> Path:
        """The file with what a part has said."""
        return self.folder / f"{name}.log"

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        reason = "it does not answer"
        while time.monotonic() < deadline:
            self.check()
            try:
                with _open(f"{self.url}/readyz", timeout=1):
                    return
            except urllib.error.HTTPError as error:
                reason = error.read().decode(errors="replace").strip()
            except OSError:
                pass
            time.sleep(_POLL_SECONDS)
        raise DemoFailed(f"the worker is not ready after {_START_SECONDS} s: {reason}")

    def check(self) -> None:
        """Raise DemoFailed where a part has ended."""
        for name, process in self._parts:
            if process.poll() is not None:
                said = self.log(name).read_text(errors="replace").strip().splitlines()[-1:]
                raise DemoFailed(f"the {name} has ended: {''.join(said) or 'it said nothing'}")
        if self._broker is None or not self._broker.running:
            words = "" if self._broker is None else f": {self._broker.last_words()}"
            raise DemoFailed(f"Kafka has ended{words}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything, in the opposite order."""
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
