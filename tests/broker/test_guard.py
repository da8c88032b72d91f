"""No process under guard outlives the one that asked for it, whatever ends that one."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.broker import guard

#: Keeps an exclusive lock on a file for as long as it lives.
COMMAND = """
import fcntl, signal, sys, time
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("running", flush=True)
time.sleep(600)
"""

#: Starts a guard as the broker does, tells the guard's process id, then waits. Under nohup it would
#: outlive the signal.
PARENT = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)
guarded = subprocess.Popen(
    [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), sys.argv[2],
     sys.executable, "-c", sys.argv[3], sys.argv[4], "stubborn"],
    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True,
)
guarded.stdout.readline()
print(guarded.pid, flush=True)
time.sleep(600)
"""


class Family:
    """A parent, its guard and the command, which holds a lock while it lives."""

    def __init__(self, folder: Path) -> None:
        self.lock = folder / "lock"
        self.log = folder / "log"
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, guard.__file__, self.log, COMMAND, self.lock],
            stdout=subprocess.PIPE,
        )
        assert self.parent.stdout is not None
        self.guard = int(self.parent.stdout.readline())
        assert within(60, lambda: self.log.read_bytes() == b"running\n")
        assert self.alive()

    def alive(self) -> bool:
        return not lockable(self.lock)

    def end(self) -> None:
        self.parent.kill()
        self.parent.wait()
        assert self.parent.stdout is not None
        self.parent.stdout.close()


def lockable(file: Path) -> bool:
    with file.open("r") as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    made = Family(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_the_command_dies_with_its_parent(family: Family, number: signal.Signals) -> None:
    family.parent.send_signal(number)
    assert within(60, lambda: not family.alive())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does this on Linux only")
def test_the_command_dies_with_its_guard(family: Family) -> None:
    os.kill(family.guard, signal.SIGKILL)
    assert within(60, lambda: not family.alive())


def test_the_command_lives_on_while_its_parent_is_frozen(family: Family) -> None:
    family.parent.send_signal(signal.SIGSTOP)
    try:
        assert not within(0.5, lambda: not family.alive())
    finally:
        family.parent.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("script", "code"),
    [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_the_guard_ends_with_the_code_of_its_command(
    tmp_path: Path, script: str, code: int
) -> None:
    arguments = [str(os.getpid()), str(tmp_path / "log"), sys.executable, "-c", script]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as guarded:
        assert guarded.wait(60) == code


def test_sigterm_is_handed_on(tmp_path: Path) -> None:
    lock, log = tmp_path / "lock", tmp_path / "log"
    arguments = [str(os.getpid()), str(log), sys.executable, "-c", COMMAND, str(lock), "polite"]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as guarded:
        assert within(60, lambda: log.exists() and log.read_bytes() == b"running\n")
        guarded.terminate()
        assert guarded.wait(60) == 128 + signal.SIGTERM
    assert lockable(lock)
