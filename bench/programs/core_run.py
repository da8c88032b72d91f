"""The core alone over prepared events: CPU per event, and per evaluation of all series.

Each line of the file is ``time in ms <tab> topic <tab> value``, in order of time. Half of the
events warm up; the rest is measured, in flushes of 20,000 events with the state log in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from bench.core import Core, with_windows

FLUSH_EVENTS: Final = 20_000
#: So many records of a topic at once; a worker's chunks have up to twice as many.
CHUNK: Final = 4_000
_EVALUATIONS: Final = 5

Line = tuple[int, str, bytes]


def lines(file: Path) -> Iterator[Line]:
    with file.open("rb") as opened:
        for line in opened:
            at, topic, value = line.rstrip(b"\n").split(b"\t", 2)
            yield int(at), topic.decode(), value


def work_off(core: Core, events: Sequence[Line]) -> tuple[float, int]:
    """CPU seconds, and how many events were not accepted."""
    refused = 0
    began = time.process_time()
    for start in range(0, len(events), FLUSH_EVENTS):
        some = events[start : start + FLUSH_EVENTS]
        now = some[-1][0]
        by_topic: dict[str, list[bytes]] = {}
        for _, topic, value in some:
            by_topic.setdefault(topic, []).append(value)
        for topic, values in by_topic.items():
            for first in range(0, len(values), CHUNK):
                refused += core.feed(topic, values[first : first + CHUNK], now)
        core.flush(now)
    return time.process_time() - began, refused


def evaluation(core: Core, now: int) -> tuple[float, int]:
    """CPU milliseconds of one evaluation, and its samples."""
    samples = core.evaluate(now)
    began = time.process_time()
    for _ in range(_EVALUATIONS):
        core.evaluate(now)
    return (time.process_time() - began) * 1000 / _EVALUATIONS, samples


@click.command()
@click.option("--file", type=click.Path(path_type=Path), required=True)
@click.option("--windows", type=int, required=True)
def main(file: Path, windows: int) -> None:
    events = list(lines(file))
    warm = len(events) // 2
    core = Core(with_windows(windows))
    core.tune()
    _, refused = work_off(core, events[:warm])
    cpu, refused_later = work_off(core, events[warm:])
    ms, samples = evaluation(core, events[-1][0])
    said = {
        "events": len(events) - warm,
        "refused": refused + refused_later,
        "cpu": cpu,
        "evaluation_ms": ms,
        "samples": samples,
        "remembered": core.remembered(),
    }
    click.echo(json.dumps(said))


if __name__ == "__main__":
    main()
