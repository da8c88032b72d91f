"""What was measured, as a page, and as lines on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bench import goals, plots
from bench.goals import Goal, Results, paired, spread
from bench.measured import Measurement, Subject
from bench.site import PARTITIONS

Part = Mapping[str, Any]
Parts = Mapping[str, Part]

_COLUMNS: Final[tuple[tuple[str, Callable[[Measurement], float], str], ...]] = (
    ("CPU s per million events", lambda m: m.cpu_per_million, ".2f"),
    ("events/s", lambda m: m.rate, ",.0f"),
    ("peak memory, MiB", lambda m: m.peak_mib, ",.0f"),
)
#: The column that each table's ratios are about.
_OURS: Final = {"everything on": "worker", "like for like": "worker-nps"}


def page(parts: Parts) -> str:
    """Everything that was measured so far."""
    makers: dict[str, Callable[[Part], list[str]]] = {
        "rounds": _rounds,
        "curves": _curves,
        "latency": _latency,
        "endurance": _endurance,
    }
    found = [
        "# What an event costs",
        (
            "Written by `make bench`; `bench/README.md` says how each figure comes about. Where a"
            " cell holds several numbers they are min / median / max of the rounds. Compare"
            " within a table only: absolute figures are those of one machine on one day."
        ),
        *_machines(parts),
        "## Goals",
        (
            "Ratios are those of CPU per event, paired by round, and judged by the median. CPU is"
            " user and system time of the subject's process alone, with all its threads. Cold"
            " means with the JVM's start and the JIT's warming up, warm without."
        ),
        _goals(parts),
    ]
    for name, make in makers.items():
        if name in parts:
            found += make(parts[name])
    return "\n\n".join(found) + "\n"


def _goals(parts: Parts) -> str:
    found: list[Goal] = []
    if "rounds" in parts:
        found += goals.of_rounds(results_of(parts["rounds"]))
    if "curves" in parts:
        found += goals.of_curves(_costs(parts["curves"]))
    if "latency" in parts:
        p99 = [parts["latency"]["p99"]]
        text = "event to scraped gauge at half load, p99"
        found.append(Goal(text, "at most", 2000, p99, ",.0f", " ms"))
    if "endurance" in parts:
        found += goals.of_endurance(parts["endurance"])
    rows = [["goal", "wanted", "measured", ""]]
    rows += [[g.text, g.wanted, g.measured, g.verdict] for g in found]
    return _rows(rows)


def results_of(part: Part) -> dict[str, list[Measurement]]:
    """The measurements of each subject."""
    return {s["name"]: [Measurement(**run) for run in s["runs"]] for s in part["subjects"]}


def _machines(parts: Parts) -> list[str]:
    """The machine, once where all parts were measured on one."""
    machines = {part["stamp"]["machine"] for part in parts.values()}
    return [f"Machine: {machine}." for machine in sorted(machines)]


def _stamp(part: Part) -> str:
    stamp = part["stamp"]
    return f"Begun {stamp['date']} with code {stamp['commit']}, load {stamp['load']:.1f} before."


def _rounds(part: Part) -> list[str]:
    results = results_of(part)
    found: list[str] = []
    for table, ours in _OURS.items():
        subjects = [s for s in part["subjects"] if s["table"] == table]
        if not subjects:
            continue
        found += [f"## {table.capitalize()}", _records(table, part), _subjects(subjects)]
        names = [s["name"] for s in subjects]
        found += [_table(names, results, ours), *_failures(subjects)]
    return [*found, _stamp(part)]


def _records(table: str, part: Part) -> str:
    if table == "everything on":
        w = part["written"]
        topics = ", ".join(f"{name} {n / w['events']:.0%}" for name, n in w["topics"].items())
        return (
            f"{w['events']:,} events of all types in six topics of {PARTITIONS} partitions,"
            f" {w['mean_bytes']:.0f} bytes in the mean, over {w['minutes']:.0f} minutes of event"
            f" time ({topics}); {w['changes'] / w['events']:.1%} of them change an answer or reopen"
            f" a ticket, {w['duplicates'] / w['events']:.2%} are repeats."
        )
    a = part["answers"]
    return (
        "All subjects do one job on the same records: rolling NPS of 20 segments (channel ×"
        f" region) over two hours in panes of 30 s, from {a['count']:,} answers to NPS surveys in"
        f" one topic of {PARTITIONS} partitions, {a['mean_bytes']:.0f} bytes in the mean, over"
        " half an hour of event time. There is nothing else in the topic, so nobody pays for"
        " reading what he has no use for. The records are keyed by response, so each segment is"
        " in all partitions. Every run's counts by segment and pane (the worker's: its gauges by"
        " segment) were equal to the truth, or it would not be here. The slow subjects read the"
        " first part of the records, as the second column says. Peers neither validate nor look"
        " for repeats nor remember answers, and run at least once or without any guarantee, where"
        " the worker's transactions are exact."
    )


def _subjects(subjects: Sequence[Part]) -> str:
    return "\n".join(f"- **{s['name']}**: {s['text']}" for s in subjects)


def _failures(subjects: Sequence[Part]) -> list[str]:
    failed = [s for s in subjects if s["failed"]]
    lines = [f"- **{s['name']}** was not measured: {s['failed'].splitlines()[0]}" for s in failed]
    return ["\n".join(lines)] if lines else []


def _table(names: Sequence[str], results: Results, ours: str) -> str:
    rows = [["", "events", *(title for title, _, _ in _COLUMNS), f"CPU ÷ {ours}"]]
    for name in names:
        runs = results[name]
        if not runs:
            continue
        figures = [spread([read(m) for m in runs], form) for _, read, form in _COLUMNS]
        ratios = paired(results, name, ours)
        ratio = spread(ratios, ".3g") if ratios and name != ours else ""
        rows.append([name, f"{runs[0].events:,}", *figures, ratio])
    return _rows(rows)


def _costs(part: Part) -> dict[str, list[tuple[str, list[float]]]]:
    return {
        title: [(label, [run["micros"] for run in runs]) for label, runs in points]
        for title, points in part["curves"].items()
    }


def _curves(part: Part) -> list[str]:
    found = [
        "## Curves",
        (
            "µs of CPU per event in the core alone (decoding to state log in memory, flushed"
            f" every 20,000 events): {part['events']:,} events of all types, half of them to"
            " warm up. The other figure is what evaluating all series once takes; a worker does"
            " that each second or two, whatever the rate of events. The longer the span of event"
            " time, the sparser the events: over days nearly each is alone in its pane and segment,"
            " so there is nothing to sum up between two flushes, while entities and panes expire."
        ),
        "![CPU per event](curves.svg)",
    ]
    for title, points in part["curves"].items():
        rows = [[title, "CPU µs per event", "ms per evaluation", "samples"]]
        for label, runs in points:
            costs = spread([r["micros"] for r in runs], ".2f")
            evaluation = spread([r["evaluation_ms"] for r in runs], ",.1f")
            rows.append([label, costs, evaluation, f"{runs[0]['samples']:,}"])
        found.append(_rows(rows))
    return [*found, _stamp(part)]


def plot(parts: Parts) -> str | None:
    """The curves as SVG; None where they were not measured."""
    return plots.curves(_costs(parts["curves"])) if "curves" in parts else None


def _latency(part: Part) -> list[str]:
    rows = [["", "ms"]]
    names = {"p50": "p50", "p95": "p95", "p99": "p99", "longest": "longest"}
    rows += [[name, f"{part[key]:,.0f}"] for key, name in names.items()]
    return [
        "## Event to scraped gauge",
        (
            "From just before a probe is sent until a scrape shows it in `cx_nps_denominator`:"
            f" {part['probes']:,} probes in {part['seconds']:.0f} s, one each 100 ms to each"
            f" partition, beside {part['rate']:,.0f} events of all types per second"
            f" ({part['wanted']:,.0f} were asked for, half of what the worker does at full load)."
            f" The page ({part['page_kib']:,.0f} KiB) is scraped every 100 ms, or as fast as it"
            f" comes: {part['scrapes']:,} scrapes took {part['scrape']:,.0f} ms in the mean."
            f" Broker, load and scrapes share the machine; the worker used {part['cores']:.2f}"
            f" cores, {part['cpu_per_million']:.2f} CPU s per million events, scrapes included."
        ),
        _rows(rows),
        _stamp(part),
    ]


def _endurance(part: Part) -> list[str]:
    kinds = list(part["rows"][-1]["remembered"])
    rows = [
        [
            "events",
            "days",
            "resident, MiB",
            "log, MiB",
            "log records",
            "tombstones",
            "CPU s/million to take in",
            "to flush",
            *kinds,
        ]
    ]
    rows += [
        [
            f"{row['events']:,}",
            f"{row['days']:,.1f}",
            f"{row['rss_mib']:,.0f}",
            f"{row['log_mib']:,.1f}",
            f"{row['log_records']:,}",
            f"{row['tombstones']:,}",
            f"{row['ingest_cpu']:.2f}",
            f"{row['flush_cpu']:.2f}",
            *(f"{row['remembered'][kind]:,}" for kind in kinds),
        ]
        for row in part["rows"]
    ]
    r = part["recovery"]
    return [
        "## Memory and recovery",
        (
            "One shard's core with its state log in memory, compacted (its bytes are part of the"
            " resident memory here; in a worker they are Kafka's). Event time passes so fast that"
            " 100,000 entities of each type fall into the seven days for which they must be"
            " remembered, and all expire again and again: a cancelled subscription, a cart, an"
            " answer, a ticket or a signal some time later than seven days"
            " after its last event. Labels come and go too. A flush comes after every 8,000 events,"
            " which are 1.7 hours here, so each has far more to expire than in a worker."
        ),
        _rows(rows),
        (
            f"Recovery of {r['entities']:,} entities in {r['segments']:,} segments from a log of"
            f" {r['log_mib']:,.1f} MiB: {r['seconds']:.1f} s by the clock, {r['cpu']:.1f} s of CPU,"
            " without reading it from Kafka."
        ),
        _stamp(part),
    ]


def _rows(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def tell(subject: Subject, measured: Measurement) -> None:
    """One line on the terminal as soon as it is known."""
    print(
        f"  {subject.name:<24} {measured.cpu_per_million:9.2f} CPU s/million"
        f" {measured.rate:12,.0f} events/s {measured.peak_mib:8,.0f} MiB",
        file=sys.stderr,
    )
