"""``cxkpi dlq``: look at dead letters, and send them again."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from stream.cli import INTERRUPTED
from stream.cli.configured import config_option, configuration
from stream.cli.dlq_output import (
    say_missing,
    say_others,
    say_unknown,
    tell_counts,
    tell_letter,
    tell_list,
    tell_report,
)
from stream.cli.failure import CommandFailed
from stream.cli.pace import Pace
from stream.cli.progress import bar
from stream.cli.sending import run
from stream.cli.values import Moment, Rate
from stream.clock import now_ms
from stream.config import durations
from stream.core.alerts.quantities import counted
from stream.core.catalogue import TOPICS
from stream.core.escape import escaped, safe_json
from stream.core.event import DEAD_LETTER_OUTCOMES, OUTCOMES
from stream.core.timestamps import format_ms
from stream.deadletters.filters import Filter
from stream.deadletters.headers import UNDELIVERED
from stream.deadletters.letter import ALERT_TOPIC
from stream.deadletters.listing import Counts, Newest
from stream.deadletters.redrive import MOST_ROUNDS, Report
from stream.deadletters.rules import rule

if TYPE_CHECKING:
    from stream.config import KafkaConfig
    from stream.deadletters.ledger import Ledger
    from stream.deadletters.letter import Letter
    from stream.kafka.letters import LetterReader
    from stream.kafka.redrive import Order

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: A partition or an offset.
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
#: Those of alerts are shown where they are asked for.
_WITH_LETTERS = (*TOPICS, ALERT_TOPIC)
#: A list holds its rows in memory.
_MOST_LISTED = 100_000


class Ago(Moment):
    """A moment, or how long ago it was: ``2h``."""

    name = "rfc3339|duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds since the epoch; a usage error where the text is neither."""
        try:
            # Longer ago than the epoch is from the beginning on.
            return max(0, now_ms() - durations.parse(str(value)))
        except ValueError:
            pass
        if isinstance(value, str) and not value[:4].isdigit():
            self.fail(
                f"{value!r} is neither a time such as 2026-03-02T10:00:00Z nor a duration"
                " such as 2h",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class TopicName(click.ParamType):
    """A source topic or that of alerts, with or without ``.dlq``, without prefix."""

    name = "topic"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The name without ``.dlq``; a usage error where there is no such topic."""
        topic = str(value).removesuffix(".dlq")
        if topic not in _WITH_LETTERS:
            allowed = ", ".join(_WITH_LETTERS)
            self.fail(f"{escaped(topic)!r} is no topic with dead letters: {allowed}", param, ctx)
        return topic


_FILTERS = (
    click.option(
        "--topic", "topics", type=TopicName(), multiple=True, help="Only of this topic; repeatable."
    ),
    click.option(
        "--outcome",
        "outcomes",
        type=click.Choice([*(o for o in OUTCOMES if o in DEAD_LETTER_OUTCOMES), UNDELIVERED]),
        multiple=True,
        help="Only of this outcome; repeatable.",
    ),
    click.option(
        "--reason", default="", metavar="TEXT", help="Only with this in the reason, or this field."
    ),
    click.option("--since", type=Ago(), metavar="WHEN", help="Refused since then."),
    click.option("--until", type=Ago(), metavar="WHEN", help="Refused before then."),
)


def _filtered(command: F) -> F:
    """Add the options that choose dead letters."""
    return reduce(lambda done, option: option(done), reversed(_FILTERS), command)


def _filter(outcomes: tuple[str, ...], reason: str, since: int | None, until: int | None) -> Filter:
    """Raises click.UsageError: no letter was refused in such a time."""
    if since is not None and until is not None and since >= until:
        said = f"--since {format_ms(since)} is not before --until {format_ms(until)}"
        raise click.UsageError(f"{said}: nothing lies between them")
    return Filter(frozenset(outcomes), reason, since, until)


@click.group()
def dlq() -> None:
    """Look at the records that were refused, and send them again once they would be accepted.

    WHEN is a time such as 2026-03-02T10:00:00Z, or how long ago it was, such as 2h. Every
    subcommand prints JSON with --json.
    """


@dlq.command("list", short_help="List them, the newest last, or count them by reason.")
@_filtered
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST_LISTED),
    metavar="N",
    default=100,
    show_default=True,
    help="Show the newest N.",
)
@click.option("--counts", is_flag=True, help="Count them by topic, outcome, field and reason.")
@click.option("--pending", is_flag=True, help="Only those that redrive has not sent yet.")
@click.option("--all-groups", is_flag=True, help="Also those that other groups have written.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(
    topics: tuple[str, ...], outcomes: tuple[str, ...], reason: str, since: int | None,
    until: int | None, limit: int, *, counts: bool, pending: bool, all_groups: bool,
    config_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """List the group's dead letters, a line each, the newest last.

    The first columns say when a record was refused and where it lies among the dead letters, as
    `cxkpi dlq show` takes it. "redriven" says "sent" where redrive has sent the letter, and "2x"
    where the record had been sent twice before it was refused once more.
    """
    kafka = configuration(config_path, needs=("kafka",)).kafka
    wanted = _filter(outcomes, reason, since, until)
    newest, groups = Newest(limit), Counts()
    others = 0

    def take(letter: Letter, redriven: bool | None) -> None:
        nonlocal others
        if not (all_groups or letter.is_of(kafka.group)):
            others += 1
        elif counts:
            groups.add(letter)
        else:
            newest.add(letter, redriven=redriven)

    if _run(_look(kafka, topics, wanted, take, pending=pending)) is None:
        raise SystemExit(INTERRUPTED)
    if counts:
        tell_counts(groups, as_json=as_json)
    else:
        tell_list(newest, kafka.group, as_json=as_json)
    if others:
        say_others(others, "--all-groups shows them")


@dlq.command(short_help="Show one: the reason, the rule, the record with the field marked.")
@click.argument("where", nargs=-1, required=True, metavar="TOPIC/PARTITION/OFFSET")
@click.option("--raw", is_flag=True, help="Print the record's value alone, its bytes as they are.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(where: tuple[str, ...], *, raw: bool, config_path: Path | None, as_json: bool) -> None:
    r"""Show a dead letter: why it was refused, the rule, and the record with the field marked.

    Name it as `cxkpi dlq list` does, such as cx.visit/2/17, or in three words. With --raw it can
    be mended, put on one line and sent:
    cxkpi dlq show --raw cx.visit/2/17 | sed … | tr -d '\r\n' | cxkpi send -
    """
    kafka = configuration(config_path, needs=("kafka",)).kafka
    topic, partition, offset = _address(where, kafka.topic_prefix)
    found = _run(_find(kafka, topic, partition, offset))
    if found is None:
        raise SystemExit(INTERRUPTED)
    letter, redriven = found
    if raw:
        if letter.left_out:
            raise CommandFailed(
                f"{letter.name} does not hold the record, which was left out:"
                f" {escaped(letter.left_out)}; it lies in {letter.source}"
            )
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
    elif as_json:
        click.echo(safe_json(letter.full_row(redriven=redriven, rule=rule(letter))))
    else:
        tell_letter(letter, kafka.group, redriven=redriven)


@dlq.command(short_help="Send them again to where they came from, each once.")
@_filtered
@click.option("--yes", is_flag=True, help="Send them. Without it nothing is sent.")
@click.option(
    "--even-if-refused", is_flag=True, help="Send also what would be refused again today."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=MOST_ROUNDS,
    show_default=True,
    help="Leave records that were sent again N times.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Send at most N.")
@click.option(
    "--rate",
    type=Rate(),
    metavar="R",
    help="Records per second. [default: as fast as the broker takes them]",
)
@click.option(
    "--anew", is_flag=True, help="Forget what was sent from dead-letter topics since made anew."
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def redrive(
    topics: tuple[str, ...], outcomes: tuple[str, ...], reason: str, since: int | None,
    until: int | None, *, yes: bool, even_if_refused: bool, rounds: int, limit: int | None,
    rate: float | None, anew: bool, config_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Send dead letters again to their source topics, each to the partition it came from.

    Without --yes it says what it would do. Within a run letters of a partition, and so of a key,
    are sent in the order in which they were refused. Key, value and headers are those of the
    original, and no letter is sent twice, whatever ends a run. Letters of other groups are left to
    them. What today's rules would refuse again is left. Exit code 1: letters were left that nobody
    has sent, for that reason, another one or --limit.
    """
    from stream.kafka.redrive import MOST_RECORDS, Order, RedriveStopped

    if ALERT_TOPIC in topics:
        raise click.UsageError(f"{ALERT_TOPIC} is not sent again: all sinks would be told")
    if UNDELIVERED in outcomes:
        raise click.UsageError(
            f"what is {UNDELIVERED} lies in {ALERT_TOPIC}, which is not sent again: all sinks would"
            " be told"
        )
    kafka = configuration(config_path, needs=("kafka",)).kafka
    pace = Pace(rate)
    report = Report()
    order = Order(
        wanted=_filter(outcomes, reason, since, until),
        clock=now_ms,
        most_rounds=rounds,
        even_if_refused=even_if_refused,
        limit=limit,
        forget=anew,
        pace=pace.sent,
        batch=min(MOST_RECORDS, pace.slice),
    )
    began = time.monotonic()
    try:
        ended = _run(_send(kafka, topics, order, report, yes=yes))
    except CommandFailed as failed:
        # What was sent before it failed is sent.
        if isinstance(failed.__cause__, RedriveStopped) or (yes and report.sent):
            report.complete = False
            tell_report(report, time.monotonic() - began, executed=True, as_json=as_json)
        raise
    report.complete = report.complete and ended is not None
    tell_report(report, time.monotonic() - began, executed=yes, as_json=as_json)
    if ended is None:
        raise SystemExit(INTERRUPTED)
    if report.has_findings:
        raise SystemExit(1)


def _run(work: Coroutine[Any, Any, T]) -> T | None:
    """Run until done; None where a signal ended it. Raises CommandFailed."""
    # What it has to say of futures that nobody waits for any more, we have raised as one error.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    return run(work)


async def _look(
    kafka: KafkaConfig,
    topics: tuple[str, ...],
    wanted: Filter,
    take: Callable[[Letter, bool | None], None],
    *,
    pending: bool,
) -> bool:
    """Read all dead letters and hand over the wanted ones, with whether they were sent again."""
    from stream.kafka.letters import LetterReader

    async with LetterReader(kafka, topics) as reader:
        say_missing(reader.missing, reader.hidden)
        ledger = await _ledger(reader, is_needed=pending)
        with bar("Reading", reader.total) as advance:
            async for passed, letters in reader.batches(wanted.since):
                for letter in letters:
                    if wanted.wants(letter):
                        redriven = _sent(reader, ledger, letter)
                        if not pending or redriven is False:
                            take(letter, redriven)
                advance(passed, "")
    return True


async def _ledger(reader: LetterReader, *, is_needed: bool = False) -> Ledger | None:
    """What was sent of the letters that are there now; None where we may not know."""
    if not is_needed and not reader.knows_what_was_sent:
        say_unknown(reader.ledger_topic)
        return None
    ledger = await reader.ledger()
    for bounds in await reader.made_anew(ledger):
        ledger.forget(reader.names.dead_letters(bounds.topic), bounds.partition)
    return ledger


def _sent(reader: LetterReader, ledger: Ledger | None, letter: Letter) -> bool | None:
    """Whether a letter was sent again; None of another group's, whose ledger is not read."""
    if ledger is None or not letter.is_of(reader.names.group):
        return None
    return ledger.has(reader.names.dead_letters(letter.topic), letter.partition, letter.offset)


async def _find(
    kafka: KafkaConfig, topic: str, partition: int, offset: int
) -> tuple[Letter, bool | None]:
    """The letter at a place, and whether it was sent again."""
    from stream.kafka.letters import LetterReader, LettersUnusable

    async with LetterReader(kafka, [topic]) as reader:
        ledger = await _ledger(reader)
        bounds = next((b for b in reader.bounds if b.partition == partition), None)
        dead = reader.names.dead_letters(topic)
        if bounds is None:
            raise LettersUnusable(f"topic {dead} has {len(reader.bounds)} partitions, from 0 on")
        letter = await reader.at(bounds, offset)
        if letter is None:
            held = (
                f"holds offsets {bounds.first} to {bounds.end - 1}, some of them without a letter"
                if bounds.first < bounds.end
                else "is empty"
            )
            raise LettersUnusable(
                f"there is no dead letter {topic}/{partition}/{offset}: {dead} partition"
                f" {partition} {held}"
            )
        return letter, _sent(reader, ledger, letter)


def _address(where: tuple[str, ...], prefix: str) -> tuple[str, int, int]:
    """Topic, partition and offset.

    Raises:
        click.UsageError: the words name no place.
    """
    words = where[0].split("/") if len(where) == 1 else list(where)
    if len(words) != 3 or not all(_NUMBER.fullmatch(w) for w in words[1:]):
        raise click.UsageError("a dead letter is named TOPIC/PARTITION/OFFSET, as cx.visit/2/17")
    topic = (
        words[0]
        if words[0].removesuffix(".dlq") in _WITH_LETTERS
        else words[0].removeprefix(prefix)
    )
    return TopicName().convert(topic, None, None), int(words[1]), int(words[2])


async def _send(
    kafka: KafkaConfig, topics: tuple[str, ...], order: Order, report: Report, *, yes: bool
) -> bool:
    from stream.kafka.letters import LetterReader
    from stream.kafka.redrive import redrive as send_again
    from stream.kafka.redrive import rehearse

    async with LetterReader(kafka, topics) as reader:
        say_missing(reader.missing, reader.hidden)
        with bar("Sending" if yes else "Reading", reader.total) as advance:

            def progress(passed: int, report: Report) -> None:
                advance(passed, counted(report.sent.total(), "record"))

            order = replace(order, progress=progress)
            if yes:
                await send_again(kafka, reader, order, report)
            else:
                await rehearse(reader, order, report)
    return True
