"""No command writes what it reads."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream.cli import cli

FILES = {
    "cxkpi.toml": (
        'benchmarks = "figures.toml"\n'
        '[[alert]]\nname = "Low"\nkpi = "nps"\nwindow = "1h"\nbelow = 0\nby = []\n'
    ),
    "figures.toml": (
        '[[benchmark]]\nkpi = "nps"\nindustry = "travel"\nyear = 2024\nvalue = 40\n'
        'source = "a table"\n'
    ),
    "incidents.toml": "",
    "day.jsonl": "",
}

COMMANDS = {
    "replay day.jsonl --rejects {}": ("day.jsonl", "cxkpi.toml", "figures.toml"),
    "replay day.jsonl --format csv --output {}": ("day.jsonl", "cxkpi.toml", "figures.toml"),
    "replay day.jsonl --openmetrics {}": ("day.jsonl", "cxkpi.toml", "figures.toml"),
    "alerts backtest day.jsonl --incidents incidents.toml --html {}": tuple(FILES),
    "rules export --output {}": ("cxkpi.toml", "figures.toml"),
    "dashboard export --output {}": ("cxkpi.toml", "figures.toml"),
}


@pytest.mark.parametrize(
    ("command", "file"), [(command, file) for command, files in COMMANDS.items() for file in files]
)
@pytest.mark.parametrize("other_name", [False, True])
def test_a_file_that_a_command_reads_is_never_overwritten(
    command: str, file: str, other_name: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    written = file
    if other_name:
        written = "a-link"
        os.link(file, written)
    done = CliRunner().invoke(cli, command.format(written).split())
    assert done.exit_code == 2
    option = command.split()[-2]
    assert done.stderr == (f"Error: {option} {written}: would be overwritten, but {file} is read\n")
    assert {name: Path(name).read_text() for name in FILES} == FILES


@pytest.mark.parametrize("file", ["cxkpi.toml", "figures.toml"])
def test_benchmarks_are_those_beside_the_configuration(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("cxkpi.toml", "figures.toml"):
        Path("folder", name).write_text(FILES[name])
    line = ["rules", "export", "--config", "folder/cxkpi.toml", "--output"]
    done = CliRunner().invoke(cli, [*line, f"folder/{file}"])
    assert (done.exit_code, done.stderr) == (
        2,
        f"Error: --output folder/{file}: would be overwritten, but folder/{file} is read\n",
    )
    assert CliRunner().invoke(cli, [*line, file]).exit_code == 0
