"""``cxkpi state``: what lies in a group's state, and making it anew."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stream.cli.asking import ask
from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.config import Config, KafkaConfig
from stream.core.alerts.quantities import counted
from stream.core.inspection import Inspection, Size
from stream.core.text import printable
from stream.core.timestamps import format_ms

if TYPE_CHECKING:
    from stream.kafka.group import How
    from stream.kafka.renewal import Plan

#: For what stands behind a name, in columns.
_ROOM: Final = 57

_yes = click.option("--yes", is_flag=True, help="Don't ask.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def state() -> None:
    """Show a group's state (also with --json), or make it anew."""


@state.command(short_help="Show positions, lag, sizes, what is remembered.")
@config_option
@_json
@click.pass_context
def show(context: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Show what lies in the state: positions, lag, sizes, what is remembered.

    Workers may go on meanwhile. Exit code 1: there is no state, or a worker that starts would
    refuse it.
    """
    found = ask(_shown(configuration(config_path, needs=("kafka",))))
    click.echo(json.dumps(found) if as_json else _text(found))
    if not found["shards"] or found["refused"]:
        context.exit(1)


@state.command(short_help="Destroy all state; counting begins at the present end.")
@config_option
@_yes
@_json
def reset(config_path: Path | None, yes: bool, as_json: bool) -> None:
    """Destroy all state, that of alerts too; counting begins at the present end of the sources."""
    _renew(configuration(config_path, needs=("kafka",)), "reset", yes, as_json)


@state.command(short_help="Destroy what was counted; count anew from the earliest.")
@config_option
@_yes
@_json
def rebuild(config_path: Path | None, yes: bool, as_json: bool) -> None:
    """Destroy what was counted and count anew from the earliest records of the sources.

    Alerts stay as they are, and no dead letter is written a second time. The state gets as many
    partitions as the sources have now.
    """
    _renew(configuration(config_path, needs=("kafka",)), "rebuild", yes, as_json)


def _renew(config: Config, how: How, yes: bool, as_json: bool) -> None:
    # The Kafka client takes a while to import, which `cxkpi state --help` need not wait for.
    from stream.kafka.renewal import plan, renew

    for line in _told(config.kafka, ask(plan(config.kafka, how))):
        click.echo(line, err=True)
    _confirm(config.kafka.group, yes)
    planned = ask(renew(config.kafka, config.core(), how))
    done = {
        "group": config.kafka.group,
        "done": how,
        "deleted": list(planned.doomed),
        "partitions": planned.shards,
        "records_to_read": planned.to_read,
    }
    click.echo(json.dumps(done) if as_json else "Done. Start the workers again.")


def _told(kafka: KafkaConfig, planned: Plan) -> list[str]:
    """What will be done."""
    lines = []
    if planned.unfinished:
        lines.append(f"A {planned.unfinished} was begun before and not finished.")
    if planned.replaced:
        topics = ", ".join(sorted({tp.topic for tp in planned.replaced}))
        lines.append(f"In part it was begun for other topics, and this takes its place: {topics}.")
    if planned.doomed:
        topics = ", ".join(planned.doomed)
        lines.append(f"This destroys the state of group {kafka.group}: {topics}.")
    else:
        lines.append(f"Group {kafka.group} has no state, so nothing is destroyed and one is made.")
        if planned.others:
            lines.append(f"Is the name right? There is state of: {', '.join(planned.others)}.")
    where = "the present end of the sources" if planned.how == "reset" else "the earliest records"
    reading = f", {counted(planned.to_read, 'record')}" if planned.how == "rebuild" else ""
    partitions = counted(planned.shards, "partition")
    lines.append(f"Counting begins at {where}{reading}, in {partitions}.")
    return lines


def _confirm(group: str, yes: bool) -> None:
    """Ask for the group's name, unless it was said before.

    Raises:
        CommandFailed: nobody is there to ask, or the answer was another.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask on: say --yes")
    if click.prompt(f"Type the group's name to go on ({group})", err=True) != group:
        raise CommandFailed("that is another name: nothing was done")


async def _shown(config: Config) -> dict[str, Any]:
    from stream.kafka.group_state import look_at_group

    found = await look_at_group(config.kafka, config.core())
    shards = [_shard(number, shard, found.ends) for number, shard in enumerate(found.shards)]
    lag: Counter[str] = Counter()
    for shard in shards:
        lag.update(shard["lag"])
    return {
        "group": config.kafka.group,
        "topic": found.topic,
        "members": list(found.members),
        "refused": found.refusal,
        "unfinished": found.unfinished,
        "lag": dict(lag),
        "shards": shards,
    }


def _shard(number: int, found: Inspection, ends: Mapping[tuple[str, int], int]) -> dict[str, Any]:
    lag = {
        topic: max(0, ends[topic, number] - position)
        for topic, position in found.positions.items()
        if (topic, number) in ends
    }
    return {
        "partition": number,
        "refused": found.refusal,
        "version": found.header.version if found.header else None,
        "flushes": found.flushes,
        "at": _time(found.at),
        "first_event": _time(found.first),
        "last_event": _time(found.last),
        "positions": dict(found.positions),
        "lag": lag,
        "outcomes": {topic: dict(counts) for topic, counts in found.outcomes.items()},
        "remembered": dict(found.remembered),
        "gaps": dict(found.gaps),
        "forgotten": dict(found.forgotten),
        "segments": found.segments,
        "size": _size(found.total),
        "deltas": _size(found.deltas),
        "blocks": {name: _size(size) for name, size in found.blocks.items()},
    }


def _size(size: Size) -> dict[str, int]:
    return {"records": size.records, "bytes": size.volume}


def _time(ms: int | None) -> str | None:
    return None if ms is None else format_ms(ms)


def _text(found: dict[str, Any]) -> str:
    lines = [f"group    {found['group']}, topic {found['topic']}"]
    lines += [f"worker   {member}" for member in found["members"]]
    if found["unfinished"]:
        lines.append(f"a {found['unfinished']} was begun and not finished: run it again")
    elif found["refused"]:
        lines.append(f"can't be used: {found['refused']}")
    if not found["shards"]:
        lines.append("there is no state")
    for shard in found["shards"]:
        lines += _shard_text(shard)
    return "\n".join(lines)


def _shard_text(shard: dict[str, Any]) -> list[str]:
    lines = [f"\npartition {shard['partition']}: {_size_text(shard['size'])}"]
    if shard["refused"]:
        lines.append(f"  can't be used: {shard['refused']}")
    if shard["version"] is None:
        return lines if shard["refused"] else [*lines, "  empty"]
    rows = [
        ("version", f"{shard['version']}, flush {shard['flushes']:,}, at {shard['at']}"),
        ("events", _span(shard["first_event"], shard["last_event"])),
        ("segments", f"{shard['segments']:,}"),
        ("remembered", _listed(shard["remembered"])),
        *_losses(shard),
        *(
            (topic, f"read up to {position:,}, {shard['lag'].get(topic, 0):,} to go")
            for topic, position in shard["positions"].items()
        ),
        *(
            (name, _size_text(part))
            for name, part in {"deltas": shard["deltas"], **shard["blocks"]}.items()
        ),
    ]
    return [*lines, *(line for name, value in rows for line in _row(name, value))]


def _losses(shard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was lost since the state began, where anything was."""
    for name, part in (("deleted unread", "gaps"), ("forgotten early", "forgotten")):
        if lost := {key: n for key, n in shard[part].items() if n}:
            yield name, _listed(lost)


def _row(name: str, value: str) -> list[str]:
    """A name and what it is, within 80 columns."""
    first, *more = textwrap.wrap(printable(value), _ROOM, break_on_hyphens=False) or [""]
    return [f"  {printable(name):<20} {first}", *(f"{'':<23}{line}" for line in more)]


def _size_text(size: Mapping[str, int]) -> str:
    return f"{counted(size['records'], 'record')}, {counted(size['bytes'], 'byte')}"


def _span(first: str | None, last: str | None) -> str:
    return "none yet" if first is None else f"from {first} to {last}"


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(
        # Names of kinds are plurals; those of topics don't end so.
        f"{n:,} {(name.removesuffix('s') if n == 1 else name).replace('_', ' ')}"
        for name, n in numbers.items()
    )
