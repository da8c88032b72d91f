"""One measurement, and what the system says of a process (Linux: it reads ``/proc``)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A subject did not do its work, so there is nothing to compare; the message says what."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What it took a subject to work off events, start-up left out."""

    events: int
    #: CPU seconds of the subject's process alone, user and system, all threads.
    cpu: float
    #: Seconds by the clock.
    seconds: float
    #: The most memory that was resident, in MiB, start-up included.
    peak_mib: float

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million events, which is µs per event."""
        return self.cpu / self.events * 1e6

    @property
    def rate(self) -> float:
        """Events per second by the clock."""
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured: ``measure(round)`` runs it once over its events."""

    name: str
    #: The table that it stands in.
    table: str
    text: str
    measure: Callable[[int], Measurement]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads.

    Raises:
        Failed: it has ended.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Failed(f"process {pid} has ended") from error
    # The second field is the name in brackets and may hold anything, spaces too.
    fields = text.rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def peak_mib(pid: int | str = "self") -> float:
    """The most memory of a process that was resident at once so far, in MiB.

    Raises:
        Failed: it has ended.
    """
    return _status(pid, "VmHWM")


def resident_mib(pid: int | str = "self") -> float:
    """The memory of a process that is resident now, in MiB.

    Raises:
        Failed: it has ended.
    """
    return _status(pid, "VmRSS")


def _status(pid: int | str, field: str) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Failed(f"process {pid} has ended") from error
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    if found is None:
        raise Failed(f"process {pid} has ended")
    return int(found[1]) / 1024
