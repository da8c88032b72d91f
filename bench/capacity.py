"""``python -m bench.capacity``: how many partitions, workers and bytes a load needs.

By the formulas of ``bench.plans`` over the figures that ``bench.scaling`` and ``bench.merge`` have
kept; ``--page`` writes the tables of docs/scaling.md anew from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from bench.goals import spread
from bench.merge import FIGURES, Cost, Fit
from bench.plans import (
    BEYOND,
    BEYOND_PARTITIONS,
    BEYOND_WORKERS,
    CELL_BYTES,
    ENTITY_BYTES,
    LOADS,
    MOST_CELLS,
    Constants,
    Load,
    Plan,
    constants,
    most_segments,
    plan,
)

PAGE: Final = Path(__file__).parent.parent / "docs" / "scaling.md"


def blocks(figures: dict[str, Any]) -> dict[str, str]:
    """The page's tables by name."""
    c = constants(figures)
    return {
        "stamp": _stamps({name: part["stamp"] for name, part in figures.items()}),
        "workers": _workers(figures["crews"], c),
        "rates": _rates((figures["held"], figures["shards"]), c),
        "changes": _changes(figures["held"]["changes"]),
        "merge": _merge([Cost(**x) for x in figures["merge"]["costs"]], c.fit),
        "constants": _constants(c),
        "owners": _owners(c),
        "sheet": sheet([plan(load, c) for load in LOADS]),
        "beyond": sheet([plan(BEYOND, c, BEYOND_PARTITIONS, BEYOND_WORKERS)]),
    }


def filled(page: str, found: dict[str, str]) -> str:
    """The page with its tables between ``<!-- NAME -->`` and ``<!-- end -->`` put in anew."""
    for name, text in found.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        places = list(re.finditer(pattern, page, re.DOTALL))
        if len(places) != 1:
            raise ValueError(f"the page has {len(places)} places for {name}")
        (place,) = places
        page = f"{page[: place.end(1)]}\n{text}\n\n{page[place.start(2) :]}"
    return page


def _stamps(stamps: dict[str, Any]) -> str:
    machines = sorted({s["machine"] for s in stamps.values()})
    begun = [
        f"{name} begun {s['date']} with code {s['commit']}, load {s['load']:.1f} before"
        for name, s in sorted(stamps.items())
    ]
    return f"{' '.join(machines)}. Measurements: {'; '.join(begun)}."


def _workers(crews: dict[str, Any], c: Constants) -> str:
    rows = [
        (
            "workers", "CPU s per million, all workers", "the formula", "the busiest worker's",
            "one worker's ÷ the busiest's", "the formula", "peak MiB of one",
        )
    ]  # fmt: skip
    runs = crews["runs"]
    alone = [sum(r["cpu"]) for r in runs if r["workers"] == 1]
    for workers in sorted({r["workers"] for r in runs}):
        of = [r for r in runs if r["workers"] == workers]
        predicted = [c.event + c.full_speed * r["seconds"] / r["events"] for r in of]
        rows.append(
            (
                str(workers),
                spread([sum(r["cpu"]) / r["events"] * 1e6 for r in of], ".2f"),
                spread([p * 1e6 for p in predicted], ".2f"),
                spread([max(r["cpu"]) / r["events"] * 1e6 for r in of], ".2f"),
                spread([one / max(r["cpu"]) for one, r in zip(alone, of, strict=True)], ".2f"),
                f"{(workers - c.full_speed) / (1 - c.full_speed):.2f}",
                spread([max(r["peak_mib"]) for r in of], ",.0f"),
            )
        )
    return _table(rows)


def _rates(parts: Sequence[dict[str, Any]], c: Constants) -> str:
    rows = [
        (
            "shards", "events/s", "cores, both workers", "the formula", "state, kB/s",
            "shares, kB/s", "shares, bytes per event",
        )
    ]  # fmt: skip
    for part in parts:
        for r in part["rates"]:
            formula = part["workers"] * c.rest
            if r["rate"]:
                formula += part["shards"] * c.shard + c.families + c.event * r["rate"]
            rows.append(
                (
                    str(part["shards"]),
                    f"{r['rate']:,.0f}",
                    f"{r['cores']:.2f}",
                    f"{formula:.2f}",
                    f"{r['state_per_second'] / 1e3:,.0f}",
                    f"{r['share_per_second'] / 1e3:,.0f}",
                    f"{r['share_per_second'] / r['rate']:,.0f}" if r["rate"] else "",
                )
            )
    return _table(rows)


def _changes(changes: Iterable[dict[str, Any]]) -> str:
    rows = [("change", "longest that a family's series were absent, s", "all shown again after, s")]
    rows += [(x["what"], f"{x['absent']:.1f}", f"{x['over']:.1f}") for x in changes]
    return _table(rows)


def _merge(costs: Iterable[Cost], fitted: Fit) -> str:
    rows = [
        (
            "family", "shards", "segments", "cells a share", "kB a share", "ms to tell it",
            "s to take in all", "s to evaluate", "the formula, s", "MiB",
        )
    ]  # fmt: skip
    for x in costs:
        formula = fitted.take(x.shards, x.records, x.cells)
        formula += fitted.evaluate(x.shards, x.segments, x.window_cells, x.samples)
        rows.append(
            (
                f"`{x.family}`", f"{x.shards:,}", f"{x.segments:,}", f"{x.cells:,.0f}",
                f"{x.bytes / 1e3:,.0f}", f"{x.tell * 1e3:,.1f}", f"{x.take:.3f}",
                f"{x.evaluate:.3f}", f"{formula:.3f}", f"{x.peak_mib:,.0f}",
            )
        )  # fmt: skip
    return _table(rows)


