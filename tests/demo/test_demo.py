"""``cxkpi demo`` as a stranger runs it: in a terminal, in a pipe, and killed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

#: Broker, worker and generator, each with the guard that ends it.
PROCESSES = 6
#: For a machine that does other things as well, in seconds.
PATIENCE = 500
#: What the product promises, from the command to live values and to the alert, in seconds; twice
#: that where other tests run beside it, which take most of the machine.
_BESIDE: Final = 2 if "PYTEST_XDIST_WORKER" in os.environ else 1
LIVE_WITHIN, ALERT_WITHIN = 90 * _BESIDE, 120 * _BESIDE

# Without jars the demo would download them, which is another test's subject.
pytestmark = pytest.mark.usefixtures("kafka_jars")


class Demo:
    """A running ``cxkpi demo``, what it has said so far, and its folder's whereabouts."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int, temporary: Path) -> None:
        self.process = process
        self.started = time.monotonic()
        self.seen = ""
        self._fd = fd
        self._temporary = temporary

    def wait_for(self, pattern: str) -> float:
        """Read until it was said; how many seconds since the start."""
        while not re.search(pattern, self.seen):
            assert time.monotonic() - self.started < PATIENCE, f"no {pattern!r} in {self.seen!r}"
            assert self._read(), f"ended without {pattern!r}: {self.seen!r}"
        return time.monotonic() - self.started

    def rest(self) -> str:
        """Read to the end; what was said since the call."""
        before = len(self.seen)
        while self._read():
            pass
        return self.seen[before:]

    def _read(self) -> bool:
        if not select.select([self._fd], [], [], 0.5)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux's way to say that a terminal's other side is closed.
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def folders(self) -> list[Path]:
        """The demo's folder, while it is there."""
        return list(self._temporary.iterdir())

    def processes(self) -> list[str]:
        """All processes that work in the folder, as the system lists them."""
        return [line for line in command_lines() if str(self._temporary) in line]


def command_lines() -> Iterator[str]:
    """The command line of each process."""
    if not Path("/proc/self/cmdline").exists():
        command = ["ps", "-A", "-ww", "-o", "command="]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)
        yield from listed.stdout.splitlines()
        return
    # A bare Linux may have no ps.
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield file.read_bytes().replace(b"\0", b" ").decode(errors="replace")


@contextmanager
def running(
    temporary: Path, *arguments: str, terminal: tuple[int, int] | None = None
) -> Iterator[Demo]:
    """A demo in a pipe, or in a terminal of so many rows and columns."""
    temporary.mkdir()
    ours, theirs = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    environment |= {
        "TMPDIR": str(temporary),
        "TERM": "xterm-256color",
        "PYTHONUTF8": "1",
        # The demo has its own configuration, whatever its surroundings say.
        "CXKPI_KAFKA__BOOTSTRAP": "127.0.0.1:1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        stdin=theirs if terminal else subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=not terminal,
        # The terminal is the demo's own, so that it gets the Ctrl-C that is typed there.
        preexec_fn=(lambda: os.login_tty(0)) if terminal else None,  # noqa: PLW1509
    )
    os.close(theirs)
    try:
        yield Demo(process, ours, temporary)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def assert_nothing_is_left(demo: Demo, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while left := demo.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_in_a_terminal_an_alert_fires_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with running(tmp_path / "t", terminal=(24, 80)) as demo:
        demo.wait_for(r"Metrics at http://127\.0\.0\.1:\d+/metrics")
        assert demo.wait_for(r"churn +\d\.\d+%") < LIVE_WITHIN
        assert demo.wait_for(r"● ChurnSpike region=\w+") < ALERT_WITHIN
        assert len(demo.processes()) == PROCESSES
        os.write(demo._fd, b"\x03")
        said = demo.rest()
        assert demo.process.wait(60) == 0
        assert demo.folders() == []
        assert_nothing_is_left(demo)
    after = said.rpartition("\x1b[?1049l")[2]
    assert re.search(r"[\d,]{7} events were counted\.", after)
    assert re.search(r"ChurnSpike region=\w+ fired at .*, \d+ s after the spike began\.", after)
    assert "Traceback" not in demo.seen


def test_without_a_terminal_it_prints_lines_and_ends_by_itself(tmp_path: Path) -> None:
    with running(tmp_path / "t", "--for", "1s", "--rate", "10") as demo:
        # So soon it may still be among those that have no data.
        demo.wait_for(r"\d\d:\d\d:\d\dZ .*\bchurn\b")
        said = demo.rest()
        assert demo.process.wait(60) == 0
        assert demo.folders() == []
        assert_nothing_is_left(demo)
    assert "\x1b" not in demo.seen
    assert re.search(r"No alert has fired; the churn spike \w+ at \d\d:\d\d:\d\dZ\.\n$", said)


def test_killed_it_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path / "t", "--rate", "10") as demo:
        demo.wait_for("Metrics at")
        assert len(demo.processes()) == PROCESSES
        demo.process.send_signal(signal.SIGKILL)
        demo.process.wait(60)
        assert_nothing_is_left(demo)
