"""``python -m bench``: measure all subjects in interleaved rounds and write the results."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from bench import events, replay, report, worker
from bench.measured import Failed, Measurement, Subject
from bench.site import Site, site
from stream.config import KafkaConfig

RESULTS: Final = Path(__file__).with_name("results.md")
NAMES: Final = ("worker", "replay", "fetch", "faust", "faust-tuned", "faust-each")
#: Stock Faust is some fifty times slower, so it reads fewer events.
_FAUST_SHARE: Final = 40


def subjects(here: Site, count: int) -> list[Subject]:
    """All that can be measured."""
    few = max(1_000, count // _FAUST_SHARE)
    return [
        Subject(
            "worker",
            "`cxkpi worker`, a process of its own with the default configuration: validation,"
            " deduplication, entities, four windows, four rollups, all KPIs, state and positions"
            " in transactions; scraped each second",
            lambda turn: worker.measure(here, count, f"bench-{turn}"),
        ),
        Subject(
            "replay",
            "`cxkpi replay` of the same events from a file, less its start: the same core without"
            " Kafka and without a state log",
            lambda _: replay.measure(here, count),
        ),
        Subject(
            "fetch",
            "aiokafka alone: `getmany`, nothing done with the records",
            lambda turn: here.program(f"fetch-{turn}", "raw_fetch", events=count),
        ),
        Subject(
            "faust",
            "stock Faust, idiomatic: an agent that keeps rolling NPS of 20 segments in a windowed"
            " table (in memory, with changelog); other events are decoded and left alone, nothing"
            " is validated, deduplicated or exact after a crash",
            _Faust(here, "faust", few, job="nps", tuned=False),
        ),
        Subject(
            "faust-tuned",
            "the same with msgspec, uvloop, a plain table and larger fetches, buffers and linger",
            _Faust(here, "faust-tuned", few, job="nps", tuned=True),
        ),
        Subject(
            "faust-each",
            "stock Faust, idiomatic, where every event, not only NPS answers, adds to windowed"
            " counters once, as it does in the worker",
            _Faust(here, "faust-each", few, job="each", tuned=False),
        ),
    ]


class _Faust:
    """Runs stock Faust with some options, each time as another app."""

    def __init__(self, here: Site, name: str, count: int, **options: object) -> None:
        self._here, self._name, self._count, self._options = here, name, count, options

    def __call__(self, turn: int) -> Measurement:
        name = f"{self._name}-{turn}"
        return self._here.program(
            name,
            "stock_faust",
            app_id=name,
            folder=self._here.folder / name,
            events=self._count,
            **self._options,
        )


@click.command()
@click.option("--events", "count", type=click.IntRange(1_000), default=1_000_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Repeatable.")
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    help="Where to write the results. [default: bench/results.md]",
)
def main(count: int, rounds: int, only: tuple[str, ...], to: Path) -> None:
    """Measure what an event costs the worker, and what it costs others."""
    if sys.platform != "linux":
        raise click.ClickException("the benchmark reads /proc, so it runs on Linux")
    load = os.getloadavg()[0]
    with site() as here:
        print(f"Writing {count:,} events", file=sys.stderr)
        kafka = KafkaConfig(bootstrap=here.bootstrap)
        written = events.write(kafka, here.events_file, count)
        chosen = [s for s in subjects(here, count) if not only or s.name in only]
        try:
            results = _rounds(chosen, rounds)
        except Failed as failed:
            raise click.ClickException(str(failed)) from failed
    page = report.markdown(chosen, results, written, load)
    to.write_text(page)
    print(page)


def _rounds(chosen: Sequence[Subject], rounds: int) -> dict[str, list[Measurement]]:
    """Each round begins with another subject, so that none is always the first."""
    results: dict[str, list[Measurement]] = {s.name: [] for s in chosen}
    for turn in range(rounds):
        print(f"Round {turn + 1} of {rounds}", file=sys.stderr)
        first = turn % len(chosen)
        for subject in (*chosen[first:], *chosen[:first]):
            measured = subject.measure(turn)
            results[subject.name].append(measured)
            report.tell(subject, measured)
    return results


if __name__ == "__main__":
    main()
