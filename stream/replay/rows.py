"""Rows of a time line as JSON lines, CSV or Parquet, written as they come."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol, get_args

import orjson

from stream.core.errors import StopError
from stream.core.series import Sample
from stream.core.timestamps import format_ms

Format = Literal["jsonl", "csv", "parquet"]

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
#: What a file's name ends with, and the format that it says.
SUFFIXES: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
#: The columns of numbers, in the order of a sample's.
NUMBERS: Final = ("value", "lower", "upper", "numerator", "denominator")
#: The versions of pyarrow that are known to do.
PYARROW: Final = ">=20,<30"


class ExtraMissing(StopError):
    """A format needs an optional library; the message says what brings it."""


class RowWriter(Protocol):
    """Writes rows in order of time; ``close`` ends the file, where it has an end."""

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time in ms."""

    def close(self) -> None:
        """Write what is still held back."""


def format_of(path: Path) -> Format | None:
    """The format that a file's name says; None where it says none."""
    return SUFFIXES.get(path.suffix.lower())


def label_names(dimensions: Sequence[str]) -> tuple[str, ...]:
    """The labels that a series can have beside the window: those of rollups, then KPIs' own."""
    return (*dimensions, "currency", "quantile")


def columns(dimensions: Sequence[str]) -> list[str]:
    """The columns of CSV and Parquet. A dimension may be called anything, so labels have a prefix:
    ``label_channel`` stands beside ``value``.
    """
    return [
        *("at", "kpi", "window"),
        *(f"label_{name}" for name in label_names(dimensions)),
        *NUMBERS,
    ]


def numbers_of(sample: Sample) -> tuple[float | None, ...]:
    """The numbers of a sample in the order of ``NUMBERS``."""
    return (sample.value, sample.lower, sample.upper, sample.numerator, sample.denominator)


class JsonLines:
    """A JSON object a row, as ``replay --json`` prints it, with the time in front."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time; a reader of a pipe has them at once."""
        time = format_ms(at)
        rows = (orjson.dumps({"at": time, **sample.row()}) for sample in samples)
        self._file.write(b"".join(row + b"\n" for row in rows))
        self._file.flush()

    def close(self) -> None:
        """Nothing is held back."""


class Csv:
    """Comma-separated values as RFC 4180 has them, with a heading; what is absent is empty."""

    def __init__(self, file: BinaryIO, dimensions: Sequence[str]) -> None:
        self._file = file
        self._names = label_names(dimensions)
        self._text = io.StringIO(newline="")
        self._csv = csv.writer(self._text)
        self._csv.writerow(columns(dimensions))
        self._flush()

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time."""
        time = format_ms(at)
        for sample in samples:
            labels = dict(sample.labels)
            named = (labels.get(name) for name in self._names)
            self._csv.writerow((time, sample.kpi, sample.window, *named, *numbers_of(sample)))
        self._flush()

    def close(self) -> None:
        """Nothing is held back."""

    def _flush(self) -> None:
        self._file.write(self._text.getvalue().encode())
        self._file.flush()
        self._text.seek(0)
        self._text.truncate()


def parquet(file: BinaryIO, dimensions: Sequence[str]) -> RowWriter:
    """Writes Parquet.

    Raises:
        ExtraMissing: the library is not installed.
    """
    try:
        from stream.replay.parquet import Parquet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise ExtraMissing(
            "Parquet needs pyarrow: `make setup` brings it; elsewhere"
            f" pip install 'pyarrow{PYARROW}'"
        ) from None
    return Parquet(file, dimensions)


def writer(kind: Format, file: BinaryIO, dimensions: Sequence[str]) -> RowWriter:
    """The writer of a format.

    Raises:
        ExtraMissing: it needs a library that is not installed.
    """
    if kind == "parquet":
        return parquet(file, dimensions)
    return JsonLines(file) if kind == "jsonl" else Csv(file, dimensions)
