"""A time line as OpenMetrics text: well-formed, grouped, and the same numbers as the rows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from stream.cli import cli
from stream.core.catalogue import KPIS
from stream.core.series import LabelPairs, Sample
from stream.core.settings import HOUR, MINUTE, SECOND
from stream.core.timestamps import parse
from stream.metrics.families import kpi_families
from stream.replay import backfill
from stream.replay.backfill import OpenMetrics
from stream.replay.rows import Csv, JsonLines, RowWriter
from tests.fixtures.prometheus import Prometheus, PrometheusTools, Series
from tests.reference.streams import text

NOON = 1_772_452_800_000
HOSTILE = 'a"b\\\nc{d="é"} \u202e,=#'

#: (name, labels, time in ms) → value
Points = dict[tuple[str, LabelPairs, int], float]


def text_of(points: list[tuple[int, list[Sample]]]) -> str:
    file = io.BytesIO()
    target = OpenMetrics(file)
    for at, samples in points:
        target.write(at, samples)
    target.close()
    return file.getvalue().decode()


def expected(points: list[tuple[int, list[Sample]]]) -> Points:
    """What a worker's gauges would have shown."""
    by_part = {(f.sample, f.part): f.name for f in kpi_families(KPIS)}
    found: Points = {}
    for at, samples in points:
        for s in samples:
            labels = tuple(sorted((("window", s.window), *s.labels)))
            for part in ("value", "lower", "upper", "numerator", "denominator"):
                value = getattr(s, part)
                if value is not None:
                    found[by_part[s.kpi, part], labels, at] = value
    return found


def parsed(said: str) -> Points:
    """By a strict parser, that refuses what is not grouped or goes back in time."""
    found: Points = {}
    for family in text_string_to_metric_families(said):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            assert sample.timestamp is not None
            at = round(float(sample.timestamp) * 1000)
            key = (sample.name, tuple(sorted(sample.labels.items())), at)
            assert key not in found
            found[key] = sample.value
    return found


def test_points_come_family_by_family_and_series_by_series() -> None:
    points = [
        (
            NOON + at * HOUR + at,
            [
                Sample("nps", window, labels, 40.0 + at, 30.0, 50.5, 4.0, 10.0)
                for window in ("5m", "1h")
                for labels in ((), (("channel", HOSTILE),), (("channel", "web"),))
            ]
            + [Sample("art", "1h", (), 322.6, None, None, 3226.0, 10.0)]
            + [Sample("art_quantile", "1h", (("quantile", q),), 300.0) for q in ("0.5", "0.9")]
            + [Sample("upsell", "1h", (("currency", "EUR"),), None, None, None, 0.0, 0.0)]
            + [Sample("cart_recovered", "1h", (), 3.0)],
        )
        for at in range(3)
    ]
    said = text_of(points)
    wanted = expected(points)
    # The parser leaves out all but the first quantile at later times of a series.
    assert said.count('quantile="0.9"') == 3
    lost = {key for key in wanted if ("quantile", "0.9") in key[1]}
    assert {k: v for k, v in parsed(said).items() if k not in lost} == {
        k: v for k, v in wanted.items() if k not in lost
    }
    assert said.endswith("# EOF\n")
    assert "# TYPE cx_art_quantile_seconds summary\n" in said
    names = [line.split("{")[0] for line in said.splitlines() if not line.startswith("#")]
    changes = sum(a != b for a, b in pairwise(names))
    assert changes == len(set(names)) - 1


def peak(make: Callable[[BinaryIO], RowWriter], points: int) -> int:
    """The most bytes that Python held while a line of so many points was written."""
    samples = [
        Sample("nps", "1h", (("channel", f"c{i}"),), i / 7, 0.0, 99.0, i, 7.0) for i in range(20)
    ]
    with Path(os.devnull).open("wb") as nowhere:
        tracemalloc.start()
        try:
            target = make(nowhere)
            for n in range(points):
                target.write(NOON + n * MINUTE, samples)
            target.close()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [OpenMetrics, JsonLines, lambda file: Csv(file, ("channel",))],
    ids=["openmetrics", "jsonl", "csv"],
)
def test_what_a_line_takes_of_memory_does_not_grow_with_it(
    make: Callable[[BinaryIO], RowWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_LINES_AT_ONCE", 100)
    short, long = peak(make, 20), peak(make, 120)
    assert long < short + 100_000


def test_without_a_point_there_is_an_empty_text() -> None:
    assert text_of([]) == "# EOF\n"


def test_what_has_no_value_has_no_point() -> None:
    said = text_of([(NOON, [Sample("nps", "1h", (), None, None, None, 0.0, 0.0)])])
    assert {name for name, _, _ in parsed(said)} == {"cx_nps_numerator", "cx_nps_denominator"}


def recording() -> bytes:
    """Six hours of visits, answers and tickets, labelled as nobody would wish."""
    lines = []
    for i in range(180):
        at = NOON + i * 2 * MINUTE + SECOND
        labels = {"channel": ["web", HOSTILE, "app"][i % 3]}
        event = {"event_id": f"e{i}", "occurred_at": text(at), "labels": labels}
        lines += [
            {**event, "type": "visit.ended", "visit_id": f"v{i}", "converted": i % 4 == 0},
            {**event, "type": "survey.responded", "response_id": f"r{i}", "survey": "nps",
             "score": i % 11},
            {**event, "type": "ticket.closed", "ticket_id": f"t{i}", "opened_at": text(at - HOUR)},
        ]  # fmt: skip
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_prometheus_filled_with_the_text_answers_with_the_rows(
    prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    (tmp_path / "events.jsonl").write_bytes(recording())
    files = {name: tmp_path / name for name in ("rows.jsonl", "all.om")}
    told = ["--every", "10m", "--output", str(files["rows.jsonl"])]
    told += ["--openmetrics", str(files["all.om"])]
    done = CliRunner().invoke(cli, ["replay", str(tmp_path / "events.jsonl"), *told])
    assert (done.exit_code, done.stdout) == (0, "")
    rows = [json.loads(row) for row in files["rows.jsonl"].read_text().splitlines()]
    points: dict[str, list[Sample]] = {}
    for row in rows:
        labels = tuple(sorted(row["labels"].items()))
        points.setdefault(row["at"], []).append(
            Sample(**{k: v for k, v in row.items() if k not in ("at", "labels")}, labels=labels)
        )
    prometheus = Prometheus.scraping(prometheus_tools, tmp_path / "prometheus", [])
    data = tmp_path / "prometheus" / "data"
    command = [str(prometheus_tools.promtool), "tsdb", "create-blocks-from", "openmetrics"]
    subprocess.run([*command, str(files["all.om"]), str(data)], check=True, capture_output=True)
    assert len(points) == 36
    with prometheus:
        for time, samples in points.items():
            at = parse(time)
            answered = {
                (one.labels["__name__"], tuple(sorted(set(one.labels.items()) - _name(one))), at):
                one.value
                for one in prometheus.query('{__name__=~"cx_.+"}', at / 1000)
            }  # fmt: skip
            assert answered == expected([(at, samples)])


def _name(series: Series) -> set[tuple[str, str]]:
    return {("__name__", series.labels["__name__"])}
