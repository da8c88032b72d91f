"""Run a command that must not outlive the process that asked for it, on Linux and macOS.

``python guard.py PARENT LOG COMMAND…`` starts the command with its output in the file LOG, writes
its process id on standard output, hands SIGTERM on to it and ends with its exit code. However the
parent ends, the guard then has another one; it sees that and kills the command.

It stands alone (standard library, run as a file), so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

#: How often the guard looks whether the command and its parent are still there, in seconds.
POLL = 0.05

_PR_SET_PDEATHSIG = 1


def _die_with_guard() -> None:
    """On Linux, let the kernel kill the command if the guard itself is killed.

    This tells of the death of a thread, and the guard has but one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
        time.sleep(POLL)
        if os.getppid() != parent:
            child.kill()
            child.wait()
    code = child.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
