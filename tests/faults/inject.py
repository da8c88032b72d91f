"""``python -m tests.faults.inject``: a worker that can be hit at a point, or has a mistake in it.

It is the product's own command in a process that was prepared before: with a mutation, with points
that look into a control file, with a record of what its rules see, with small blocks, with a short
session, with flushes that may last.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=Path)
    parser.add_argument("--mutation")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--block-budget", type=int)
    parser.add_argument("--session-ms", type=int)
    parser.add_argument("--flush-seconds", type=float)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.mutation:
        from tests.faults import mutating, mutations

        mutating.apply(mutations.named(given.mutation))
    if given.control:
        from tests.faults import points

        points.install(points.Control(given.control))
    if given.record:
        from tests.faults import recording

        recording.install(given.record)
    if given.block_budget:
        from stream.core import state

        vars(state).update(BLOCK_BUDGET=given.block_budget, BLOCK_COST=0)
    if given.flush_seconds:
        from stream.kafka import log

        vars(log).update(FLUSH_SECONDS=given.flush_seconds)
    if given.session_ms:
        _shorten_session(given.session_ms)
    from stream.cli import main as cxkpi

    sys.argv = ["cxkpi", *given.command]
    cxkpi()


def _shorten_session(ms: int) -> None:
    """A session below what stock brokers take, so that tests need not wait for long."""
    from stream.cli import worker

    load = vars(worker)["configuration"]

    def shortened(*args: Any, **kwargs: Any) -> Any:
        config = load(*args, **kwargs)
        kafka = config.kafka.model_copy(update={"session_timeout_ms": ms})
        return config.model_copy(update={"kafka": kafka})

    vars(worker)["configuration"] = shortened


if __name__ == "__main__":
    main()
