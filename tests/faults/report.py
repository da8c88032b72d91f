"""One table of what was done to workers and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.faults.crashes import Crashes
from tests.faults.verdict import Verdict

_HEAD = (
    "schedule", "workers", "faults", "events", "series", "dead letters", "scrapes",
    "differences", "recovery s (median, most)", "s",
)  # fmt: skip


def row(verdict: Verdict) -> tuple[str, ...]:
    """A verdict as cells of the table."""
    times = sorted(verdict.recoveries)
    recovery = f"{times[len(times) // 2]:.1f}, {times[-1]:.1f}" if times else "–"
    return (
        verdict.schedule,
        str(verdict.workers),
        ", ".join(f"{n} {kind}" for kind, n in verdict.faults.items()) or "–",
        f"{verdict.events:,}",
        f"{verdict.series:,}",
        f"{verdict.letters:,}",
        f"{verdict.scrapes:,}",
        str(len(verdict.wrong)),
        recovery,
        f"{verdict.seconds:.0f}",
    )


def crash_row(life: str, runs: Sequence[Crashes]) -> tuple[str, ...]:
    """The runs of a life in process as one row."""
    return (
        f"in process, {life}",
        str(len(runs)),
        f"{sum(c.lost for c in runs)} crashes before a commit, {sum(c.kept for c in runs)} after",
        f"{sum(c.records for c in runs):,}",
        *("–", "–", "–"),
        str(sum(len(c.findings) for c in runs)),
        *("–", "–"),
    )


def table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = _HEAD) -> str:
    """The rows under their heading, as Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
