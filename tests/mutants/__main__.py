"""``make mutants``: every mistake in the core, and the test that catches it, as a table."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.mutants.catching import Caught, are_sound, catch, copied
from tests.mutants.mistakes import MISTAKES, Mistake


def main() -> int:
    """Make the mistakes that were asked for; 1 where a mutant survives."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those whose name or file holds this expression")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once [cores]")
    parser.add_argument("--seconds", type=float, default=600.0, help="a stage's limit [600]")
    given = parser.parse_args()
    chosen = [m for m in MISTAKES if re.search(given.only, f"{m.file} {m.name}")]
    table = Table("mistake", "in", "what goes wrong", "caught by", "s")
    survivors, rows = [], dict[str, tuple[str, ...]]()
    console = Console(stderr=True)
    caught = _caught(chosen, given.jobs, given.seconds)
    for one in track(caught, "making mistakes", len(chosen), console=console):
        mistake, test, seconds = one
        rows[mistake.name] = (mistake.file, mistake.harm, test or "NOT", f"{seconds:.0f}")
        console.print(f"{mistake.name}: {test or 'SURVIVES'}", markup=False, soft_wrap=True)
        if not test:
            survivors.append(mistake.name)
    for mistake in chosen:
        table.add_row(mistake.name, *rows[mistake.name])
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    sys.stdout.write(f"{len(chosen) - len(survivors)} of {len(chosen)} mistakes are caught\n")
    return 1 if survivors or not chosen else 0


def _caught(mistakes: Sequence[Mistake], jobs: int, seconds: float) -> Iterator[Caught]:
    """What came of each mistake, as it comes; each process has a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: Queue[Path] = Queue()
        for number in range(jobs):
            copies.put(copied(Path(folder) / f"{number}"))
        failing = are_sound(Path(folder) / "0", seconds)
        if failing:
            raise SystemExit(f"without any mistake {failing} fails")

        def one(mistake: Mistake) -> Caught:
            copy = copies.get()
            try:
                return catch(mistake, copy, seconds)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(jobs) as pool:
            asked = [pool.submit(one, mistake) for mistake in mistakes]
            yield from (future.result() for future in as_completed(asked))


if __name__ == "__main__":
    sys.exit(main())
