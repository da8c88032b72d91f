"""``cxkpi generate``: the events of a plausible company, to Kafka or into a file."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Final

import click

from stream.cli import INTERRUPTED
from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.telling import let_go_of_output
from stream.cli.values import Duration, Moment, Rate
from stream.cli.written import compressed, failed, opened_for_writing
from stream.clock import now_ms
from stream.core.timestamps import format_ms
from stream.core.timestamps import parse as moment
from stream.generate import company
from stream.generate.draws import Record
from stream.generate.incidents import Incident, IncidentRefused, parse
from stream.generate.pacing import SLICE, as_they_happen

#: Generated events lie between these moments, in ms; four digits can't write later years.
_FIRST: Final = moment("1970-01-01T00:00:00Z")
_LAST: Final = moment("9999-12-31T23:59:59.999Z")


@dataclass(slots=True)
class _Plan:
    """What is to be generated: times in ms, ``end`` None for ever."""

    start: int
    end: int | None
    rate: float
    seed: int
    incidents: tuple[Incident, ...]
    sent: Counter[str] = field(default_factory=Counter)
    #: Whether that is all, and no more than that may lie in the topics.
    is_exact: bool = True

    def records(self) -> Iterator[Record]:
        return company.events(self.start, self.end, self.rate, self.seed, self.incidents)

    def summary(self) -> dict[str, object]:
        return {
            "events": self.sent.total(),
            "topics": dict(sorted(self.sent.items())),
            "at_least": not self.is_exact,
            "start": format_ms(self.start),
            "seed": self.seed,
        }


@click.command()
@click.option(
    "--rate",
    type=Rate(),
    default=50.0,
    show_default=True,
    help="Events per second, the mean over a week.",
)
@click.option(
    "--history",
    type=Duration(),
    default="0s",
    show_default=True,
    help="Begin so long before now; the past is sent at full speed.",
)
@click.option("--for", "lasting", type=Duration(), help="End so long after now. [default: never]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Chance.")
@click.option(
    "--incident",
    "incidents",
    multiple=True,
    metavar="KIND[:REGION][@+OFFSET][/DURATION]",
    help="outage, churn-spike or broken-checkout, from OFFSET after now, for 10m; repeatable.",
)
@click.option(
    "--to",
    "target",
    metavar="FILE|-",
    help="Write JSON lines at full speed, not to Kafka; .gz and .zst are compressed.",
)
@click.option("--start", type=Moment(), help="With --to: take this moment for now.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def generate(
    rate: float, history: int, lasting: int | None, seed: int, incidents: tuple[str, ...],
    target: str | None, start: int | None, config_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Generate the events of a plausible company.

    They go to Kafka, the past first and then as time passes, until --for is over or Ctrl-C; or,
    with --to, into a file or to standard output. The same --seed, --rate, --start and --history
    give the same events.
    """
    if start is not None and target is None:
        raise click.UsageError("--start needs --to: live events are those of now")
    if target is not None and lasting is None and not history:
        raise click.UsageError("--to needs --for or --history: a file has an end")
    now = now_ms() if start is None else start
    end = None if lasting is None and target is None else now + (lasting or 0)
    _refuse_beyond_calendar(now - history, end)
    try:
        known = tuple(parse(text, now) for text in incidents)
    except IncidentRefused as error:
        raise click.BadParameter(str(error), param_hint="--incident") from None
    _warn_of_missed(incidents, known, now - history, end)
    plan = _Plan(now - history, end, rate, seed, known)
    if target is not None:
        _write(plan, target)
        finished = True
    else:
        try:
            finished = _send(plan, config_path)
        except CommandFailed:
            if plan.sent:
                _tell(plan, as_json, err=False)
            raise
    _tell(plan, as_json, err=target == "-")
    if not finished and plan.end is not None:
        raise SystemExit(INTERRUPTED)


def _refuse_beyond_calendar(start: int, end: int | None) -> None:
    """Raise UsageError where a time of what is generated could not be written."""
    if start < _FIRST:
        raise click.UsageError(f"--start less --history is before {format_ms(_FIRST)}")
    if end is not None and end > _LAST:
        raise click.UsageError(f"--start and --for end after {format_ms(_LAST)}")


def _warn_of_missed(
    texts: Sequence[str], known: Sequence[Incident], start: int, end: int | None
) -> None:
    """Say which incidents lie outside of the time that is generated."""
    for text, incident in zip(texts, known, strict=True):
        if incident.end <= start:
            click.echo(f"Warning: --incident {text}: it is over before the first event", err=True)
        elif end is not None and incident.start >= end:
            click.echo(f"Warning: --incident {text}: it begins after the last event", err=True)


def _write(plan: _Plan, target: str) -> None:
    """Write the whole span as JSON lines, compressed as the file's name ends."""
    with ExitStack() as stack:
        try:
            file: IO[bytes] = (
                sys.stdout.buffer
                if target == "-"
                else stack.enter_context(compressed(opened_for_writing(Path(target)), target))
            )
            records = plan.records()
            while some := list(islice(records, SLICE)):
                file.write(b"".join([record[3] + b"\n" for record in some]))
                plan.sent.update([record[1] for record in some])
            file.flush()
        except BrokenPipeError:
            # Who reads has had enough; what is left must not fail at exit.
            let_go_of_output()
        except OSError as error:
            raise CommandFailed(failed(target, error)) from error


def _send(plan: _Plan, config: Path | None) -> bool:
    """Send to Kafka, the past at full speed and then by the clock; False where it was stopped."""
    from stream.cli.sending import run
    from stream.kafka.producer import EventProducer

    kafka = configuration(config, needs=("kafka",)).kafka

    async def sending() -> bool:
        producer = EventProducer(kafka)
        try:
            async with producer:
                click.echo(f"Generating {plan.rate:g} events/s to {kafka.bootstrap}", err=True)
                async for some in as_they_happen(plan.records()):
                    await producer.write([record[1:] for record in some])
                    if len(some) < SLICE:
                        await producer.submit()
        finally:
            # What was taken and not acknowledged may be missing.
            plan.sent, plan.is_exact = producer.delivered, producer.is_settled
        return True

    try:
        return run(sending()) is not None
    except KeyboardInterrupt:
        return False  # It came before the first event.


def _tell(plan: _Plan, as_json: bool, err: bool) -> None:
    if as_json:
        click.echo(json.dumps(plan.summary()), err=err)
    else:
        least = "" if plan.is_exact else "at least "
        click.echo(f"{least}{plan.sent.total()} events from {format_ms(plan.start)}", err=True)
