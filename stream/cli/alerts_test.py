"""``cxkpi alerts test``: a marked alert that fires and is resolved, to see what the sinks say."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream.cli.configured import config_option, configuration
from stream.config import Config, SinkConfig
from stream.core.settings import SECOND

if TYPE_CHECKING:
    from stream.core.alerts import Change


@click.command()
@click.argument("name")
@click.option("--sink", "sinks", multiple=True, help="Only this sink; may be given several times.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.pass_context
def test(
    context: click.Context,
    name: str,
    sinks: tuple[str, ...],
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Send a test alert of the rule NAME to the sinks: firing, then resolved.

    It is marked as a test, in its sentence and by the label `test`. Each sink is tried once, and
    what it said is printed. Exit code 1: a sink did not take it.
    """
    config = configuration(config_path, needs=("sinks",))
    chosen = _chosen(config, sinks)
    changes = _changes(config, name)
    said = asyncio.run(_sent(chosen, changes))
    click.echo(json.dumps(said) if as_json else "\n".join(map(_line, said)))
    if any(one["error"] for one in said):
        context.exit(1)


def _chosen(config: Config, names: tuple[str, ...]) -> list[SinkConfig]:
    there = {sink.label: sink for sink in config.sinks}
    if not there:
        raise click.UsageError("the configuration has no [[sink]]")
    for name in names:
        if name not in there:
            raise click.UsageError(f'there is no sink "{name}"; there are: {", ".join(there)}')
    return [sink for label, sink in there.items() if not names or label in names]


def _changes(config: Config, name: str) -> list[Change]:
    from stream.sinks.trial import trial

    rules = {rule.name: rule for rule in config.core().rules}
    if name not in rules:
        there = ", ".join(rules) or "none"
        raise click.UsageError(f'there is no rule "{name}"; there are: {there}')
    return list(trial(rules[name], int(time.time() * SECOND)))


async def _sent(sinks: list[SinkConfig], changes: list[Change]) -> list[dict[str, Any]]:
    """What each sink said of each change, in the order of the sinks."""
    told = await asyncio.gather(*(_told(sink, changes) for sink in sinks))
    return [one for of_sink in told for one in of_sink]


async def _told(settings: SinkConfig, changes: list[Change]) -> list[dict[str, Any]]:
    from stream.sinks.catalogue import build
    from stream.sinks.dispatcher import reason

    sink = build(settings)
    told: list[dict[str, Any]] = []
    try:
        for change in changes:
            error = None
            try:
                await sink.deliver(change)
            except Exception as failure:  # noqa: BLE001 - what a sink raises is what was asked for.
                error = reason(failure)
            told.append({"sink": settings.label, "to": change.to, "id": change.id, "error": error})
    finally:
        await sink.close()
    return told


def _line(said: dict[str, Any]) -> str:
    return f"{said['sink']}: {said['to']}: {said['error'] or 'sent'}"
