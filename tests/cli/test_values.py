"""Values of options that several commands read."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stream.cli import cli
from stream.cli.values import LEAST_RATE, MOST_RATE, Rate

COMMANDS = ("send good.jsonl", "dlq redrive", "generate --for 1s --to -", "demo --for 1s")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("rate", ["nan", "-nan", "inf", "-inf", "1e308", "1e-308", "0", "-1"])
def test_a_rate_is_a_number_that_can_be_kept(command: str, rate: str) -> None:
    result = CliRunner().invoke(cli, [*command.split(), f"--rate={rate}"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    (error,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert "'--rate'" in error
    assert "is not in the range" in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", "'5' lacks a unit, such as 5s for seconds"),
        ("5x", "'5x' is not a duration: a whole number and a unit, such as 250ms, 5s, "),
        ("9999999999999999d", "'9999999999999999d' is longer than any duration may be"),
    ],
)
@pytest.mark.parametrize("command", ["demo", "generate --to -"])
def test_a_duration_has_a_unit(command: str, text: str, said: str) -> None:
    result = CliRunner().invoke(cli, [*command.split(), "--for", text])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '--for': {said}" in result.stderr


@pytest.mark.parametrize("lasting", ["0", "0s", "999ms"])
def test_a_demo_lasts_a_second_at_least(lasting: str) -> None:
    result = CliRunner().invoke(cli, ["demo", "--for", lasting])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"'--for': '{lasting}' is too short: at least 1s" in result.stderr


def test_a_rate_may_be_the_least_and_the_most() -> None:
    assert [Rate().convert(str(r), None, None) for r in (LEAST_RATE, MOST_RATE)] == [0.001, 1e6]
