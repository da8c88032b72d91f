"""``cxkpi worker``: takes in events from Kafka until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import click

from stream import collector
from stream.cli.configured import config_option, configuration
from stream.config import Config


class WorkerFailed(click.ClickException):
    """The worker can't run; one line, exit code 2."""

    exit_code = 2


@click.command()
@config_option
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def worker(config_path: Path | None, verbose: bool) -> None:
    """Take in events from Kafka, keep the KPIs, fire alerts, until SIGTERM or Ctrl-C."""
    config = configuration(config_path)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_run(config))


async def _run(config: Config) -> None:
    # Faust takes a second to import, which `cxkpi --help` need not wait for.
    from stream.wiring import Worker

    collector.tune()
    running = Worker(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.stop)
    try:
        await running.run(lambda url: click.echo(f"Metrics at {url}/metrics", err=True))
    except Exception as error:
        if getattr(error, "decision", None) == "stop":
            raise WorkerFailed(str(error)) from error
        raise
