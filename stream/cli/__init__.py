"""The command ``cxkpi``: one module per subcommand, loaded when it is called."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from stream import __version__
from stream.cli.lazy import Lazy

#: A disk that has no room, or that fails, which a traceback says nothing of.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

#: Subcommands in the order of the help, with the line that it shows.
COMMANDS = {
    "demo": "Show all of it: broker, worker, generator and live view in one.",
    "worker": "Take in events from Kafka, keep the KPIs, fire alerts.",
    "top": "Watch a worker's KPIs in the terminal.",
    "check": "Check a configuration.",
    "alerts": "Try out alerts: a test to the sinks, rules on recorded events.",
    "state": "Show a group's state, or make it anew.",
    "send": "Write recorded events to their topics.",
    "dlq": "Look at refused records, and send them again.",
    "replay": "Run recorded events through the same core, without Kafka.",
    "explain": "Say why a KPI has its value, from recorded events.",
    "generate": "Make the events of a plausible company.",
    "broker": "Run the embedded Apache Kafka.",
    "rules": "Write the alert rules for Prometheus.",
    "schema": "Print or write the JSON Schemas.",
}


@click.group(
    cls=Lazy,
    catalogue=COMMANDS,
    modules="stream.cli.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="cxkpi")
def cli() -> None:
    """Customer-experience KPIs, live and exact, from events in Kafka."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; exits with 0 (fine), 1 (findings) or 2 (unusable input)."""
    run: Callable[..., Any] = cli.main
    try:
        return run(args=argv, prog_name="cxkpi")
    except OSError as error:
        if error.errno not in _FULL:
            raise
        click.echo(f"Error: can't write: {os.strerror(error.errno).lower()}", err=True)
        # What is still held back for standard output can't be written either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(2)
