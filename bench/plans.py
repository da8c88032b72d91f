"""How many partitions, workers and bytes a load needs, by formulas over what was measured.

docs/scaling.md tells the formulas in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np

from bench.core import SECOND, Settings
from bench.merge import Cost, Fit, fit

#: Bytes of an entity in memory and in the log: those of docs/memory.md.
ENTITY_BYTES: Final = {
    "ticket": (76, 13),
    "answer": (56, 10),
    "cart": (84, 11),
    "subscription": (56, 12),
    "signal": (69, 18),
    "id": (24, 9),
}
#: A process takes so much more than its arrays, at most.
RESERVE: Final = 1.5
#: Days for which tickets, answers and carts are held, and seconds for which ids are.
HELD_DAYS: Final = 14
ID_SECONDS: Final = 660
#: A cell of a pane: key and value.
CELL_BYTES: Final = 16
#: A core is planned to be so busy, and a shard's limit of what is remembered so full, at the most.
BUSY: Final = 0.6
FULL: Final = 0.7
#: An owner of a family should not need more of its core than this.
OWNER_BUSY: Final = 0.5
#: Bytes of memory that a worker may have in the sheet.
WORKER_BYTES: Final = 16e9
_PARTITIONS: Final = (4, 6, 12, 24, 48, 96, 192, 384, 1_000, 2_000, 4_000)
#: No segment has more cells in a pane: all counters, and the buckets of a minute to a month.
MOST_CELLS: Final = 600.0
#: Samples for each series of the heaviest family.
_SAMPLES: Final = 8


@dataclass(frozen=True, slots=True)
class Load:
    """What a company sends. Events per second are those of its busiest hour."""

    name: str
    events: float
    segments: int
    tickets_a_day: float
    answers_a_day: float
    carts_a_day: float
    subscriptions: float
    customers: float

    @property
    def live(self) -> dict[str, float]:
        """How many entities are held at a steady rate, by kind."""
        return {
            "ticket": self.tickets_a_day * HELD_DAYS,
            "answer": self.answers_a_day * HELD_DAYS,
            "cart": self.carts_a_day * HELD_DAYS,
            "subscription": self.subscriptions,
            "signal": self.customers,
            "id": self.events * ID_SECONDS,
        }


#: The sheet's companies.
LOADS: Final = (
    Load("shop", 100, 60, 20e3, 50e3, 200e3, 200e3, 300e3),
    Load("chain", 5_000, 200, 500e3, 1e6, 5e6, 5e6, 10e6),
    Load("platform", 100_000, 100, 5e6, 10e6, 50e6, 50e6, 100e6),
)
#: What is beyond: 100 workers, 1,000 partitions.
BEYOND: Final = Load("beyond", 30e6, 10_000, 500e6, 1e9, 5e9, 1e9, 2e9)
BEYOND_PARTITIONS: Final = 1_000
BEYOND_WORKERS: Final = 100


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured."""

    #: CPU seconds for an event, and cores of a group at full speed for what comes with time.
    event: float
    full_speed: float
    #: Cores of a shard and of the group's families while anything comes, and of a worker at rest.
    shard: float
    families: float
    rest: float
    #: Bytes of a worker that has worked off a million events at full speed.
    base: float
    #: Bytes of the state log: for each event at full speed and, of blocks that are written anew,
    #: for each event at a low rate and for each shard and second at most.
    state_event: float
    block_event: float
    block_shard: float
    #: Bytes of a share for each of its cells, and of all shares of a shard that has no news.
    share_cell: float
    share_shard: float
    #: Cells of a segment in a pane with n events of it: factor · n ^ power.
    cells_factor: float
    cells_power: float
    fit: Fit

    def cells(self, n: float) -> float:
        """Cells of a segment in a pane that holds n of its events."""
        return min(5 * n, self.cells_factor * n**self.cells_power, MOST_CELLS) if n else 0.0


def constants(figures: dict[str, Any]) -> Constants:
    """What follows from the figures."""
    held, merge = figures["held"], figures["merge"]
    rest = held["rates"][0]["cores"] / held["workers"]
    runs = figures["crews"]["runs"]
    alone = [r for r in runs if r["workers"] == 1]
    loaded = [r for r in held["rates"] if r["wanted"]]
    event, full_speed = full_speed_of(runs)
    state = median(r["state_bytes"] / r["events"] for r in runs)
    blocks = [r["state_per_second"] - state * r["rate"] for r in loaded]
    many, few = figures["shards"], loaded[0]
    shard = (many["rates"][0]["cores"] - few["cores"]) / (many["shards"] - held["shards"])
    awake = median(r["cores"] for r in loaded) - held["workers"] * rest
    families = max(0.0, awake - held["shards"] * shard)
    costs = [Cost(**c) for c in merge["costs"]]
    cell = median(c.bytes / c.cells for c in costs)
    n, cells = np.log(np.array(merge["density"])).T
    power, factor = np.polyfit(n, cells, 1).tolist()
    return Constants(
        event=event,
        full_speed=full_speed,
        shard=shard,
        families=families,
        rest=rest,
        base=max(max(r["peak_mib"]) for r in alone) * 1024**2,
        state_event=state,
        block_event=blocks[0] / loaded[0]["rate"],
        block_shard=max(blocks) / held["shards"],
        share_cell=cell,
        share_shard=held["rates"][0]["share_per_second"] / held["shards"],
        cells_factor=math.exp(factor),
        cells_power=power,
        fit=fit(costs),
    )


