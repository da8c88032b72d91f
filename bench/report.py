"""What was measured, as tables: on the terminal and in ``results.md``."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.events import Written
from bench.measured import Measurement, Subject
from bench.site import PARTITIONS
from stream.broker import jars

#: By subject, in the order of the rounds.
Results = Mapping[str, Sequence[Measurement]]

_COLUMNS: Final[tuple[tuple[str, Callable[[Measurement], float], str], ...]] = (
    ("CPU s per million events", lambda m: m.cpu_per_million, ".2f"),
    ("events/s", lambda m: m.rate, ",.0f"),
    ("peak memory, MiB", lambda m: m.peak_mib, ",.0f"),
)


def markdown(subjects: Sequence[Subject], results: Results, written: Written, load: float) -> str:
    """Everything, as a page."""
    parts = [
        "# What an event costs",
        (
            f"Written by `python -m bench`; figures are min / median / max of {_rounds(results)}"
            " rounds, in each of which all subjects ran one after the other on the same events."
            " Compare within the table only: absolute figures are those of one machine on one day."
        ),
        _machine(load),
        _events(written),
        *(f"- **{s.name}**: {s.text}" for s in subjects),
        _table(subjects, results),
        "## CPU per event, as ratios",
        "The row's cost over the column's, paired round by round.",
        _ratios([s.name for s in subjects], results),
    ]
    text = "\n\n".join(parts) + "\n"
    return text.replace("\n\n- **", "\n- **").replace(":\n- **", ":\n\n- **", 1)


def _rounds(results: Results) -> int:
    return min(len(runs) for runs in results.values())


def _machine(load: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"Machine: {os.cpu_count()} cores ({platform.machine()}, {_processor()}),"
        f" {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]};"
        f" load {load:.1f} before the start. Python"
        f" {platform.python_version()}, Apache Kafka {jars.KAFKA_VERSION} with {PARTITIONS}"
        f" partitions a topic on the same machine, aiokafka {version('aiokafka')},"
        f" faust-streaming {version('faust-streaming')}, msgspec {version('msgspec')}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def _events(written: Written) -> str:
    topics = ", ".join(f"{name} {n / written.events:.0%}" for name, n in written.topics.items())
    return (
        f"Events: {written.events:,} of all types, {written.mean_bytes:.0f} bytes in the mean,"
        f" over {written.minutes:.0f} minutes of event time ({topics}). The subjects:"
    )


def _spread(numbers: Sequence[float], form: str) -> str:
    middle = statistics.median(numbers)
    return " / ".join(format(x, form) for x in (min(numbers), middle, max(numbers)))


def _table(subjects: Sequence[Subject], results: Results) -> str:
    rows = [["", "events", *(title for title, _, _ in _COLUMNS)]]
    for subject in subjects:
        runs = results[subject.name]
        figures = [_spread([read(m) for m in runs], form) for _, read, form in _COLUMNS]
        rows.append([subject.name, f"{runs[0].events:,}", *figures])
    return _rows(rows)


def _ratios(names: Sequence[str], results: Results) -> str:
    rows = [["", *names]]
    for name in names:
        row = [name]
        for other in names:
            pairs = zip(results[name], results[other], strict=True)
            ratios = [a.cpu_per_million / b.cpu_per_million for a, b in pairs]
            row.append("" if name == other else _spread(ratios, ".3g"))
        rows.append(row)
    return _rows(rows)


def _rows(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def tell(subject: Subject, measured: Measurement) -> None:
    """One line on the terminal as soon as it is known."""
    print(
        f"  {subject.name:<16} {measured.cpu_per_million:9.2f} CPU s/million"
        f" {measured.rate:12,.0f} events/s {measured.peak_mib:8,.0f} MiB",
        file=sys.stderr,
    )
