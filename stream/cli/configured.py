"""What commands that need the configuration share: the option ``--config`` and its errors."""

from __future__ import annotations

import os
from pathlib import Path

import click

from stream.cli.failure import Problems
from stream.cli.telling import tell
from stream.config import DEFAULT_FILE, Config, ConfigError, SinkConfig, load
from stream.config.loading import Need, file_read

config_option = click.option(
    "--config",
    "config_path",
    # Why a file can't be read is said where it is read, in one line as of any other.
    type=click.Path(readable=False, path_type=Path),
    help=f"The configuration, a TOML file. [default: {DEFAULT_FILE} where it exists]",
)


def unusable(sink: SinkConfig) -> str | None:
    """Why the library that a sink sends through can't use its address; None where it can."""
    if sink.type != "apprise" or sink.endpoint is None:
        return None
    # It takes a while to import, which commands without such a sink need not wait for.
    from stream.sinks import apprise

    return apprise.unusable(sink.endpoint.get_secret_value())


def configuration(path: Path | None, *, needs: tuple[Need, ...] = ("kafka", "sinks")) -> Config:
    """Load the configuration of a command that talks to what ``needs`` names.

    A variable that may have been meant for it and is not is told on standard error.

    Raises:
        Problems: it can't be used.
    """
    try:
        config = load(path, os.environ, needs=needs, vet=unusable)
    except ConfigError as error:
        raise Problems("\n".join(map(str, error.problems))) from None
    for line in config.strangers:
        tell(f"warning: {line}")
    return config


def files_of(path: Path | None, config: Config) -> list[Path]:
    """The files that the configuration was read from; ``path`` is as given to ``configuration``."""
    file = file_read(path)
    read = [] if file is None else [file]
    if config.benchmarks is not None:
        # A variable can name them where there is no file.
        read.append((file or Path(DEFAULT_FILE)).parent / config.benchmarks)
    return read
