"""``cxkpi send``: recorded events to their topics."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream.cli import INTERRUPTED
from stream.cli.aside import Waiting, read_aside
from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.pace import Pace
from stream.cli.progress import bar
from stream.cli.sending import run
from stream.cli.values import Rate
from stream.clock import now_ms
from stream.config.errors import suggestion
from stream.core.alerts.quantities import counted
from stream.core.catalogue import TOPICS
from stream.core.head import occurred_at
from stream.replay.files import STANDARD_INPUT, Batch, InputError, Reader, standard_input
from stream.replay.recorded import Addressed, Unsendable, address

if TYPE_CHECKING:
    from stream.config import KafkaConfig
    from stream.kafka.producer import EventProducer

#: Lines that can't be sent are named up to this many; all are counted.
_NAMED = 10
_NAMED_IN_JSON = 1_000
#: Only longer lines are compared with what their topic takes.
_LONG = 100_000


@dataclass(slots=True)
class _Report:
    """What became of the lines."""

    sent: Counter[str] = field(default_factory=Counter)
    unsendable: list[tuple[str, int, str]] = field(default_factory=list)
    unsendable_count: int = 0
    seconds: float = 0.0
    #: Whether all lines were read, and what could be sent was acknowledged.
    complete: bool = False
    #: Whether no more than ``sent`` can lie in the topics.
    is_exact: bool = True

    def refuse(self, file: str, line: int, reason: str) -> None:
        self.unsendable_count += 1
        if len(self.unsendable) < _NAMED_IN_JSON:
            self.unsendable.append((file, line, reason))

    def as_dict(self) -> dict[str, object]:
        return {
            "sent": self.sent.total(),
            "topics": dict(sorted(self.sent.items())),
            "at_least": not self.is_exact,
            "unsendable": self.unsendable_count,
            "unsendable_lines": [
                {"file": file, "line": line, "reason": reason}
                for file, line, reason in self.unsendable
            ],
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True)
class _Order:
    """What to send and how."""

    shift: int
    rate: float | None
    raw: str | None
    shown: bool
    #: What a file is called in messages, where that is not its path.
    names: dict[str, str]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--rate",
    type=Rate(),
    help="Events per second. [default: as fast as the broker takes them]",
)
@click.option(
    "--now", is_flag=True, help="Move all times, so that the latest event is the present one."
)
@click.option(
    "--raw", metavar="TOPIC", help="Send lines that belong to no topic to this one, as they are."
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def send(
    files: tuple[str, ...], rate: float | None, now: bool, raw: str | None,
    config_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Send recorded events, JSON lines, to their topics, keyed by entity.

    FILE may be compressed (.gz, .zst), "-" is standard input. Several are read side by side, the
    oldest event first. Missing topics are created. Events are sent as they are, valid or not; lines
    that are blank, no JSON or of no event type are named, and the exit code is 1.
    """
    kafka = configuration(config_path, needs=("kafka",)).kafka
    _refuse_raw(raw, kafka.topic_prefix)
    report = _Report()
    try:
        with ExitStack() as stack:
            names: dict[str, str] = {}
            if now and STANDARD_INPUT in files:
                spooled = stack.enter_context(_spooled())
                files = tuple(spooled if name == STANDARD_INPUT else name for name in files)
                names[spooled] = STANDARD_INPUT
            shift = _shift_to_now(files) if now else 0
            order = _Order(shift, rate, raw, not as_json, names)
            waiting = Waiting()
            # Opening a named pipe waits for its writer; no loop runs yet that this would hold up.
            reader = stack.enter_context(Reader(files, waiting))
            ended = run(_send(kafka, order, reader, waiting, report))
    except (CommandFailed, InputError) as error:
        if report.sent:
            # Whoever goes on from here has to know what is there already.
            _tell(report, kafka.topic_prefix, as_json)
        raise CommandFailed(str(error)) from error
    _tell(report, kafka.topic_prefix, as_json)
    if ended is None:
        raise SystemExit(INTERRUPTED)
    if report.unsendable_count and raw is None:
        raise SystemExit(1)


