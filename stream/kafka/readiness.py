"""What a worker logs of its own life: ready, ready again, other shards. Never a line per event."""

from __future__ import annotations

import logging
from typing import NamedTuple

from stream.metrics.view import Timing

log = logging.getLogger(__name__)


class Standing(NamedTuple):
    """How a worker stands at a moment."""

    #: Whether it is ready, and that or what is missing in words, as ``/readyz`` has them.
    ready: bool
    words: str
    #: Why the broker can't be reached; empty where it can.
    outage: str
    #: How many shards are live here.
    shards: int
    #: The recoveries since the start.
    recovery: Timing


class Readiness:
    """Tells each change that an operator waits for, once."""

    def __init__(self) -> None:
        self._lost = False
        #: The shards and recoveries that were told last; None before the worker was ready.
        self._told: tuple[int, int] | None = None

    def note(self, now: Standing) -> None:
        """Look at the worker; to be called again and again."""
        # That the broker is lost is told by whoever finds it out.
        self._lost = self._lost or bool(now.outage)
        if not now.ready or now.outage:
            return
        shards, recoveries = self._told or (None, 0)
        if self._lost and self._told is not None:
            log.info("Kafka answers again; %s%s", now.words, _recovered(now, recoveries))
        elif now.shards != shards:
            log.info("%s%s", now.words, _recovered(now, recoveries))
        self._lost = False
        self._told = (now.shards, now.recovery.count)


def _recovered(now: Standing, before: int) -> str:
    if now.recovery.count == before or now.recovery.last is None:
        return ""
    return f", recovered in {now.recovery.last:.1f} s"