def _constants(c: Constants) -> str:
    rows = [
        ("constant", "value"),
        ("CPU of an event, *e*", f"{c.event * 1e6:.2f} µs"),
        ("CPU of a group at full speed for what comes with time, *k*", f"{c.full_speed:.3f} cores"),
        ("CPU of a shard as long as anything comes, *a*", f"{c.shard:.3f} cores"),
        ("CPU of the families, likewise, *g*", f"{c.families:.3f} cores"),
        ("CPU of a worker at rest, *r*", f"{c.rest:.3f} cores"),
        ("state log: an event", f"{c.state_event:,.0f} bytes"),
        ("state log: blocks written anew, for an event", f"{c.block_event:,.0f} bytes"),
        ("the same, of a shard at most", f"{c.block_shard / 1e3:,.0f} kB/s"),
        ("share: a cell", f"{c.share_cell:.1f} bytes"),
        ("shares of a shard without news", f"{c.share_shard / 1e3:,.1f} kB/s"),
        (
            "cells of a segment in a pane with *n* of its events, *c(n)*",
            f"{c.cells_factor:.1f} · n^{c.cells_power:.2f}, 5 n at most, {MOST_CELLS:.0f} at most",
        ),
        ("a cell in memory", f"{CELL_BYTES} bytes"),
        ("owner: a record of a share", f"{c.fit.record * 1e6:.1f} µs"),
        ("owner: a cell of a share", f"{c.fit.cell * 1e9:.1f} ns"),
        ("owner: an evaluation", f"{c.fit.once * 1e3:.1f} ms"),
        ("owner: a segment of a shard", f"{c.fit.row * 1e9:.0f} ns an evaluation"),
        ("owner: a cell of a shard's window", f"{c.fit.window_cell * 1e9:.0f} ns an evaluation"),
        ("owner: a sample", f"{c.fit.sample * 1e9:,.0f} ns an evaluation"),
        ("a worker's memory beside entities and panes, *b*", f"{c.base / 1e6:,.0f} MB"),
    ]
    rows += [
        (f"one {kind}, in memory / in the log", f"{a} / {b} bytes")
        for kind, (a, b) in ENTITY_BYTES.items()
    ]
    return _table(rows)


def _owners(c: Constants) -> str:
    kinds = ((4.0, "few events: 4 cells"), (22.0, "22 cells"), (150.0, "busy: 150 cells"))
    rows = [("partitions", *(text for _, text in kinds))]
    rows += [
        (f"{shards:,}", *(f"{most_segments(c, shards, cells):,}" for cells, _ in kinds))
        for shards in (4, 24, 96, 1_000)
    ]
    return _table(rows)


def sheet(plans: Sequence[Plan]) -> str:
    """A column for each plan."""
    rows: list[tuple[str, ...]] = [("", *(p.load.name for p in plans))]

    def add(title: str, *cells: str) -> None:
        rows.append((title, *cells))

    add("events/s in the busiest hour", *(f"{p.load.events:,.0f}" for p in plans))
    add("segments", *(f"{p.load.segments:,}" for p in plans))
    for kind, title in (
        ("ticket", "tickets held"),
        ("answer", "answers held"),
        ("cart", "carts held"),
        ("subscription", "subscriptions"),
        ("signal", "customers with a signal"),
        ("id", "ids of events"),
    ):
        add(title, *(_short(p.load.live[kind]) for p in plans))
    add("cores for the events", *(f"{p.cores:,.2f}" for p in plans))
    add("cores for shards and workers, whatever comes", *(f"{p.standing:,.2f}" for p in plans))
    add("**partitions**", *(f"**{p.partitions:,}**" for p in plans))
    add("**workers**", *(f"**{p.workers:,}**" for p in plans))
    add("memory of entities", *(_short(p.entity_bytes) + "B" for p in plans))
    add("memory of panes", *(_short(p.pane_bytes) + "B" for p in plans))
    add("**memory of all workers**", *(f"**{_short(p.memory)}B**" for p in plans))
    add("memory of a worker", *(_short(p.memory / p.workers) + "B" for p in plans))
    add("**state log, compacted**", *(f"**{_short(p.log_bytes)}B**" for p in plans))
    add("state log, written per second", *(_short(p.state_per_second) + "B" for p in plans))
    add("shares, written per second", *(_short(p.share_per_second) + "B" for p in plans))
    add("`max_remembered` at least", *(_short(p.remembered) for p in plans))
    add("the merge of the heaviest family each second, CPU s", *(f"{p.owner:,.2f}" for p in plans))
    return _table(rows)


def _short(n: float) -> str:
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if n >= limit:
            return f"{n / limit:,.3g}{unit}" if n < 1e15 else f"{n / limit:,.0f}{unit}"
    return f"{n:,.0f} "


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.strip() for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


@click.command()
@click.option("--page", is_flag=True, help="Write the tables of docs/scaling.md anew.")
@click.option("--events-per-second", "events", type=float, help="In the busiest hour.")
@click.option("--segments", type=click.IntRange(1), default=60, show_default=True)
@click.option("--tickets-a-day", type=float, default=0.0)
@click.option("--answers-a-day", type=float, default=0.0)
@click.option("--carts-a-day", type=float, default=0.0)
@click.option("--subscriptions", type=float, default=0.0)
@click.option("--customers", type=float, default=0.0)
def main(page: bool, events: float | None, segments: int, **kinds: float) -> None:
    """What a load needs, by the figures that were kept."""
    figures = json.loads(FIGURES.read_text())
    if page:
        PAGE.write_text(filled(PAGE.read_text(), blocks(figures)))
    if events is not None:
        print(sheet([plan(Load("", events, segments, **kinds), constants(figures))]))
    elif not page:
        raise click.UsageError("name --events-per-second, or --page")


if __name__ == "__main__":
    main()
