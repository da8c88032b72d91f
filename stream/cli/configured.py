"""What commands that need the configuration share: the option ``--config`` and its errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from stream.config import DEFAULT_FILE, Config, ConfigError, load
from stream.config.loading import Need

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help=f"The configuration, a TOML file. [default: {DEFAULT_FILE} where it exists]",
)


class Misconfigured(click.ClickException):
    """The configuration can't be used: every problem on a line of its own, exit code 2."""

    exit_code = 2

    def __init__(self, error: ConfigError) -> None:
        super().__init__("\n".join(map(str, error.problems)))

    def show(self, file: Any = None) -> None:
        """Write the problems to standard error."""
        click.echo(self.message, file=file, err=file is None)


def configuration(path: Path | None, *, needs: tuple[Need, ...] = ("kafka", "sinks")) -> Config:
    """Load the configuration of a command that talks to what ``needs`` names.

    Raises:
        Misconfigured: it can't be used.
    """
    try:
        return load(path, os.environ, needs=needs)
    except ConfigError as error:
        raise Misconfigured(error) from None
