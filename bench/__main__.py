"""``python -m bench``: measure all parts, or some, and write the page of results."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from bench import alerts, curves, events, latency, report, stored, subjects, worker
from bench.environments import Unavailable
from bench.measured import Failed, Measurement, Subject
from bench.site import environment, site

RESULTS: Final = Path(__file__).with_name("results.md")
#: The curves need fewer events than the rounds, the same for all points.
_CURVE_EVENTS: Final = 600_000
#: Alerts have a page of their own, and are measured only where they are named.
_PARTS: Final = (*stored.PARTS, "alerts")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(_PARTS), help="Repeatable.")
@click.option("--events", "count", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--only", multiple=True, type=click.Choice(subjects.NAMES), help="Repeatable; part rounds only."
)
@click.option("--rate", type=float, help="Load for latency. [default: half of the worker's rate]")
@click.option(
    "--endurance-events", type=click.IntRange(100_000), default=4_500_000, show_default=True
)
@click.option("--page-only", is_flag=True, help="Measure nothing, write the page anew.")
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    help="Where to write the results. [default: bench/results.md]",
)
def main(
    parts: tuple[str, ...],
    count: int,
    rounds: int,
    only: tuple[str, ...],
    rate: float | None,
    endurance_events: int,
    page_only: bool,
    to: Path,
) -> None:
    """Measure what an event costs the worker, and what it costs others.

    Results of parts that are left out stay those of the last run.
    """
    if sys.platform != "linux":
        raise click.ClickException("the benchmark reads /proc, so it runs on Linux")
    # What a new topic makes the client say is no news; what fails is told by us.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    if "alerts" in parts:
        print(alerts.write())
        if set(parts) == {"alerts"}:
            return
    chosen = () if page_only else parts or (("rounds",) if only else stored.PARTS)
    run = _Run(to)
    names = [n for n in subjects.NAMES if not only or n in only]
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "rounds": lambda: _rounds(names, count, rounds, run.failed),
        "curves": lambda: _curves(min(count, _CURVE_EVENTS), rounds),
        "latency": lambda: _latency(count, rate or run.half_rate()),
        "endurance": lambda: _endurance(endurance_events),
    }
    for part, measure in measures.items():
        if part in chosen:
            run.part(part, measure)
    print(run.write())
    if run.failed:
        raise click.ClickException("not everything was measured:\n" + "\n".join(run.failed))


class _Run:
    """One run: what it has found, what has failed, and the page that it writes."""

    def __init__(self, to: Path) -> None:
        self._to = to
        self._stored = stored.Stored(to)
        self.failed: list[str] = []

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure a part, keep it and write the page; one that fails leaves the others alone."""
        stamp = stored.stamp()
        try:
            found = measure()
        except Exception as error:  # noqa: BLE001 - whatever ends a part, the others go on.
            self.failed.append(f"{name}: {_words(error)}")
        else:
            self._stored.save(name, found, stamp)
            self.write()

    def write(self) -> str:
        """Write page and plot of all that is kept; the page."""
        page = report.page(self._stored.parts)
        self._to.write_text(page)
        plot = report.plot(self._stored.parts)
        if plot is not None and self._to != Path(os.devnull):
            self._to.with_name("curves.svg").write_text(plot)
        return page

    def half_rate(self) -> float | None:
        """Half of the worker's median rate in the rounds, if they are of this very code."""
        rounds = self._stored.parts.get("rounds")
        if rounds is None or rounds["stamp"]["commit"] != stored.commit():
            return None
        runs = report.results_of(rounds).get("worker", [])
        return statistics.median(m.rate for m in runs) / 2 if runs else None


def _words(error: Exception) -> str:
    """What failed, in its own words where they were written for people."""
    return str(error) if isinstance(error, (Failed, Unavailable)) else repr(error)


def _rounds(names: list[str], count: int, rounds: int, failed: list[str]) -> dict[str, Any]:
    with site() as here:
        inputs = subjects.write(here, count, names)
        chosen = subjects.Runs(here, count, inputs).subjects(names)
        results, failures = _interleaved(chosen, rounds)
    failed += [f"{name}: {why}" for name, why in failures.items()]
    largest = inputs.answers[max(inputs.answers)] if inputs.answers else None
    return {
        "rounds": rounds,
        "written": asdict(inputs.events) if inputs.events else None,
        "answers": {"count": largest.count, "mean_bytes": largest.mean_bytes} if largest else None,
        "subjects": [
            {
                "name": s.name,
                "table": s.table,
                "text": s.text,
                "runs": [asdict(m) for m in results[s.name]],
                "failed": failures.get(s.name, ""),
            }
            for s in chosen
        ],
    }


def _interleaved(
    chosen: Sequence[Subject], rounds: int
) -> tuple[dict[str, list[Measurement]], dict[str, str]]:
    """Each round begins with another subject, so that none is always the first.

    One that fails is left out of the rounds that follow, and of the results.
    """
    results: dict[str, list[Measurement]] = {s.name: [] for s in chosen}
    failures: dict[str, str] = {}
    for turn in range(rounds):
        print(f"Round {turn + 1} of {rounds}", file=sys.stderr)
        first = turn * len(chosen) // rounds
        for subject in (*chosen[first:], *chosen[:first]):
            if subject.name in failures:
                continue
            try:
                measured = subject.measure(turn)
            except Exception as error:  # noqa: BLE001 - whatever ends one, the others go on.
                failures[subject.name] = _words(error)
                results[subject.name] = []
                print(f"  {subject.name:<24} {_words(error)}", file=sys.stderr)
            else:
                results[subject.name].append(measured)
                report.tell(subject, measured)
    return results, failures


def _curves(count: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="cxkpi-bench-") as name:
        found = curves.measure(Path(name), count, rounds)
    return {
        "events": count,
        "curves": {
            title: [[label, [asdict(run) for run in runs]] for label, runs in points]
            for title, points in found.items()
        },
    }


def _latency(count: int, rate: float | None) -> dict[str, Any]:
    with site() as here:
        print("Latency: writing events", file=sys.stderr)
        written = events.write(here.kafka, here.events_file, count)
        if rate is None:
            rate = worker.measure(here, "rate", written.outcomes).rate / 2
        print(f"Latency: at {rate:,.0f} events/s", file=sys.stderr)
        found = latency.measure(here, rate)
    latency.told(found)
    return asdict(found)


def _endurance(count: int) -> dict[str, Any]:
    """In a process of its own, since its memory is what is looked at."""
    command = [sys.executable, "-m", "bench.endurance", "--json", f"--events={count}"]
    done = subprocess.run(
        command, env=dict(environment()), stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise Failed("the core has not endured; its own words stand above")
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    main()
