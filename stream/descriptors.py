"""File descriptors, of which a process has few by default and a worker needs some per partition."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_all() -> None:
    """Have as many as whoever runs the machine allows, not as many as old programs can bear."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where no number is set the system may have a bound of its own and refuse more.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
