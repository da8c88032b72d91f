"""``cxkpi alerts test``: a marked alert that fires and is resolved, to see what the sinks say."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stream.cli import INTERRUPTED
from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.values import Duration
from stream.clock import now_ms
from stream.config import Config, SinkConfig
from stream.core.settings import DAY, SECOND, Rule

if TYPE_CHECKING:
    from stream.core.alerts import Change
    from stream.sinks.sink import Sink


#: The longest hold, in ms: beyond it no test is meant.
_MOST_HOLD: Final = 366 * DAY


@click.command()
@click.argument("name", required=False)
@click.option("--sink", "sinks", multiple=True, help="Only this sink; repeatable.")
@click.option(
    "--hold",
    "hold_ms",
    type=Duration(most_ms=_MOST_HOLD),
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
    what it said is printed. Ctrl-C ends a hold early: the alert is resolved then. Exit code 1: a
    sink did not take it.
    """
    config = configuration(config_path, needs=("sinks",))
    rule, chosen = _rule(config, name), _chosen(config, sinks)
    said, interrupted = asyncio.run(_until_signalled(chosen, rule, hold_ms))
    click.echo(json.dumps(said) if as_json else "\n".join(map(_line, said)))
    if interrupted:
        raise SystemExit(INTERRUPTED)
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


@dataclass(slots=True)
class _Hold:
    """For how long the alert fires, in ms; ``end`` ends it early, for all sinks at one time."""

    ms: int
    began: int = field(default_factory=now_ms)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Let it be over now."""
        # Alertmanager takes no alert that ends when it begins.
        self.ms = min(self.ms, max(now_ms() - self.began, 1))
        self.ended.set()

    async def passed(self, ms: int) -> None:
        """Return after so long, or at once where it is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), ms / SECOND)


async def _until_signalled(
    sinks: list[SinkConfig], rule: Rule, hold_ms: int
) -> tuple[list[dict[str, Any]], bool]:
    """What the sinks said, and whether SIGINT or SIGTERM ended the hold.

    An alert that fires at a receiver is resolved then, as nobody else would. A further signal waits
    for no receiver any more.
    """
    hold = _Hold(max(hold_ms, 1))
    task = asyncio.create_task(_sent(sinks, rule, hold))

    def end() -> None:
        if hold.ended.is_set():
            task.cancel()
        hold.end()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await task, hold.ended.is_set()
    except asyncio.CancelledError:
        click.echo("The test alert may still fire where its end was not taken.", err=True)
        raise KeyboardInterrupt from None


async def _sent(sinks: list[SinkConfig], rule: Rule, hold: _Hold) -> list[dict[str, Any]]:
    """What each sink said of each change, in the order of the sinks."""
    told = await asyncio.gather(*(_told(sink, rule, hold) for sink in sinks))
    return [one for of_sink in told for one in of_sink]


async def _told(settings: SinkConfig, rule: Rule, hold: _Hold) -> list[dict[str, Any]]:
    from stream.sinks.catalogue import build
    from stream.sinks.dispatcher import reason
    from stream.sinks.trial import trial

    sink = build(settings)
    told: list[dict[str, Any]] = []
    error: str | None = None
    try:
        for place in range(2):
            change = trial(rule, hold.began, hold.began + hold.ms)[place]
            error = None
            try:
                await sink.deliver(change)
            except Exception as failure:  # noqa: BLE001 - what a sink raises is what was asked for.
                error = reason(failure)
            row = {"sink": settings.name, "type": settings.type, "to": change.to}
            told.append({**row, "id": change.id, "error": error})
            if change.to == "firing":
                await _held(sink, () if error else [change], hold)
    finally:
        await sink.close()
    return told


async def _held(sink: Sink, firing: Sequence[Change], hold: _Hold) -> None:
    """Let it fire for so long; a sink that forgets is told again meanwhile, as by a worker."""
    from stream.sinks.sink import Refreshed, SinkError

    left = hold.ms
    while isinstance(sink, Refreshed) and firing and left > sink.refresh_ms:
        await hold.passed(sink.refresh_ms)
        if hold.ended.is_set():
            return
        left -= sink.refresh_ms
        with suppress(SinkError):  # What it says of the end is told.
            await sink.keep(firing)
    await hold.passed(left)


def _line(said: dict[str, Any]) -> str:
    return f"{said['sink']}: {said['to']}: {said['error'] or 'sent'}"
