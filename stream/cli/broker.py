"""``cxkpi broker``: the embedded Apache Kafka in the foreground."""

from __future__ import annotations

import json
from pathlib import Path

import click
import platformdirs

from stream.broker import Broker, BrokerError
from stream.broker.jars import KAFKA_VERSION
from stream.cli.failure import CommandFailed
from stream.cli.signals import ended_by_signals

#: What the configuration's default bootstrap address names.
DEFAULT_PORT = 9092


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the data: a new or empty one, or one of an earlier broker. "
    "[default: one in your user data folder]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port on 127.0.0.1; 0 picks a free one.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print address, folder, version and process id as one JSON object.",
)
def broker(data: Path | None, port: int, as_json: bool) -> None:
    """Run the embedded Apache Kafka until Ctrl-C or SIGTERM.

    It listens on loopback only. The first start downloads it into your cache folder.
    """
    folder = data or platformdirs.user_data_path("cxkpi", appauthor=False) / "broker"
    kafka = Broker(folder, port or None, tell=lambda line: click.echo(line, err=True))
    try:
        with ended_by_signals(), kafka:
            _announce(kafka, as_json)
            kafka.wait()
            raise CommandFailed(f"Kafka ended by itself: {kafka.last_words()}")
    except KeyboardInterrupt:
        return
    except BrokerError as error:
        raise CommandFailed(str(error)) from error


def _announce(kafka: Broker, as_json: bool) -> None:
    folder = str(kafka.folder.path)
    if as_json:
        facts = {"bootstrap": kafka.bootstrap, "data": folder, "kafka": KAFKA_VERSION}
        click.echo(json.dumps({**facts, "pid": kafka.pid}))
    else:
        click.echo(f"Apache Kafka {KAFKA_VERSION} listens on {kafka.bootstrap}, data in {folder}")
        click.echo("Ctrl-C ends it.", err=True)
