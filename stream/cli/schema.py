"""``cxkpi schema``: the JSON Schemas of the events and of the configuration."""

from __future__ import annotations

import json
from pathlib import Path

import click

from stream.cli.failure import CommandFailed
from stream.cli.written import failed, print_or_write
from stream.config.schema import config_schema
from stream.core.schema import event_schemas

#: The name of the configuration's schema beside those of the event types.
CONFIG = "config"


@click.command(name="schema")
@click.argument("types", metavar="[TYPE]…", nargs=-1)
@click.option(
    "--write",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a file for each into this folder instead of printing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as without the option.")
def schema(types: tuple[str, ...], directory: Path | None, as_json: bool) -> None:
    """Print the JSON Schemas (2020-12) of the event types and of the configuration (config).

    With TYPE only of those that are named.
    """
    del as_json  # There is no other form.
    schemas = {**event_schemas(), CONFIG: config_schema()}
    unknown = [name for name in types if name not in schemas]
    if unknown:
        allowed = ", ".join(schemas)
        raise click.BadParameter(f"no event type {unknown[0]!r}; there are {allowed}")
    wanted = {name: schemas[name] for name in types or schemas}
    if directory is None:
        click.echo(json.dumps(wanted, indent=2))
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(failed(error.filename, error)) from error
    for name, content in wanted.items():
        print_or_write(json.dumps(content, indent=2) + "\n", directory / f"{name}.json")
