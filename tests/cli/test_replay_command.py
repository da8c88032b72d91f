"""``cxkpi replay``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

from stream.cli import cli
from stream.replay import backfill, timeline

_ROOT = str(Path(__file__).parents[2])


def visit(number: int, time: str, channel: str = "web") -> bytes:
    event = {
        "event_id": f"e{number}", "type": "visit.ended", "occurred_at": time,
        "visit_id": f"v{number}", "labels": {"channel": channel},
    }  # fmt: skip
    return json.dumps(event).encode() + b"\n"


DAY = [visit(hour, f"2026-03-02T{hour:02}:30:00Z") for hour in range(24)]
TEXT = b"".join(DAY)
EMPTY = "All windows are empty at --at: the last event, 2026-03-02T23:30:00.000Z, is older"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Without a buffer all is written at once, also what nobody sees to.
    for name in [n for n in os.environ if n.startswith(("CXKPI_", "PYTHONUNBUFFERED"))]:
        monkeypatch.delenv(name)
    Path("day.jsonl").write_bytes(TEXT)
    Path("bad.jsonl").write_bytes(TEXT + b"{\n")


def _replay(line: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["replay", *line.split()], input=stdin)


def _rows(text: str) -> list[dict[str, object]]:
    return [json.loads(row) for row in text.splitlines()]


def test_the_last_rows_of_a_time_line_are_what_replay_prints() -> None:
    rows = _rows(_replay("day.jsonl --every 1h").stdout)
    times = sorted({str(row["at"]) for row in rows})
    assert times == [f"2026-03-02T{h:02}:00:00.000Z" for h in range(1, 24)] + [
        "2026-03-02T23:30:00.000Z"
    ]
    last = [{k: v for k, v in row.items() if k != "at"} for row in rows if row["at"] == times[-1]]
    assert last == json.loads(_replay("day.jsonl --json").stdout)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("day.gz", gzip.compress(TEXT)),
        ("members.gz", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
        ("day.zst", zstandard.compress(TEXT)),
        ("frames.zst", zstandard.compress(TEXT[:500]) + zstandard.compress(TEXT[500:])),
        ("-", TEXT),
        ("-", gzip.compress(TEXT)),
        ("-", zstandard.compress(TEXT)),
    ],
)
def test_any_input_gives_the_same_time_line(name: str, data: bytes) -> None:
    if name != "-":
        Path(name).write_bytes(data)
    expected = _replay("day.jsonl --every 6h")
    found = _replay(f"{name} --every 6h", stdin=data)
    assert (found.exit_code, found.stdout) == (0, expected.stdout)


def test_several_files_are_one_stream() -> None:
    Path("odd.jsonl").write_bytes(b"".join(DAY[1::2]))
    found = _replay("odd.jsonl - --every 6h", stdin=b"".join(DAY[::2]))
    assert found.stdout == _replay("day.jsonl --every 6h").stdout


def test_one_point_in_time_is_no_plural() -> None:
    Path("one.jsonl").write_bytes(DAY[0])
    done = _replay("one.jsonl --every 6h --output a.jsonl")
    assert " rows at 1 point in time\n" in done.stderr


def test_files_hold_what_is_printed_in_the_format_of_their_name() -> None:
    printed = _rows(_replay("day.jsonl --every 6h").stdout)
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        done = _replay(f"day.jsonl --every 6h --output {name}")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.startswith(f"{len(printed)} rows at 4 points in time\n")
    assert _rows(Path("a.jsonl").read_text()) == printed
    with Path("a.csv").open(newline="") as file:
        values = [row["value"] for row in csv.DictReader(file)]
    assert values == ["" if row["value"] is None else str(row["value"]) for row in printed]
    assert pq.read_table("a.parquet")["value"].to_pylist() == [row["value"] for row in printed]
    assert sorted(str(path) for path in Path().iterdir()) == [
        *("a.csv", "a.jsonl", "a.parquet", "bad.jsonl", "day.jsonl")
    ]


def test_without_every_a_format_writes_the_rows_of_the_end() -> None:
    rows = _rows(_replay("day.jsonl --format jsonl").stdout)
    assert {row["at"] for row in rows} == {"2026-03-02T23:30:00.000Z"}
    printed = json.loads(_replay("day.jsonl --json").stdout)
    assert [{k: v for k, v in row.items() if k != "at"} for row in rows] == printed


def test_openmetrics_can_be_printed_alone() -> None:
    done = _replay("day.jsonl --every 6h --openmetrics - --json")
    lines = done.stdout.splitlines()
    assert lines[0] == "# TYPE cx_conversion_ratio gauge"
    assert lines[-1] == "# EOF"
    assert json.loads(done.stderr) == {"outcomes": {"accepted": 24}}


def test_nothing_accepted_makes_an_empty_time_line() -> None:
    assert _replay("- --every 1h", stdin=b"").stdout == ""
    assert _replay("- --every 1h --openmetrics -", stdin=b"{}\n").stdout == "# EOF\n"
    heading = "at,kpi,window,label_channel,label_region,label_currency,label_quantile,value,"
    assert _replay("- --format csv", stdin=b"").stdout.startswith(heading)


def test_rejects_go_along_with_a_time_line() -> None:
    done = _replay("bad.jsonl --every 6h --rejects rejects")
    assert done.exit_code == 0
    (reject,) = _rows(Path("rejects").read_text())
    assert (reject["file"], reject["line"], reject["outcome"]) == ("bad.jsonl", 25, "invalid")


def test_rejects_name_a_file_whose_name_is_no_utf_8() -> None:
    name = os.fsdecode(b"bad\xff.jsonl")
    Path(name).write_text("no event\n")
    result = CliRunner().invoke(cli, ["replay", name, "--rejects", "rejects"])
    assert result.exit_code == 0
    (reject,) = _rows(Path("rejects").read_text())
    assert reject["file"] == "bad\ufffd.jsonl"


@pytest.mark.parametrize("more", ["", " --every 6h --output a.csv"])
def test_rejects_can_be_printed_alone(more: str) -> None:
    done = _replay(f"bad.jsonl --rejects -{more}")
    assert done.exit_code == 0
    (reject,) = _rows(done.stdout)
    assert (reject["file"], reject["line"], reject["outcome"]) == ("bad.jsonl", 25, "invalid")
    assert not Path("-").exists()


@pytest.mark.parametrize(
    ("line", "hints"),
    [
        ("day.jsonl", []),
        ("bad.jsonl", ["--rejects - lists what was not accepted, and why"]),
        ("bad.jsonl --json", []),
        ("bad.jsonl --rejects a", []),
        ("day.jsonl --at 2026-03-09T23:29:59.999Z", []),
        ("day.jsonl --at 2026-03-09T23:30:00Z", [EMPTY]),
        ("day.jsonl --at 2030-01-01T00:00:00Z", [EMPTY]),
    ],
)
def test_a_poor_result_comes_with_a_hint(line: str, hints: list[str]) -> None:
    done = _replay(line)
    assert done.exit_code == 0
    said = done.stderr.splitlines()
    assert [text.split(" than the longest")[0] for text in said[1:]] == hints


@pytest.mark.parametrize("more", ["", " --json"])
def test_a_limit_that_was_reached_is_told(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"type": "subscription.base", "occurred_at": "2026-03-02T10:00:00Z", "active": 5}
    bases = [{**base, "event_id": f"{n}", "labels": {"store": f"{n}"}} for n in range(4)]
    visits = [visit(n, "2026-03-02T10:00:00Z", channel=f"{n}") for n in range(4)]
    lines = b"".join(json.dumps(base).encode() + b"\n" for base in bases)
    Path("many.jsonl").write_bytes(lines + b"".join(visits))
    assert "max_segments" not in _replay(f"many.jsonl{more}").stderr
    monkeypatch.setenv("CXKPI_MAX_SEGMENTS", "3")
    done = _replay(f"many.jsonl{more}")
    assert done.stderr.splitlines()[:-1] == [
        (
            "max_segments: there were more than 3 combinations of values; further ones count as"
            " other in every dimension"
        ),
        (
            "max_segments: there were more than 3 sets of labels; 1 bases of further ones are not"
            " counted"
        ),
    ]
    assert "accepted" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("day.jsonl --every 0s", "--every: must be longer than 0"),
        ("day.jsonl --output a.txt", "--output a.txt: name the --format, or a file that ends in "),
        ("day.jsonl --format parquet", "--format parquet needs a file: --output FILE"),
        ("day.jsonl --format parquet --output -", "--format parquet needs a file: --output FILE"),
        ("day.jsonl --output no/a.csv", "no/a.csv: no such file or directory"),
        ("day.jsonl --openmetrics no/a", "no/a: no such file or directory"),
        ("day.jsonl --every 1h --alerts", "--alerts prints changes of alerts: leave out"),
        ("day.jsonl --format csv --openmetrics -", "--openmetrics -: rows go to standard output"),
        ("day.jsonl --output day.jsonl", "--output day.jsonl: would be overwritten, but day.jsonl"),
        ("day.jsonl --rejects ./day.jsonl", "--rejects day.jsonl: would be overwritten, but"),
        ("day.jsonl --rejects - --json", "--rejects -: something else is printed already"),
        ("day.jsonl --rejects - --every 1h", "--rejects -: something else is printed already"),
        ("day.jsonl --rejects - --alerts", "--rejects -: something else is printed already"),
        ("day.jsonl --rejects a --openmetrics a", "--openmetrics a: would be overwritten, but"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(line: str, said: str) -> None:
    done = _replay(line)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.removeprefix("Error: ").startswith(said)
    assert done.stderr.count("\n") == 1
    assert Path("day.jsonl").read_bytes() == TEXT


def test_a_duration_that_is_none_is_named() -> None:
    done = _replay("day.jsonl --every hourly")
    assert done.exit_code == 2
    assert "'hourly' is not a duration: a whole number and a unit" in done.stderr


@pytest.mark.parametrize("name", ["a.parquet", "a.om"])
def test_a_file_appears_only_when_it_is_complete(name: str) -> None:
    Path("cut.gz").write_bytes(gzip.compress(TEXT)[:-20])
    Path(name).write_text("of yesterday")
    option = "--openmetrics" if name == "a.om" else "--output"
    done = _replay(f"cut.gz --every 1h {option} {name}")
    assert done.exit_code == 2
    assert "the gzip data end too early" in done.stderr
    assert Path(name).read_text() == "of yesterday"
    assert not Path(f"{name}.part").exists()


def test_an_input_that_is_missing_leaves_the_output_as_it_was() -> None:
    Path("a.csv").write_text("of yesterday")
    assert _replay("missing.jsonl --output a.csv").exit_code == 2
    assert Path("a.csv").read_text() == "of yesterday"


def test_too_many_points_are_one_line_that_names_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeline, "MOST_POINTS", 10)
    done = _replay("day.jsonl --every 1h --output a.parquet")
    assert done.exit_code == 2
    assert done.stderr.startswith(
        "Error: day.jsonl: line 12: the time line has more than 10 points"
    )
    assert done.stderr.count("\n") == 1
    assert _replay("day.jsonl --every 1h --at 2027-01-01T00:00:00Z").exit_code == 2


def test_rows_come_out_of_a_pipe_while_records_go_in() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "stream", "replay", "-", "--every", "1h"],
        env=os.environ | {"PYTHONPATH": _ROOT},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(DAY[0] + DAY[2])
        child.stdin.flush()
        first = json.loads(child.stdout.readline())
        assert first["at"] == "2026-03-02T01:00:00.000Z"
        assert child.poll() is None
        child.stdin.close()
        rest = [json.loads(row) for row in child.stdout]
    assert child.returncode == 0
    assert {row["at"][11:16] for row in rest} == {"01:00", "02:00", "02:30"}


def test_labels_are_no_markup_and_steer_no_terminal() -> None:
    data = visit(1, "2026-03-02T10:00:00Z", "[red]a\x1b[0m")
    assert r"channel=[red]a\x1b[0m" in _replay("-", stdin=data).stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize(
    "options",
    [
        ("--every", "1h", "--format", "jsonl", "--output"),
        ("--every", "1h", "--format", "csv", "--output"),
        ("--every", "1h", "--format", "parquet", "--output"),
        ("--every", "1h", "--openmetrics"),
        ("--rejects",),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_file(options: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["replay", "bad.jsonl", *options, "/dev/full"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: /dev/full: no space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("options", ["", "--rejects -", "--every 1h", "--format csv"])
def test_a_full_disk_behind_standard_output_is_one_line(options: str) -> None:
    arguments = ["replay", "bad.jsonl", *options.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from stream.cli import main; main()", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: can't write: no space left on device"
    assert "Traceback" not in done.stderr


def test_a_temporary_folder_without_room_is_one_line_that_names_it(tmp_path: Path) -> None:
    # Files can't grow, as on a disk that is full, and little memory is left for points.
    limited = """
import resource
from stream.cli import main
from stream.replay import backfill
vars(backfill)["_CACHE_KIB"] = 64
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
main()
"""
    (tmp_path / "scratch").mkdir()
    options = ["--every", "1m", "--openmetrics", "a.om"]
    done = subprocess.run(
        [sys.executable, "-c", limited, "replay", "day.jsonl", *options],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {tmp_path / 'scratch'}: ")
    assert line.endswith("TMPDIR chooses another folder")
    assert not list(tmp_path.glob("a.om*"))


def test_where_sqlite_has_no_folder_of_its_own_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert backfill.scratch_folder() == str(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert backfill.scratch_folder() in {"/var/tmp", "/usr/tmp", "/tmp", "."}
