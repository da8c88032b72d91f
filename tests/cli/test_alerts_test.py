"""``cxkpi alerts test``: a marked alert goes to the sinks, and what they said is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream.cli import cli
from stream.cli.alerts import COMMANDS

RULE = '[[alert]]\nname = "CsatLow"\nkpi = "csat"\nwindow = "1h"\nby = ["region"]\nbelow = 0.7\n'


def run(folder: Path, line: str, sinks: str, environ: dict[str, str] | None = None) -> Result:
    file = folder / "c.toml"
    file.write_text(RULE + sinks)
    return CliRunner().invoke(
        cli, ["alerts", "test", *line.split(), "--config", str(file)], env=environ
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_subcommand_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, ["alerts", command, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert " --json" in result.stdout


def test_a_test_alert_fires_and_is_resolved(tmp_path: Path) -> None:
    result = run(tmp_path, "CsatLow --json", '[[sink]]\ntype = "log"\n')
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert [(s["sink"], s["to"], s["error"]) for s in said] == [
        ("log", "firing", None),
        ("log", "resolved", None),
    ]
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["alert"]["id"] for line in lines] == [s["id"] for s in said]
    assert lines[0]["alert"]["labels"] == {"region": "test", "test": "true"}
    assert lines[0]["event"].endswith("This is a test of the rule CsatLow; nothing is wrong.")


@pytest.mark.parametrize(
    ("line", "sinks", "said"),
    [
        ("Other", '[[sink]]\ntype = "log"\n', 'there is no rule "Other"; there are: CsatLow'),
        ("CsatLow", "", "the configuration has no [[sink]]"),
        (
            "CsatLow --sink ops",
            '[[sink]]\ntype = "log"\n',
            'there is no sink "ops"; there are: log',
        ),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    tmp_path: Path, line: str, sinks: str, said: str
) -> None:
    result = run(tmp_path, line, sinks)
    assert result.exit_code == 2
    assert said in result.stderr
