"""A time line as Parquet; the only module that knows pyarrow, which is an optional extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from stream.core.series import Sample
from stream.replay.rows import NUMBERS, label_names, numbers_of

#: Rows of a row group: few enough to hold, enough to compress.
GROUP: Final = 1 << 16


def schema(dimensions: Sequence[str]) -> pa.Schema:
    """The columns: times in UTC, texts as dictionaries, numbers as float64."""
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            pa.field("at", pa.timestamp("ms", tz="UTC"), nullable=False),
            pa.field("kpi", text, nullable=False),
            pa.field("window", text, nullable=False),
            *(pa.field(f"label_{name}", text) for name in label_names(dimensions)),
            *(pa.field(name, pa.float64()) for name in NUMBERS),
        ]
    )


class Parquet:
    """Rows gathered into row groups; the file can be read once it is closed."""

    def __init__(self, file: BinaryIO, dimensions: Sequence[str]) -> None:
        self._schema = schema(dimensions)
        self._names = label_names(dimensions)
        self._rows: list[tuple[Any, ...]] = []
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, at: int, samples: Sequence[Sample]) -> None:
        """Add the series at a time."""
        for sample in samples:
            labels = dict(sample.labels)
            named = (labels.get(name) for name in self._names)
            self._rows.append((at, sample.kpi, sample.window, *named, *numbers_of(sample)))
        if len(self._rows) >= GROUP:
            self._flush()

    def close(self) -> None:
        """Write the last rows and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            columns = zip(*rows, strict=True)
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
