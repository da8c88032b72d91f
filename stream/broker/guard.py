"""Run a command that must not outlive the process that asked for it, on Linux and macOS.

``python guard.py PARENT LOG COMMAND…`` starts the command with its output in the file LOG, writes
its process id on standard output, and ends with its exit code. The guard holds one end of a pipe as
standard input, its parent the other: however the parent ends, the pipe closes and the command is
killed. Where a stray copy of the parent's end survives it, the changed parent id tells. SIGTERM is
handed on to the command; closing the pipe is the way to kill it.

It stands alone (standard library, run as a file), so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

#: How often the command and the parent id are looked at, in seconds; the pipe tells at once.
POLL = 0.1

_PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    """On Linux, let the kernel kill the command if the guard itself is killed.

    This tells of the death of a thread, and the guard has but one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _parent_gone(parent: int) -> bool:
    readable, _, _ = select.select([0], [], [], POLL)
    return (bool(readable) and not os.read(0, 1)) or os.getppid() != parent


def main(parent: int, log: Path, command: list[str]) -> int:
    """Run the command, kill it when the parent is gone; return its exit code."""
    with log.open("wb") as output:
        # The guard has one thread, so running Python between fork and exec is safe here.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_guard,  # noqa: PLW1509
        )

    def hand_on(_signal: int, _frame: FrameType | None) -> None:
        child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(1, b"%d\n" % child.pid)
    os.close(1)
    while child.poll() is None:
        if _parent_gone(parent):
            child.kill()
            child.wait()
    code = child.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