def _refuse_raw(raw: str | None, prefix: str) -> None:
    """Only source topics are sent to; the full name of one would get its prefix a second time.

    Raises:
        CommandFailed: ``raw`` is another topic, or such a name.
    """
    name = (raw or "").removeprefix(prefix)
    if raw not in (None, name, *TOPICS) and name in TOPICS:
        raise CommandFailed(
            f"--raw {raw}: say {name}; [kafka] topic_prefix {prefix!r} is put before"
        )
    if raw is not None and raw not in TOPICS:
        raise CommandFailed(f"--raw {raw}: unknown topic; {suggestion(raw, list(TOPICS))}")


async def _send(
    kafka: KafkaConfig, order: _Order, reader: Reader, waiting: Waiting, report: _Report
) -> bool:
    """Send everything; True at the end of the input."""
    from stream.kafka.producer import EventProducer, RecordTooLarge

    producer = EventProducer(kafka)
    started = time.monotonic()
    try:
        with bar("Sending", reader.size, shown=order.shown, time_left=True) as advance:
            async with (
                producer,
                aclosing(read_aside(reader.batches(), waiting, producer.submit)) as batches,
            ):
                pace = Pace(order.rate)
                started = time.monotonic()
                async for batch in batches:
                    for some in _slices(batch, pace.slice):
                        messages = await _addressed(some, order, report, producer)
                        await producer.write(messages)
                        if order.rate is not None or len(some.values) < pace.slice:
                            await producer.submit()
                        report.sent.update([message.topic for message in messages])
                        await pace.sent(len(some.values))
                        advance(reader.consumed, counted(report.sent.total(), "event"))
                await producer.flush()
        report.complete = True
    except RecordTooLarge as error:
        raise CommandFailed(f"a record is too large: {error}") from error
    finally:
        report.seconds = time.monotonic() - started
        # What was taken and not acknowledged may be missing.
        report.sent, report.is_exact = producer.delivered, producer.is_settled
    return True


async def _addressed(
    batch: Batch, order: _Order, report: _Report, producer: EventProducer
) -> list[Addressed]:
    """The lines with their addresses; what can't be sent goes into the report."""
    messages: list[Addressed] = []
    for file, line, value in zip(*batch, strict=True):
        file = order.names.get(file, file)
        try:
            message = address(value, order.shift)
        except Unsendable as error:
            if order.raw is None:
                report.refuse(file, line, str(error))
                continue
            message = Addressed(order.raw, None, value)
        if len(value) > _LONG and not await producer.fits(*message):
            report.refuse(file, line, f"{len(value)} bytes are more than {message.topic} takes")
            continue
        messages.append(message)
    return messages


def _slices(batch: Batch, size: int) -> Iterator[Batch]:
    if len(batch.values) <= size:
        yield batch
        return
    for i in range(0, len(batch.values), size):
        yield Batch(
            batch.files[i : i + size], batch.lines[i : i + size], batch.values[i : i + size]
        )


def _shift_to_now(files: Sequence[str]) -> int:
    """By how much to move all times, in ms; 0 where no event has one."""
    last: int | None = None
    with Reader(files) as reader:
        for batch in reader.batches():
            times = [at for at in map(occurred_at, batch.values) if at is not None]
            last = max([*times, *([] if last is None else [last])], default=None)
    return 0 if last is None else now_ms() - last


@contextmanager
def _spooled() -> Iterator[str]:
    """Standard input as a file, to be read twice."""
    with tempfile.NamedTemporaryFile(prefix="cxkpi-") as file:
        shutil.copyfileobj(standard_input(), file)
        file.flush()
        yield file.name


def _tell(report: _Report, prefix: str, as_json: bool) -> None:
    """Say what was sent, and where it may be more."""
    if as_json:
        click.echo(json.dumps(report.as_dict()))
        return
    for file, line, reason in report.unsendable[:_NAMED]:
        click.echo(f"{file}:{line}: {reason}", err=True)
    if report.unsendable_count > _NAMED:
        click.echo(f"and {report.unsendable_count - _NAMED} more that can't be sent", err=True)
    sent = report.sent.total()
    rate = sent / report.seconds if report.seconds else 0.0
    least = "" if report.is_exact else "at least "
    said = f"{least}{counted(sent, 'event')} sent in {report.seconds:.1f} s ({rate:,.0f}/s)"
    click.echo(said, err=True)
    for topic, count in sorted(report.sent.items()):
        click.echo(f"  {prefix}{topic}  {count:,}", err=True)
