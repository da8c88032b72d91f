"""Published figures of industries to set a KPI beside: the file that ``benchmarks`` names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field, ValidationError

from stream.config.checks import Finding
from stream.config.errors import ConfigError, problem_in, shown
from stream.config.fields import Between, Number, OneLine, OneOf, ShortLine, Text, Whole
from stream.config.kpis import kpi_ids, kpis
from stream.config.model import Benchmark
from stream.config.refusals import refusals
from stream.config.table import Table
from stream.config.toml import read_toml
from stream.config.units import InUnit

#: Each is a series that every worker exposes.
MOST_BENCHMARKS: Final = 200


class BenchmarkEntry(Table):
    """A published figure of an industry."""

    kpi: Annotated[Text, OneOf(kpi_ids, "KPI")]
    """The KPI that the figure is one of, by the same definition."""
    industry: Annotated[Text, ShortLine]
    """Whose figure it is; the label `industry`."""
    value: Annotated[Number, InUnit()]
    """The figure in the unit of the KPI's gauge: 0.7 for a share of 70%."""
    source: OneLine
    """Who published it, in what, and where it can be read."""
    year: Annotated[Whole, Between(1950, 2200)]
    """The year that the figure is of, or else was published in."""


class BenchmarkFile(Table):
    """The file: an array of tables."""

    benchmarks: tuple[BenchmarkEntry, ...] = Field((), alias="benchmark")


def read_benchmarks(name: str) -> tuple[Benchmark, ...]:
    """The figures of a file.

    Raises:
        ConfigError: with every problem that was found, one line each, which names this file.
    """
    positions, document = read_toml(name)
    try:
        entries = BenchmarkFile.model_validate(document).benchmarks
        found = list(_findings(entries))
    except ValidationError as error:
        entries, found = (), refusals(error, BenchmarkFile)
    if found:
        raise ConfigError(
            problem_in(name, path, text, positions.line(path)) for path, text in found
        )
    return tuple(Benchmark(e.kpi, e.industry, e.value, e.source, e.year) for e in entries)


def _findings(entries: tuple[BenchmarkEntry, ...]) -> Iterator[Finding]:
    if len(entries) > MOST_BENCHMARKS:
        yield ("benchmark",), f"must have at most {MOST_BENCHMARKS} entries, not {len(entries)}"
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(entries):
        yield from _off_the_kpi(index, entry)
        if (entry.kpi, entry.industry) in seen:
            yield (
                ("benchmark", index, "industry"),
                f"there is another figure of {entry.kpi} for {shown(entry.industry)}",
            )
        seen.add((entry.kpi, entry.industry))


def _off_the_kpi(index: int, entry: BenchmarkEntry) -> Iterator[Finding]:
    """What the KPI's entry in the catalogue says against the figure."""
    kpi = kpis()[entry.kpi]
    if kpi.comparable == "never":
        allowed = ", ".join(k.id for k in kpis().values() if k.comparable != "never")
        reason = "is an amount or a count of one company, of which others say nothing"
        yield ("benchmark", index, "kpi"), f"{kpi.id} {reason}; allowed: {allowed}"
        return
    low = float("-inf") if kpi.lowest is None else kpi.lowest
    high = float("inf") if kpi.highest is None else kpi.highest
    if not low <= entry.value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"{low:g} to {high:g}"
        allowed = f"at most {high:g}" if low == float("-inf") else allowed
        share = "; a share of 70% is 0.7" if kpi.unit == "ratio" else ""
        given = shown(entry.value).removesuffix(".0")
        text = f"must be {allowed}, as {kpi.gauge} is, not {given}{share}"
        yield ("benchmark", index, "value"), text