def full_speed_of(runs: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """CPU seconds for an event, and cores for what comes with time, over crews' runs.

    Least squares of the relative errors, the number of workers left out.
    """
    cpu = np.array([sum(r["cpu"]) for r in runs])
    what = np.array([[r["events"], r["seconds"]] for r in runs])
    (event, time), *_ = np.linalg.lstsq(what / cpu[:, None], np.ones(len(runs)), rcond=None)
    return float(event), float(time)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load needs; bytes and seconds."""

    load: Load
    partitions: int
    workers: int
    #: Cores for the events, and for shards and workers whatever comes.
    cores: float
    standing: float
    entity_bytes: float
    #: Of panes, in the shards and once more in the owners of the families.
    pane_bytes: float
    log_bytes: float
    state_per_second: float
    share_per_second: float
    #: Cores of the owner of the heaviest family.
    owner: float
    #: Of a worker, whatever it remembers.
    base_bytes: float

    @property
    def remembered(self) -> float:
        """``max_remembered``, which is for each shard and kind."""
        fullest = max(n for kind, n in self.load.live.items() if kind != "id")
        return fullest / self.partitions / FULL

    @property
    def memory(self) -> float:
        """Bytes of memory, all workers together."""
        return self.entity_bytes + self.pane_bytes + self.workers * self.base_bytes


def plan(load: Load, c: Constants, partitions: int | None = None, workers: int = 0) -> Plan:
    """What a load needs; with so many partitions and workers, where they are given."""
    entities = sum(n * ENTITY_BYTES[kind][0] for kind, n in load.live.items()) * RESERVE
    cores = load.events * c.event
    # Two shards a worker, at least, cost what they cost beside the events.
    crew = math.ceil(max(cores / (BUSY - 2 * c.shard - c.rest), entities / WORKER_BYTES))
    shards = partitions or _nice(2 * crew)
    windows = Settings().windows
    per_ms = load.events / shards / load.segments / SECOND
    told = sum(c.cells(per_ms * w.pane_ms) for w in windows) * load.segments
    kept = sum(c.cells(per_ms * w.pane_ms) * w.panes for w in windows) * load.segments
    summed = sum(c.cells(per_ms * w.size_ms) for w in windows) * load.segments
    panes = 2 * shards * kept * CELL_BYTES
    busy = (cores + shards * c.shard + c.families) / (BUSY - c.rest)
    needed = max(busy, (entities + panes) / WORKER_BYTES)
    log = sum(n * ENTITY_BYTES[kind][1] for kind, n in load.live.items())
    workers = workers or min(shards, math.ceil(needed) + 1)
    return Plan(
        load=load,
        partitions=shards,
        workers=workers,
        cores=cores,
        standing=shards * c.shard + c.families + workers * c.rest,
        entity_bytes=entities,
        pane_bytes=panes,
        log_bytes=log + shards * kept * c.share_cell,
        state_per_second=load.events * c.state_event
        + min(load.events * c.block_event, shards * c.block_shard),
        share_per_second=shards * (c.share_cell * told + c.share_shard),
        owner=owner(c, shards, load.segments, told, summed),
        base_bytes=c.base,
    )


def owner(c: Constants, shards: float, segments: float, told: float, summed: float) -> float:
    """Cores of a family's owner: shares with ``told`` cells, windows of ``summed`` cells."""
    series = (segments + 2 * math.sqrt(segments) + 1) * len(Settings().windows)
    take = c.fit.take(shards, len(Settings().windows) + 1, told)
    return take + c.fit.evaluate(shards, segments, summed, series * _SAMPLES)


def most_segments(c: Constants, shards: int, cells: float) -> int:
    """The most segments with which an owner stays within ``OWNER_BUSY``.

    ``cells``: those of a segment, in a pane as in a window.
    """
    low, high = 1, 1 << 20
    windows = len(Settings().windows)
    while high - low > 1:
        middle = (low + high) // 2
        busy = owner(c, shards, middle, middle * cells * windows, middle * cells * windows)
        low, high = (middle, high) if busy <= OWNER_BUSY else (low, middle)
    return low


def _nice(n: float) -> int:
    return next((p for p in _PARTITIONS if p >= n), math.ceil(n))
