"""Where ``cxkpi replay`` writes a time line: rows and OpenMetrics text, to files or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click

from stream.cli.failure import CommandFailed
from stream.cli.written import opened_for_writing, replacing
from stream.core.series import Evaluation, Sample
from stream.replay.backfill import NoScratch, OpenMetrics
from stream.replay.rows import SUFFIXES, ExtraMissing, Format, RowWriter, format_of, writer
from stream.replay.timeline import has_data

STANDARD_OUTPUT: Final = "-"


@dataclass(frozen=True)
class LineOptions:
    """What the options ask for."""

    every_ms: int | None
    kind: Format | None
    output: str | None
    openmetrics: str | None

    @property
    def rows(self) -> bool:
        """Whether rows are to be written."""
        asked = self.kind is not None or self.output is not None
        return asked or (self.every_ms is not None and self.openmetrics is None)

    @property
    def are_wanted(self) -> bool:
        """Whether there is anything to write of it; else the series are printed as a table."""
        return self.rows or self.openmetrics is not None

    @property
    def prints_rows(self) -> bool:
        """Whether rows go to standard output."""
        return self.rows and self.output in (None, STANDARD_OUTPUT)

    def written(self) -> dict[str, Path | None]:
        """The files that are written, by option."""
        named = {"--output": self.output, "--openmetrics": self.openmetrics}
        return {
            option: None if name is None or name == STANDARD_OUTPUT else Path(name)
            for option, name in named.items()
        }

    def format(self) -> Format:
        """The format of rows: as told, else as the file's name says.

        Raises:
            CommandFailed: neither says it, or the format can't go where it shall.
        """
        kind = self.kind
        if kind is None and not self.prints_rows:
            kind = format_of(Path(self.output or ""))
            if kind is None:
                endings = ", ".join(SUFFIXES)
                raise CommandFailed(
                    f"--output {self.output}: name the --format, or a file that ends in {endings}"
                )
        if kind == "parquet" and self.prints_rows:
            raise CommandFailed("--format parquet needs a file: --output FILE")
        return kind or "jsonl"

    def check(self, *, alerts: bool) -> None:
        """See that the options go together.

        Raises:
            CommandFailed: they do not.
        """
        if self.every_ms == 0:
            raise CommandFailed("--every: must be longer than 0")
        if alerts and self.are_wanted:
            raise CommandFailed("--alerts prints changes of alerts: leave out the time line")
        if self.openmetrics == STANDARD_OUTPUT and self.prints_rows:
            raise CommandFailed("--openmetrics -: rows go to standard output already; use --output")
        if self.rows:
            self.format()


class Lines:
    """Writes each point in time to all that want it, and counts."""

    def __init__(self, writers: Sequence[RowWriter], *, on_terminal: bool = False) -> None:
        self._writers = writers
        #: Whether rows appear on a terminal while the input is read.
        self.on_terminal = on_terminal
        self.points = 0
        self.rows = 0

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time in ms."""
        self.points += 1
        self.rows += len(samples)
        for each in self._writers:
            each.write(at, samples)

    def take(self, evaluation: Evaluation) -> None:
        """Add an evaluation's series that have contributions."""
        self.write(evaluation.at, [s for s in evaluation.samples if has_data(s)])


@contextmanager
def open_lines(options: LineOptions, dimensions: Sequence[str]) -> Iterator[Lines]:
    """Open what the options name; at the end, unless something was raised, it is complete.

    Rows of JSON and CSV can be read while they are written. A file of another kind appears when it
    is complete, so that nobody takes a part for the whole.

    Raises:
        CommandFailed: a library is missing, a file can't be written, or what has to be kept
            until the end can't be.
    """
    try:
        with _opened(options, dimensions) as lines:
            yield lines
    except NoScratch as error:
        raise CommandFailed(str(error)) from error


@contextmanager
def _opened(options: LineOptions, dimensions: Sequence[str]) -> Iterator[Lines]:
    with ExitStack() as stack:
        writers: list[RowWriter] = []
        if options.rows:
            kind = options.format()
            file = stack.enter_context(_open(options.output, at_once=kind != "parquet"))
            try:
                writers.append(writer(kind, file, dimensions))
            except ExtraMissing as error:
                raise CommandFailed(str(error)) from error
        if options.openmetrics is not None:
            file = stack.enter_context(_open(options.openmetrics, at_once=False))
            writers.append(OpenMetrics(file))
        yield Lines(writers, on_terminal=options.prints_rows and sys.stdout.isatty())
        for each in writers:
            each.close()


@contextmanager
def _open(name: str | None, *, at_once: bool) -> Iterator[BinaryIO]:
    if name is None or name == STANDARD_OUTPUT:
        yield click.get_binary_stream("stdout")
        return
    path = Path(name)
    with opened_for_writing(path) if at_once else replacing(path) as file:
        yield file
