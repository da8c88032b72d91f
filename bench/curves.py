"""How the cost of an event depends on windows, segments and the span of event time.

Measured in the core alone, with the state log in memory, each point in a process of its own: Kafka
would add the same to all points, and noise.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from bench import events
from bench.measured import Failed
from bench.site import PATIENCE, environment
from stream.generate.draws import Record
from stream.generate.profile import CURRENCIES

#: The segments that the generated company has: five channels in four regions.
USUAL_SEGMENTS: Final = 20
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_LABELS: Final = re.compile(rb'"labels":\{"channel":"[^"]*","region":"[^"]*"\}')
_CURRENCY: Final = re.compile(rb'"currency":"[A-Z]{3}"')


@dataclass(frozen=True, slots=True)
class Point:
    """One configuration and kind of input."""

    windows: int = 4
    segments: int = USUAL_SEGMENTS
    span: int = _HOUR

    @property
    def file(self) -> str:
        """The name of its input."""
        return f"events-{self.segments}-{self.span}.tsv"


#: By title: what varies, the label of each point, and the point.
CURVES: Final[dict[str, list[tuple[str, Point]]]] = {
    "windows": [(str(n), Point(windows=n)) for n in (1, 2, 4, 6)],
    "segments": [(f"{n:,}", Point(segments=n)) for n in (10, 100, 1_000, 10_000)],
    "span of event time": [
        ("1 hour", Point()),
        ("1 day", Point(span=_DAY)),
        ("14 days", Point(span=14 * _DAY)),
    ],
}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a point took."""

    micros: float
    evaluation_ms: float
    samples: int


def measure(folder: Path, count: int, rounds: int) -> dict[str, list[tuple[str, list[Run]]]]:
    """All curves, each point run once a round, the rounds interleaved."""
    points = list(dict.fromkeys(p for curve in CURVES.values() for _, p in curve))
    print(f"Curves: writing {count:,} events for each input", file=sys.stderr)
    for span in dict.fromkeys(p.span for p in points):
        _write(folder, {p for p in points if p.span == span}, count)
    runs: dict[Point, list[Run]] = {p: [] for p in points}
    for turn in range(rounds):
        print(f"Curves: round {turn + 1} of {rounds}", file=sys.stderr)
        for point in points:
            run = _run(folder, point)
            runs[point].append(run)
            print(
                f"  {point.windows} windows, {point.segments:,} segments,"
                f" {point.span / _HOUR:,.0f} h: {run.micros:.2f} µs per event,"
                f" {run.evaluation_ms:.1f} ms per evaluation of {run.samples:,} samples",
                file=sys.stderr,
            )
    return {
        title: [(label, runs[point]) for label, point in curve] for title, curve in CURVES.items()
    }


def relabelled(value: bytes, key: bytes, segments: int) -> bytes:
    """The event with the labels of one of so many segments, the same for all of an entity."""
    regions = {10: 2, 100: 10, 1_000: 10, 10_000: 100}[segments]
    channel, region = divmod(crc32(key) % segments, regions)
    # Each region has one currency, as those of the generated company.
    currency = CURRENCIES[region % len(CURRENCIES)].encode()
    value = _CURRENCY.sub(b'"currency":"%s"' % currency, value)
    return _LABELS.sub(b'"labels":{"channel":"c%d","region":"r%d"}' % (channel, region), value)


def _write(folder: Path, points: AbstractSet[Point], count: int) -> None:
    """The inputs of points with one span: the same events, labelled anew."""
    (span,) = {p.span for p in points}
    events_of_span = list(events.generated(count, span))
    for point in {p.file: p for p in points}.values():
        with (folder / point.file).open("wb") as lines:
            lines.writelines(_lines(point, events_of_span))


def _lines(point: Point, records: Iterable[Record]) -> Iterator[bytes]:
    for at, topic, key, value in records:
        if point.segments != USUAL_SEGMENTS:
            value = relabelled(value, key, point.segments)
        yield b"%d\t%s\t%s\n" % (at, topic.encode(), value)


def _run(folder: Path, point: Point) -> Run:
    command = [sys.executable, "-m", "bench.programs.core_run", f"--windows={point.windows}"]
    done = subprocess.run(
        [*command, f"--file={folder / point.file}"],
        env=dict(environment()),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        raise Failed(f"the core has failed over {point.file}:\n{done.stderr[-3000:]}")
    said = json.loads(done.stdout)
    if said["refused"] > 3 * events.DUPLICATES * said["events"]:
        raise Failed(f"the core has refused {said['refused']} events of {point.file}")
    micros = said["cpu"] / said["events"] * 1e6
    return Run(micros, said["evaluation_ms"], said["samples"])
