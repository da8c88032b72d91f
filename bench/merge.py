"""``python -m bench.merge``: what adding up one KPI family costs its owner, beyond this machine.

The product's own classes in one process, without Kafka. A few shards take in events so that every
segment counts one more each second, which is the most that a share can hold; what they tell is
passed on under the numbers of as many shards as are asked for. Their segments have come in another
order in each, as in life. The owner takes in a second's shares and evaluates all windows.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

import click
import msgspec
import numpy as np

from bench import events
from bench.measured import Failed, peak_mib
from bench.stored import Stored, stamp
from stream.core.catalogue import KPIS
from stream.core.contents import Contents
from stream.core.evaluate import Evaluator, Wanted
from stream.core.merge import Family
from stream.core.settings import MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.sharing import Beat, ShareRecord, Sharing, pack, unpack
from stream.core.timestamps import format_ms
from stream.core.values import Values

_START: Final = 1_768_392_000_000
#: So many shards are different; the others say the same as one of these.
_TEMPLATES: Final = 4
#: Events of each segment before anything is measured.
_BEFORE: Final = 8
_WARM_SECONDS: Final = 2
_SECONDS: Final = 3
_CHUNK: Final = 4_000
_DENSITY_EVENTS: Final = 300_000
#: Where the figures of this module and of ``bench.scaling`` are kept.
FIGURES: Final = Path(__file__).with_name("scaling.json")


@dataclass(frozen=True, slots=True)
class Point:
    """A family with so many shards, each of which has an event of each segment every second."""

    family: str
    shards: int
    segments: int


#: One family with few counters, and the one with quantiles.
POINTS: Final = (
    *(Point("cx.visit", n, s) for s in (100, 1_000, 10_000) for n in (1, 10, 100)),
    *(Point("cx.visit", 1_000, s) for s in (100, 1_000)),
    *(Point("cx.ticket", n, s) for s in (100, 1_000) for n in (1, 10, 100)),
    Point("cx.ticket", 1, 10_000),
    Point("cx.ticket", 10, 10_000),
    Point("cx.ticket", 1_000, 100),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a second takes; CPU in seconds."""

    family: str
    shards: int
    segments: int
    #: Records and cells of one shard's share, and its bytes as written (without Kafka's framing).
    records: float
    cells: float
    bytes: float
    #: Cells of one shard's part of the windows' sums, over all windows.
    window_cells: float
    #: To tell a shard's share.
    tell: float
    #: To take in all shares, and to evaluate the family once.
    take: float
    evaluate: float
    samples: int
    peak_mib: float

    @property
    def owner(self) -> float:
        """CPU seconds of the family's owner per second, where it evaluates once a second."""
        return self.take + self.evaluate


