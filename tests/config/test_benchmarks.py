"""Published figures to set KPIs beside: what is taken, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from stream.cli.check import check
from stream.config import Benchmark, ConfigError, load
from stream.config.benchmarks import MOST_BENCHMARKS
from stream.core.catalogue import KPIS
from stream.wiring import Worker

ROOT = Path(__file__).parents[2]


def entry(**keys: object) -> str:
    written = {
        "kpi": '"nps"',
        "industry": '"retail"',
        "value": 28,
        "source": '"A report"',
        "year": 2023,
    }
    lines = (f"{key} = {value}" for key, value in (written | keys).items() if value is not None)
    return "\n".join(["[[benchmark]]", *lines]) + "\n"


def loaded(folder: Path, text: str | bytes) -> tuple[Benchmark, ...]:
    path = folder / "figures.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "cxkpi.toml").write_text('benchmarks = "figures.toml"\n')
    return load(folder / "cxkpi.toml", {}, needs=()).figures


def test_figures_are_read_from_beside_the_configuration(tmp_path: Path) -> None:
    share = entry(kpi='"fcr"', industry='"Banks & \U0001f600"', value=1)
    assert loaded(tmp_path, entry() + share) == (
        Benchmark("nps", "retail", 28.0, "A report", 2023),
        Benchmark("fcr", "Banks & \U0001f600", 1.0, "A report", 2023),
    )
    assert loaded(tmp_path, "") == ()


def test_without_a_file_there_are_none_and_a_variable_names_one(tmp_path: Path) -> None:
    (tmp_path / "cxkpi.toml").write_text("")
    (tmp_path / "other.toml").write_text(entry())
    assert load(tmp_path / "cxkpi.toml", {}).figures == ()
    named = load(tmp_path / "cxkpi.toml", {"CXKPI_BENCHMARKS": "other.toml"})
    assert [figure.kpi for figure in named.figures] == ["nps"]


@pytest.mark.parametrize(
    ("kpi", "value"), [("nps", -100), ("nps", 100), ("csat", 0), ("csat", 1), ("retention", 1)]
)
def test_a_figure_may_be_the_least_and_the_greatest_that_its_kpi_can(
    kpi: str, value: float, tmp_path: Path
) -> None:
    (figure,) = loaded(tmp_path, entry(kpi=f'"{kpi}"', value=value))
    assert (figure.kpi, figure.value) == (kpi, value)


def many(number: int) -> str:
    """So many figures, each of an industry of its own."""
    return "".join(entry(industry=f'"i{place}"') for place in range(number))


def test_as_many_figures_are_taken_as_are_said_to_be(tmp_path: Path) -> None:
    assert len(loaded(tmp_path, many(MOST_BENCHMARKS))) == MOST_BENCHMARKS


LONG = '"' + "x" * 65 + '"'
INDUSTRY = "must be 1 to 64 printable characters on one line, no blank at either end, not "

#: What the file holds, and what is said of it after the file's name.
MISTAKES: list[tuple[str, str, list[str]]] = [
    (
        "an unknown KPI",
        entry(kpi='"npz"'),
        [':2: benchmark[0].kpi: unknown KPI "npz"; did you mean "nps"? allowed: nps, csat, '],
    ),
    (
        "an amount",
        entry() + entry(kpi='"clv"'),
        [":8: benchmark[1].kpi: clv is an amount or a count of one company, of which others say"],
    ),
    (
        "a count",
        entry(kpi='"cart_recovered"'),
        [":2: benchmark[0].kpi: cart_recovered is an amount or a count"],
    ),
    (
        "a share in percent",
        entry(kpi='"csat"', value=76),
        [
            (
                ":4: benchmark[0].value: must be 0 to 1, as cx_csat_ratio is, not 76; a share of"
                " 70% is 0.7"
            )
        ],
    ),
    (
        "a score off its scale",
        entry(value=-100.5),
        [":4: benchmark[0].value: must be -100 to 100, as cx_nps is, not -100.5"],
    ),
    (
        "a negative time",
        entry(kpi='"art"', value=-1),
        [":4: benchmark[0].value: must be at least 0, as cx_art_seconds is, not -1"],
    ),
    (
        "more than all retained",
        entry(kpi='"retention"', value=1.5),
        [":4: benchmark[0].value: must be at most 1, as cx_retention_ratio is, not 1.5"],
    ),
    (
        "no number",
        entry(value='"28"'),
        [':4: benchmark[0].value: must be a number, not "28"; nps is in points: 28'],
    ),
    (
        "not a number",
        entry(value="nan"),
        [":4: benchmark[0].value: must be a finite number"],
    ),
    (
        "a figure twice",
        entry() + entry(value=29) + entry(industry='"Retail"'),
        [':9: benchmark[1].industry: there is another figure of nps for "retail"'],
    ),
    (
        "no source and no year",
        entry(source=None, year=None),
        [":1: benchmark[0].source: is missing", ":1: benchmark[0].year: is missing"],
    ),
    ("an empty source", entry(source='""'), [":5: benchmark[0].source: must be 1 to 1000 "]),
    ("a year of two digits", entry(year=23), [":6: benchmark[0].year: must be 1950 to 2200, not"]),
    (
        "an industry of many words",
        entry(industry=LONG),
        [f":3: benchmark[0].industry: {INDUSTRY}"],
    ),
    ("an empty industry", entry(industry='""'), [f":3: benchmark[0].industry: {INDUSTRY}"]),
    (
        "an industry on two lines",
        entry(industry='"a\\nb"'),
        [f":3: benchmark[0].industry: {INDUSTRY}"],
    ),
    (
        "an unknown key",
        entry(yaer=2023),
        [
            (
                ':7: benchmark[0].yaer: unknown key; did you mean "year"? allowed: kpi, industry, '
                "value, source, year"
            )
        ],
    ),
    ("another table", "[nps]\n", [":1: nps: unknown key; allowed: benchmark"]),
    (
        "one table for an array",
        "[benchmark]\n",
        [":1: benchmark: must be an array of tables: write [[benchmark]]"],
    ),
    (
        "too many",
        many(MOST_BENCHMARKS + 1),
        [f":1: benchmark: must have at most {MOST_BENCHMARKS} entries, not {MOST_BENCHMARKS + 1}"],
    ),
    ("no TOML", "[[benchmark\n", [":1: not TOML: "]),
]


@pytest.mark.parametrize(("text", "lines"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_one_line_with_file_key_and_what_is_allowed(
    text: str, lines: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        loaded(tmp_path, text)
    problems = str(refusal.value).splitlines()
    assert len(problems) == len(lines)
    for problem, line in zip(problems, lines, strict=True):
        assert problem.startswith(f"{tmp_path / 'figures.toml'}{line}")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("figures.toml", "no such file or directory"),
        (".", "is a directory"),
        ("x" * 900, "file name too long"),
    ],
)
def test_a_file_that_is_none_is_a_mistake_of_the_key(name: str, why: str, tmp_path: Path) -> None:
    config = tmp_path / "cxkpi.toml"
    config.write_text(f'benchmarks = "{name}"\n')
    with pytest.raises(ConfigError) as refusal:
        load(config, {}, needs=())
    assert str(refusal.value) == f"{config}:1: benchmarks: can't read {tmp_path / name}: {why}"


def test_bytes_that_are_no_text_are_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"figures\.toml:1: not UTF-8$"):
        loaded(tmp_path, b"\xff")


def test_check_shows_the_figures_or_that_their_file_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cxkpi.toml").write_text("[http]\nport = 1\n")
    runner = CliRunner(env={"CXKPI_BENCHMARKS": "figures.toml"})
    missing = runner.invoke(check, [])
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert (
        missing.stderr
        == "CXKPI_BENCHMARKS: benchmarks: can't read figures.toml: no such file or directory\n"
    )
    Path("figures.toml").write_text(entry())
    shown = runner.invoke(check, [])
    assert shown.exit_code == 0
    assert "benchmark   nps retail: 28 (A report; 2023)\n" in shown.stdout


def test_a_worker_shows_them_from_its_start(tmp_path: Path) -> None:
    loaded(tmp_path, entry())
    worker = Worker(load(tmp_path / "cxkpi.toml", {}))
    assert dict(worker.view().benchmarks) == {("nps", "retail"): 28.0}


def test_the_shipped_figures_are_sound_and_can_be_looked_up(tmp_path: Path) -> None:
    figures = loaded(tmp_path, (ROOT / "examples" / "benchmarks.toml").read_text())
    assert figures
    for figure in figures:
        assert "https://" in figure.source
        assert KPIS[figure.kpi].comparable != "never"
