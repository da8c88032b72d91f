"""``make fuzz``: events through the core and the reference until there are as many as asked for."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.running import findings, read
from tests.fuzz.scenario import Scenario, scenario
from tests.fuzz.shrinking import shrunk

#: Scenarios that one process looks at in a row.
_ROW = 20


class Looked(NamedTuple):
    """What came of some scenarios."""

    events: int
    #: How many scenarios, records and differences there were, by the way of reading.
    ways: Counter[tuple[str, str]]
    outcomes: Counter[str]
    #: Seeds of scenarios with a difference.
    failed: list[int]
    cpu: float


def look(first: int) -> Looked:
    """Look at the scenarios of some seeds in a row."""
    began = time.process_time()
    ways: Counter[tuple[str, str]] = Counter()
    outcomes: Counter[str] = Counter()
    failed, events = list[int](), 0
    for seed in range(first, first + _ROW):
        given = scenario(seed)
        found = findings(given)
        events += len(given.steps)
        outcomes.update(outcome or "after --at" for outcome in read(given).outcomes)
        for way in ways_of(given):
            ways["streams", way] += 1
            ways["events", way] += len(given.steps)
            ways["differences", way] += bool(found)
        failed += [seed] if found else []
    return Looked(events, ways, outcomes, failed, time.process_time() - began)


def ways_of(given: Scenario) -> Iterator[str]:
    """How a scenario is read, one of each kind of thing."""
    yield "live" if given.shards else "replay"
    if given.until is not None:
        yield "replay up to --at"
    if given.shards > 1:
        yield f"live, {given.shards} shards merged"
    if given.told:
        yield "live, told as shares"
    yield "columns" if given.columns else "rows"
    thens = {step.then for step in given.steps}
    yield from (name for name in ("look", "restart", "crash") if name in thens)
    clocks = [step.clock for step in given.steps]
    if any(a > b for a, b in pairwise(clocks)):
        yield "live, clock set back"
    for label in given.config["windows"]:
        yield f"window {label}"
    if len(given.after) > 1:
        yield "aged without events"


def main() -> int:
    """Look at scenarios; 1 where any shows a difference."""
    given = _arguments()
    console = Console(stderr=True)
    if given.again:
        return _again(console, Path(given.again))
    if given.one is not None:
        return _tell(console, scenario(given.one), given.folder)
    began = time.monotonic()
    looked = list[Looked]()
    # However it is stopped, what was looked at is told.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for one in _looked(console, given.events, given.seed, given.jobs):
            looked.append(one)
    except KeyboardInterrupt:
        console.print("stopped before the end")
    _table(looked, time.monotonic() - began)
    failed = sorted(seed for one in looked for seed in one.failed)
    if not failed:
        return 0
    console.print(f"{len(failed)} streams differ, of seeds {failed[:20]}; making one small")
    return _tell(console, scenario(failed[0]), given.folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="at least so many [100000]")
    parser.add_argument("--seed", type=int, default=None, help="the first seed [the time]")
    parser.add_argument("--one", type=int, help="look at the scenario of this seed alone")
    parser.add_argument("--again", help="look at a scenario in a file again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes [cores]")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="of failures [build]")
    given = parser.parse_args()
    if given.seed is None:
        given.seed = int(time.time()) * 1000
    return given


def _begin() -> None:
    """Leave it to the one who asks to be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _looked(console: Console, events: int, seed: int, jobs: int) -> Iterator[Looked]:
    """Look at scenarios in all processes until there were enough events."""
    columns = (
        TextColumn("seeds from {task.fields[seed]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("events, {task.fields[failed]} differ"),
        TimeRemainingColumn(),
    )
    seeds: Iterable[int] = count(seed, _ROW)
    with (
        multiprocessing.get_context("fork").Pool(jobs, _begin) as pool,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("", total=events, seed=seed, failed=0)
        done = failed = 0
        # So few at once that little is thrown away at the end.
        while done < events:
            batch = [next(seeds) for _ in range(jobs * 4)]  # type: ignore[call-overload]
            for one in pool.imap_unordered(look, batch):
                done, failed = done + one.events, failed + len(one.failed)
                progress.update(task, completed=done, failed=failed)
                yield one


def _table(looked: list[Looked], seconds: float) -> None:
    table = Table("read as", "streams", "events", "differences")
    ways = sum((one.ways for one in looked), Counter[tuple[str, str]]())
    for way in sorted({way for _, way in ways}):
        numbers = (ways[what, way] for what in ("streams", "events", "differences"))
        table.add_row(way, *(f"{n:,}" for n in numbers))
    console = Console()
    console.print(table)
    outcomes = sum((one.outcomes for one in looked), Counter[str]())
    console.print(", ".join(f"{n:,} {name}" for name, n in outcomes.most_common()))
    streams = ways["streams", "columns"] + ways["streams", "rows"]
    console.print(
        f"{streams:,} streams, {sum(one.events for one in looked):,} events, "
        f"{sum(len(one.failed) for one in looked)} differ; "
        f"{sum(one.cpu for one in looked):.0f} s of CPU in {seconds:.0f} s"
    )


def _tell(console: Console, given: Scenario, folder: Path) -> int:
    """Make a scenario small, write it to a file and say how to look at it again."""
    found = findings(given)
    if not found:
        console.print(f"seed {given.seed}: no difference in {len(given.steps)} records")
        return 0
    small = shrunk(given, lambda other: bool(findings(other)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fuzz-{given.seed}.json"
    path.write_text(small.dump())
    console.print(f"{len(given.steps)} records made {len(small.steps)}:", highlight=False)
    for line in findings(small):
        console.print(f"  {line}", markup=False, highlight=False)
    console.print(f"{path}; again: make fuzz ARGS='--again {path}'", markup=False, highlight=False)
    return 1


def _again(console: Console, path: Path) -> int:
    found = findings(Scenario.load(path.read_text()))
    for line in found or ["no difference"]:
        console.print(line, markup=False, highlight=False)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
