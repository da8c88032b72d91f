"""``cxkpi dashboard``: Grafana's dashboard for the configuration's dimensions."""

from __future__ import annotations

from pathlib import Path

import click

from stream.cli.configured import config_option, configuration, files_of
from stream.cli.failure import CommandFailed
from stream.cli.written import output_option, print_or_write, refuse_overwriting
from stream.core.catalogue import KPIS


@click.group()
def dashboard() -> None:
    """Write the dashboard for Grafana: JSON, which takes no --json."""


@dashboard.command(short_help="Write the overview dashboard.")
@config_option
@output_option
def export(config_path: Path | None, output: Path | None) -> None:
    """Write the overview dashboard for the dimensions of the configuration, as Grafana imports it.

    With other dimensions than the default ones, the dashboard of the repository shows totals that
    take in series of several rollups.
    """
    config = configuration(config_path, needs=())
    refuse_overwriting(files_of(config_path, config), {"--output": output})
    text = _overview(config.dimensions)
    print_or_write(text, output)


def _overview(dimensions: tuple[str, ...]) -> str:
    try:
        # The library is one of development: a worker, and so its image, needs none of it.
        from stream.dashboards.overview import overview
    except ImportError:
        said = "this needs grafana-foundation-sdk, which `make setup` installs"
        raise CommandFailed(said) from None
    return overview(KPIS, dimensions)
