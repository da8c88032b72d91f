"""The job that all subjects of the like-for-like table do, and how its result is checked.

Rolling NPS of 20 segments (channel × region) over two hours: per segment and pane of 30 seconds of
event time, the promoters, detractors and answers. A reader sums the panes of the window; a hopping
window would write 240 records per answer. Only the standard library is used here, since peers run
in environments of their own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from bench.measured import peak_mib

PANE_SECONDS: Final = 30
WINDOW_SECONDS: Final = 7200
PROMOTER: Final = 9
PASSIVE: Final = 7

#: Promoters, detractors and answers by segment and pane, named ``channel/region/pane start in s``.
Counts = Mapping[str, Sequence[int]]


def with_score(counts: Sequence[int], score: float) -> list[int]:
    """Promoters, detractors and answers with one answer more."""
    promoters, detractors, n = counts
    return [promoters + (score >= PROMOTER), detractors + (score < PASSIVE), n + 1]


def difference(found: Counts, truth: Counts) -> str | None:
    """What is wrong with a result, in one line; None where it is the truth."""
    wrong = [
        key for key in {*found, *truth} if list(found.get(key, ())) != list(truth.get(key, ()))
    ]
    if not wrong:
        return None
    key = min(wrong)
    return (
        f"{len(wrong)} of {len(truth)} counts are wrong, {key} is {found.get(key)}"
        f" instead of {truth.get(key)}; {sum(c[2] for c in found.values()):,} answers counted"
    )


class Progress:
    """Measures this process from its start or first event to its last one."""

    def __init__(self, events: int) -> None:
        self._wanted = events
        self._seen = 0
        self._cpu = self._began = 0.0

    def start(self) -> None:
        """Begin before the first event: for clients that fetch ahead of it in the background."""
        self._cpu, self._began = time.process_time(), time.monotonic()

    def event(self, n: int = 1) -> bool:
        """Note that events were worked off; whether these were the last ones."""
        if not self._began:
            self.start()
        self._seen += n
        return self._seen >= self._wanted

    def result(self, counts: Counts) -> str:
        """What was measured and counted, as the one line that the benchmark reads."""
        return json.dumps(
            {
                "events": self._seen,
                "cpu": time.process_time() - self._cpu,
                "seconds": time.monotonic() - self._began,
                "peak_mib": peak_mib(),
                "counts": counts,
            }
        )

    def end(self, counts: Counts) -> NoReturn:
        """Print the result and end at once: a stop in good order tells nothing."""
        print(self.result(counts), flush=True)
        os._exit(0)
