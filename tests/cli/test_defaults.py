"""What options are where nobody gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from stream.cli import cli

#: By command and option; all others are absent, off or told in the help's words.
DEFAULTS: dict[tuple[str, str], Any] = {
    ("demo", "--rate"): 100,
    ("alerts test", "--hold"): "0s",
    ("alerts backtest", "--max-samples"): 5_000_000,
    ("dlq list", "--reason"): "",
    ("dlq list", "--limit"): 100,
    ("dlq redrive", "--reason"): "",
    ("dlq redrive", "--rounds"): 3,
    ("generate", "--rate"): 50,
    ("generate", "--history"): "0s",
    ("generate", "--seed"): 1,
    ("broker", "--port"): 9092,
    ("rules export", "--kpi-rules"): "prometheus",
    ("rules export", "--runbooks"): "docs/runbooks",
    ("rules export", "--job"): "cxkpi",
    ("rules export", "--silence"): "1h",
}


def _options(command: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every option of every command, with the command's name."""
    for word, one in command.get("commands", {}).items():
        yield from _options(one, f"{name} {word}".strip())
    for option in command["params"]:
        yield name, option


def test_no_option_has_another_default_than_is_known() -> None:
    tree = cli.to_info_dict(click.Context(cli))
    found = {
        (name, option["opts"][0]): option["default"]
        for name, option in _options(tree)
        if option["default"] not in (None, False, ())
    }
    assert found == DEFAULTS


@pytest.mark.parametrize(("command", "option"), [key for key, value in DEFAULTS.items() if value])
def test_the_help_tells_the_default(command: str, option: str) -> None:
    shown = CliRunner().invoke(cli, [*command.split(), "--help"]).stdout.partition("Options:")[2]
    told = re.search(rf" {option} .*?\[default:\s+([^];]+)", shown, re.DOTALL)
    assert told is not None
    default = DEFAULTS[command, option]
    assert default == (told[1] if isinstance(default, str) else float(told[1]))
