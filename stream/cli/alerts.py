"""``cxkpi alerts``: a group of one module per subcommand, ``stream.cli.alerts_…``."""

from __future__ import annotations

import click

from stream.cli.lazy import Lazy

#: Subcommands in the order of the help, with the line that it shows.
COMMANDS = {
    "test": "Send a marked test alert to the sinks.",
    "backtest": "Try the rules on recorded events, and other thresholds.",
}


@click.group(cls=Lazy, catalogue=COMMANDS, modules="stream.cli.alerts_")
def alerts() -> None:
    """Try out alerts (also with --json)."""