class _Source:
    """A shard that takes in an event of each segment at a time, and what it tells."""

    def __init__(self, point: Point, settings: Settings, values: Values, seed: int) -> None:
        self._random = Random(seed)
        self._family = point.family
        self._segments = list(range(point.segments))
        self._random.shuffle(self._segments)
        self._side = max(1, round(point.segments**0.5))
        self._made = 0
        self._seed = seed
        self.shard = Shard(settings, values)
        self._sharing = Sharing(self.shard, 0, f"life-{seed}")
        self.told = 0.0

    def feed(self, now: int) -> None:
        """An event of each segment, now."""
        values = [self._event(segment, now) for segment in self._segments]
        for first in range(0, len(values), _CHUNK):
            refused = self.shard.ingest(self._family, values[first : first + _CHUNK], now)
            if refused:
                raise Failed(f"an event was refused: {refused[0]}")

    def _event(self, segment: int, now: int) -> bytes:
        self._made += 1
        name = f"{self._seed}-{self._made}"
        channel, region = divmod(segment, self._side)
        said: dict[str, Any] = {
            "event_id": f"e-{name}",
            "occurred_at": format_ms(now),
            "labels": {"channel": f"c{channel}", "region": f"r{region}"},
        }
        if self._family == "cx.ticket":
            opened = now - int(MINUTE * self._random.lognormvariate(5, 1.2))
            said |= {"type": "ticket.closed", "ticket_id": name, "opened_at": format_ms(opened)}
            said |= {"first_response_seconds": self._random.randrange(900), "sentiment": 0.5}
        else:
            said |= {"type": "visit.ended", "visit_id": name, "pages": 3}
            said |= {"converted": self._made % 3 == 0, "new_customer": self._made % 2 == 0}
        return json.dumps(said).encode()

    def tell(self, now: int) -> list[ShareRecord]:
        """The family's share; adds up the CPU that it takes."""
        began = time.process_time()
        self.shard.advance(now)
        self.shard.fold(now)
        records = self._sharing.collect(now, now)[self._family]
        self.told += time.process_time() - began
        return records

    def window_cells(self, now: int) -> int:
        """Cells of the sums over each window."""
        found = 0
        for window in self.shard.settings.windows:
            keys, _ = self.shard.windows.between(
                window.label, window.first_pane(now), now // window.pane_ms
            )
            found += np.unique(keys & ((1 << 31) - 1)).size
        return found

    def pane_cells(self, now: int) -> int:
        """Cells of the windows' present panes, which is what a share tells."""
        windows = self.shard.settings.windows
        return sum(
            self.shard.windows.between(w.label, now // w.pane_ms, now // w.pane_ms)[0].size
            for w in windows
        )


def renumbered(
    records: Sequence[ShareRecord], number: int, contents: Contents
) -> list[ShareRecord]:
    """The share of shard 0 as that of another shard, whose log has these contents."""
    found = []
    for key, value in records:
        kind, _, *place = key.split(b"/")
        found.append((b"/".join((kind, b"%d" % number, *place)), value))
    (key, value), *rest = found
    for record in rest:
        contents.note(*record)
    life, data = unpack(value or b"")
    beat = msgspec.structs.replace(msgspec.convert(data, Beat), mark=contents.mark)
    return [(key, pack(life, beat)), *rest]


def measure(point: Point) -> Cost:
    """Simulate some seconds of one family's merge."""
    settings = Settings()
    values = Values(settings)
    count = min(point.shards, _TEMPLATES)
    sources = [_Source(point, settings, values, seed) for seed in range(count)]
    family = Family(settings, point.shards)
    contents = [Contents() for _ in range(point.shards)]
    evaluator = Evaluator(settings)
    kpis = frozenset(k.id for k in KPIS.values() if k.topic == point.family)
    wanted = {w.label: Wanted(kpis) for w in settings.windows}
    now = _START + 30 * MINUTE
    for i in range(_BEFORE):
        for source in sources:
            source.feed(now - (_BEFORE - i) * SECOND // 2)
    gc.collect()
    gc.freeze()
    take = evaluate = size = records = cells = 0.0
    samples = 0
    for second in range(_WARM_SECONDS + _SECONDS):
        now += SECOND
        if second == _WARM_SECONDS:
            take = evaluate = size = records = cells = 0.0
            for source in sources:
                source.told = 0.0
        for source in sources:
            source.feed(now)
        shares = [source.tell(now) for source in sources]
        logs = [renumbered(shares[n % count], n, own) for n, own in enumerate(contents)]
        size += sum(len(k) + len(v or b"") for share in shares for k, v in share) / count
        records += sum(len(share) for share in shares) / count
        cells += sum(source.pane_cells(now) for source in sources) / count
        began = time.process_time()
        for log in logs:
            for key, value in log:
                family.take(key, value)
        between = time.process_time()
        samples = len(evaluator.evaluate(family.shares(now), now, wanted).samples)
        take += between - began
        evaluate += time.process_time() - between
    if family.missing(now) is not None or family.damaged:
        raise Failed(f"the family is no total: {family.missing(now)}")
    return Cost(
        family=point.family,
        shards=point.shards,
        segments=point.segments,
        records=records / _SECONDS,
        cells=cells / _SECONDS,
        bytes=size / _SECONDS,
        window_cells=sum(s.window_cells(now) for s in sources) / count,
        tell=sum(s.told for s in sources) / count / _SECONDS,
        take=take / _SECONDS,
        evaluate=evaluate / _SECONDS,
        samples=samples,
        peak_mib=peak_mib(),
    )


def _in_process(point: Point, answer: Connection) -> None:
    answer.send(measure(point))


def run(points: Sequence[Point] = POINTS) -> list[Cost]:
    """Measure each point in a process of its own, since memory is a part of it.

    Raises:
        Failed: a process has ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    found: list[Cost] = []
    for point in points:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_in_process, args=(point, theirs))
        process.start()
        theirs.close()
        try:
            found.append(ours.recv())
        except EOFError:
            raise Failed(f"{point} has failed; its words stand above") from None
        finally:
            process.join()
        tell(found[-1])
    return found


def tell(cost: Cost) -> None:
    """One line on the terminal."""
    print(
        f"  {cost.family:10s} {cost.shards:5,d} shards, {cost.segments:6,d} segments:"
        f" {cost.cells:9,.0f} cells and {cost.bytes:11,.0f} bytes a share; CPU s: tell"
        f" {cost.tell:.4f}, take {cost.take:.3f}, evaluate {cost.evaluate:.3f}"
        f" ({cost.samples:,} samples); {cost.peak_mib:,.0f} MiB",
        file=sys.stderr,
        flush=True,
    )


@dataclass(frozen=True, slots=True)
class Fit:
    """CPU of an owner by what it has to do: seconds for one of each."""

    #: To take in: a record, a cell of a share.
    record: float
    cell: float
    #: To evaluate: at all, a segment of a shard, a cell of a shard's window, a sample.
    once: float
    row: float
    window_cell: float
    sample: float

    def take(self, shards: float, records: float, cells: float) -> float:
        """CPU seconds to take in a share of each shard."""
        return shards * (self.record * records + self.cell * cells)

    def evaluate(self, shards: float, rows: float, window_cells: float, samples: float) -> float:
        """CPU seconds of an evaluation of all windows."""
        per_shard = self.row * rows + self.window_cell * window_cells
        return self.once + shards * per_shard + self.sample * samples


def fit(costs: Sequence[Cost]) -> Fit:
    """Least squares of the relative errors, for coefficients that are not negative."""
    take = _fitted([(c.take, (c.shards * c.records, c.shards * c.cells)) for c in costs])
    evaluate = _fitted(
        [
            (c.evaluate, (1, c.shards * c.segments, c.shards * c.window_cells, c.samples))
            for c in costs
        ]
    )
    return Fit(*take, *evaluate)


def _fitted(points: Sequence[tuple[float, tuple[float, ...]]]) -> list[float]:
    rows = np.array([[x / y for x in xs] for y, xs in points])
    used = list(range(rows.shape[1]))
    while used:
        found, *_ = np.linalg.lstsq(rows[:, used], np.ones(len(rows)), rcond=None)
        if (found >= 0).all():
            return [float(found[used.index(i)]) if i in used else 0.0 for i in range(rows.shape[1])]
        del used[int(np.argmin(found))]
    return [0.0] * rows.shape[1]


def density(count: int = _DENSITY_EVENTS) -> list[tuple[float, float]]:
    """Events of a segment in a pane, and how many cells of all families they take there.

    From generated events of all types over an hour, in the panes that are full.
    """
    settings = Settings()
    shard = Shard(settings, Values(settings))
    of_topic: dict[str, list[bytes]] = {}
    first = next(events.generated(1))[0]
    at = first
    for at, topic, _, value in events.generated(count):
        of_topic.setdefault(topic, []).append(value)
        if len(of_topic[topic]) == _CHUNK:
            shard.ingest(topic, of_topic.pop(topic), at)
    for topic, values in of_topic.items():
        shard.ingest(topic, values, at)
    shard.fold(at)
    rows = len(shard.segments.rows)
    found = []
    for window in settings.windows:
        cells = shard.windows.cells[window.label]
        full = [p for p in cells.slots() if first // window.pane_ms < p < at // window.pane_ms]
        if full:
            mean = sum(cells.between(p, p)[0].size for p in full) / len(full)
            each = count / events.SPAN / SECOND * window.pane_ms / rows
            found.append((each, mean / rows))
    return found


@click.command()
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default=FIGURES,
    help="Where to keep the figures. [default: bench/scaling.json]",
)
def main(to: Path) -> None:
    """Simulate all points and keep the figures; ``python -m bench.capacity --page`` writes them."""
    begun = stamp()
    found = {"costs": [asdict(c) for c in run()], "density": density()}
    Stored(to).save("merge", found, begun)


if __name__ == "__main__":
    main()
