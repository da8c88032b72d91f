"""``cxkpi alerts test``: a marked alert that fires and is resolved, to see what the sinks say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.values import Duration
from stream.clock import now_ms
from stream.config import Config, SinkConfig
from stream.core.settings import SECOND, Rule

if TYPE_CHECKING:
    from stream.core.alerts import Change
    from stream.sinks.sink import Sink


@click.command()
@click.argument("name", required=False)
@click.option("--sink", "sinks", multiple=True, help="Only this sink; repeatable.")
@click.option(
    "--hold",
    "hold_ms",
    type=Duration(),
    default="0s",
    show_default=True,
    help="How long it fires. Alertmanager tells nobody of what ends within its group_wait.",
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
@click.pass_context
def test(
    context: click.Context,
    name: str | None,
    sinks: tuple[str, ...],
    hold_ms: int,
    config_path: Path | None,
    as_json: bool,
) -> None:
    """Send a test alert of the rule NAME to the sinks: firing, then resolved.

    Without NAME it says which rules there are.

    It is marked as a test, in its sentence and by the label `test`. Each sink is tried once, and
    what it said is printed. Exit code 1: a sink did not take it.
    """
    config = configuration(config_path, needs=("sinks",))
    rule, chosen = _rule(config, name), _chosen(config, sinks)
    said = asyncio.run(_sent(chosen, rule, hold_ms))
    click.echo(json.dumps(said) if as_json else "\n".join(map(_line, said)))
    if any(one["error"] for one in said):
        context.exit(1)


def _chosen(config: Config, names: tuple[str, ...]) -> list[SinkConfig]:
    there = {sink.name: sink for sink in config.sinks}
    if not there:
        raise CommandFailed("the configuration has no [[sink]]")
    for name in names:
        if name not in there:
            raise CommandFailed(f'there is no sink "{name}"; there are: {", ".join(there)}')
    return [sink for label, sink in there.items() if not names or label in names]


def _rule(config: Config, name: str | None) -> Rule:
    rules = {rule.name: rule for rule in config.core().rules}
    if not rules:
        raise CommandFailed("the configuration has no [[alert]]")
    there = ", ".join(rules)
    if name is None:
        raise CommandFailed(f"name the rule to test; there are: {there}")
    if name not in rules:
        raise CommandFailed(f'there is no rule "{name}"; there are: {there}')
    return rules[name]


async def _sent(sinks: list[SinkConfig], rule: Rule, hold_ms: int) -> list[dict[str, Any]]:
    """What each sink said of each change, in the order of the sinks."""
    from stream.sinks.trial import trial

    began = now_ms()
    # Alertmanager takes no alert that ends when it begins.
    changes = trial(rule, began, began + max(hold_ms, 1))
    told = await asyncio.gather(*(_told(sink, changes, hold_ms) for sink in sinks))
    return [one for of_sink in told for one in of_sink]


async def _told(
    settings: SinkConfig, changes: tuple[Change, ...], hold_ms: int
) -> list[dict[str, Any]]:
    from stream.sinks.catalogue import build
    from stream.sinks.dispatcher import reason

    sink = build(settings)
    told: list[dict[str, Any]] = []
    error: str | None = None
    try:
        for change in changes:
            if change.to == "resolved":
                await _hold(sink, () if error else changes[:1], hold_ms)
            error = None
            try:
                await sink.deliver(change)
            except Exception as failure:  # noqa: BLE001 - what a sink raises is what was asked for.
                error = reason(failure)
            row = {"sink": settings.name, "type": settings.type, "to": change.to}
            told.append({**row, "id": change.id, "error": error})
    finally:
        await sink.close()
    return told


async def _hold(sink: Sink, firing: Sequence[Change], hold_ms: int) -> None:
    """Let it fire for so long; a sink that forgets is told again meanwhile, as by a worker."""
    from stream.sinks.sink import Refreshed, SinkError

    left = hold_ms
    while isinstance(sink, Refreshed) and firing and left > sink.refresh_ms:
        await asyncio.sleep(sink.refresh_ms / SECOND)
        left -= sink.refresh_ms
        with suppress(SinkError):  # What it says of the end is told.
            await sink.keep(firing)
    await asyncio.sleep(left / SECOND)


def _line(said: dict[str, Any]) -> str:
    return f"{said['sink']}: {said['to']}: {said['error'] or 'sent'}"
