"""Every format of a time line holds the same rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.series import Sample
from stream.core.timestamps import format_ms
from stream.replay import parquet as parquet_module
from stream.replay import rows
from stream.replay.rows import FORMATS, NUMBERS, ExtraMissing, Format, columns, writer

DIMENSIONS = ("channel", "value")
NOON = 1_772_452_800_000
HOSTILE = 'a"b\n,=1\\é\u202e'

Row = dict[str, Any]

samples = st.builds(
    Sample,
    st.sampled_from(["nps", "upsell", "art_quantile"]),
    st.sampled_from(["5m", "7d"]),
    st.dictionaries(
        st.sampled_from([*DIMENSIONS, "currency", "quantile"]),
        st.sampled_from(["web", "other", HOSTILE]) | st.text(min_size=1, max_size=5).filter(
            lambda text: text.isprintable()
        ),
    ).map(lambda labels: tuple(sorted(labels.items()))),
    *[st.none() | st.floats(allow_nan=False, allow_infinity=False)] * 5,
)  # fmt: skip
points = st.lists(st.tuples(st.integers(0, 10**9), st.lists(samples, max_size=4)), max_size=5)


def written(kind: Format, line: list[tuple[int, list[Sample]]]) -> bytes:
    file = io.BytesIO()
    target = writer(kind, file, DIMENSIONS)
    for at, found in line:
        target.write(NOON + at, found)
    target.close()
    return file.getvalue()


def read(kind: Format, data: bytes) -> list[Row]:
    """Rows as a table has them, whatever they were written as."""
    names = columns(DIMENSIONS)
    if kind == "jsonl":
        parsed = [json.loads(line) for line in data.splitlines()]
        return [
            {
                name: row["labels"].get(name.removeprefix("label_"))
                if name.startswith("label_")
                else row[name]
                for name in names
            }
            for row in parsed
        ]
    if kind == "csv":
        table = csv.DictReader(io.StringIO(data.decode(), newline=""))
        return [
            {k: (float(v) if k in NUMBERS else v) if v else None for k, v in row.items()}
            for row in table
        ]
    found: list[Row] = pq.read_table(io.BytesIO(data)).to_pylist()
    for row in found:
        assert row["at"].tzinfo is not None
        row["at"] = format_ms(round(row["at"].timestamp() * 1000))
    return found


@settings(max_examples=50, deadline=None)
@given(points)
def test_all_formats_hold_the_same_rows(line: list[tuple[int, list[Sample]]]) -> None:
    expected = read("jsonl", written("jsonl", line))
    assert len(expected) == sum(len(found) for _, found in line)
    for kind in FORMATS:
        assert read(kind, written(kind, line)) == expected


def test_a_row_is_that_of_the_json_of_replay_with_the_time_in_front() -> None:
    sample = Sample("nps", "1h", (("channel", HOSTILE),), 62.0, 60.5, None, 31.0, 50.0)
    (row,) = written("jsonl", [(0, [sample])]).splitlines()
    assert json.loads(row) == {"at": "2026-03-02T12:00:00.000Z", **sample.row()}
    assert next(iter(json.loads(row))) == "at"


def test_a_dimension_may_be_called_like_a_column() -> None:
    assert columns(DIMENSIONS) == [
        *("at", "kpi", "window", "label_channel", "label_value", "label_currency"),
        *("label_quantile", "value", "lower", "upper", "numerator", "denominator"),
    ]
    sample = Sample("nps", "1h", (("value", "7"),), 62.0)
    for kind in FORMATS:
        (row,) = read(kind, written(kind, [(0, [sample])]))
        assert (row["label_value"], row["value"]) == ("7", 62.0)


def test_parquet_is_written_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "GROUP", 10)
    sample = Sample("nps", "1h", (), 1.0)
    data = written("parquet", [(at, [sample] * 4) for at in range(10)])
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == 4


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_reader_has_the_rows_of_a_point_before_the_next(kind: Format, tmp_path: Path) -> None:
    sample = Sample("nps", "1h", (), 1.0)
    path = tmp_path / "rows"
    with path.open("wb") as file:
        target = writer(kind, file, DIMENSIONS)
        assert kind == "jsonl" or path.read_bytes().startswith(b"at,")
        for number in range(3):
            target.write(NOON + number, [sample] * number)
            times = [row["at"][-5:] for row in read(kind, path.read_bytes())]
            assert times == [".001Z", ".002Z", ".002Z"][: number * (number + 1) // 2]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_time_line_without_rows_can_be_read(kind: Format) -> None:
    assert read(kind, written(kind, [])) == []


def test_without_its_library_parquet_names_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stream.replay.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraMissing, match=r"make setup.* pip install 'pyarrow>=20,<30'"):
        writer("parquet", io.BytesIO(), ())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("a.PARQUET", "parquet"), ("a.ndjson", "jsonl"), ("a.jsonl", "jsonl"),
     ("a.pq", "parquet"), ("a.txt", None), ("csv", None)],
)  # fmt: skip
def test_the_name_of_a_file_says_the_format(name: str, kind: Format | None) -> None:
    assert rows.format_of(Path(name)) == kind
