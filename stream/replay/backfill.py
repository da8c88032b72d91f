"""A time line as OpenMetrics text, with which a Prometheus is filled with the past.

The text wants all of a metric family together, of it all of a series, and of that all points in
order of time. But points come time by time, so they lie in a temporary database meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from stream.core.catalogue import KPIS
from stream.core.errors import StopError
from stream.core.series import LabelPairs, Sample
from stream.metrics.families import KpiFamily, kpi_families
from stream.metrics.label_text import ESCAPES, label_text
from stream.replay.rows import NUMBERS, numbers_of

#: Memory of the database in KiB; what does not fit lies in a file that goes with it.
_CACHE_KIB: Final = 16_384
_QUANTILE: Final = "quantile"
_LINES_AT_ONCE: Final = 10_000
#: Where SQLite looks for a folder of its own, after the environment.
_FOLDERS: Final = ("/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108 - it chooses, we only say.


class NoScratch(StopError):
    """Points can't be kept meanwhile; the message names the folder and how to choose another."""


def scratch_folder() -> str:
    """Where SQLite keeps what does not fit into memory: the first folder that it may write to."""
    asked = (os.environ.get(name) for name in ("SQLITE_TMPDIR", "TMPDIR"))
    folders = [folder for folder in (*asked, *_FOLDERS) if folder]
    return next((f for f in folders if Path(f).is_dir() and os.access(f, os.W_OK | os.X_OK)), ".")


@contextmanager
def _keeping() -> Iterator[None]:
    """Say where the database lies that can't be written.

    Raises:
        NoScratch: it can't.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise NoScratch(
            f"{scratch_folder()}: {error}: points of --openmetrics lie there meanwhile;"
            " TMPDIR chooses another folder"
        ) from error


class OpenMetrics:
    """Takes points in order of time; ``close`` writes the text.

    Families have a worker's names, types and labels. What has no value has no point.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._families = kpi_families(KPIS)
        #: (window, labels without quantile) of each series.
        self._series: dict[tuple[str, LabelPairs], int] = {}
        # With no name SQLite keeps it in a file of its own that nobody else sees.
        self._points = sqlite3.connect("", isolation_level=None)
        with _keeping():
            self._create()

    def _create(self) -> None:
        for pragma in ("journal_mode=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
            self._points.execute(f"PRAGMA {pragma}")
        for sample in dict.fromkeys(family.sample for family in self._families):
            self._points.execute(
                f"CREATE TABLE {sample} (series INTEGER, at INTEGER, quantile TEXT,"
                f" {' REAL, '.join(NUMBERS)} REAL)"
            )

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time in ms.

        Raises:
            NoScratch: there is no room for it.
        """
        rows: dict[str, list[tuple[object, ...]]] = {}
        for sample in samples:
            quantile = next((v for name, v in sample.labels if name == _QUANTILE), None)
            labels = tuple(label for label in sample.labels if label[0] != _QUANTILE)
            series = self._series.setdefault((sample.window, labels), len(self._series))
            rows.setdefault(sample.kpi, []).append((series, at, quantile, *numbers_of(sample)))
        places = ", ".join("?" * (3 + len(NUMBERS)))
        with _keeping():
            self._points.execute("BEGIN")
            for kpi, points in rows.items():
                self._points.executemany(
                    f"INSERT INTO {kpi} VALUES ({places})",  # noqa: S608
                    points,
                )
            self._points.execute("COMMIT")

    def close(self) -> None:
        """Write the text, and forget the points.

        Raises:
            NoScratch: there is no room to sort them.
        """
        lines: list[str] = []
        with _keeping():
            for line in self._lines():
                lines.append(line)
                if len(lines) == _LINES_AT_ONCE:
                    self._file.write("".join(lines).encode())
                    lines = []
        self._file.write("".join(lines).encode())
        self._file.flush()
        self._points.close()

    def _lines(self) -> Iterator[str]:
        series = list(self._series)
        for family in self._families:
            points = self._points.execute(
                f"SELECT series, at, quantile, {family.part} FROM {family.sample}"  # noqa: S608
                f" WHERE {family.part} IS NOT NULL ORDER BY series, at, quantile"
            )
            head = _head(family)
            for number, at, quantile, value in points:
                window, labels = series[number]
                of_quantile = () if quantile is None else ((_QUANTILE, quantile),)
                text = label_text(window, (*labels, *of_quantile))
                yield f"{head}{family.name}{text} {value} {_time(at)}\n"
                head = ""
        yield "# EOF\n"


def _head(family: KpiFamily) -> str:
    text = family.help.translate(ESCAPES)
    return f"# TYPE {family.name} {family.kind}\n# HELP {family.name} {text}\n"


def _time(at: int) -> str:
    """Seconds since the epoch, to the millisecond."""
    return str(at / 1000) if at % 1000 else str(at // 1000)
