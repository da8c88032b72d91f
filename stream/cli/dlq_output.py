"""What ``cxkpi dlq`` prints: fit for a terminal whatever the records hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from stream.core.alerts.quantities import counted
from stream.core.escape import escaped, safe_json, width
from stream.core.timestamps import format_ms
from stream.deadletters.headers import UNDELIVERED
from stream.deadletters.letter import Letter
from stream.deadletters.listing import Counts, Listed, Newest
from stream.deadletters.marking import caret, has_mark, marked
from stream.deadletters.redrive import LEFT, Report
from stream.deadletters.rules import rule

#: In a list a key takes at most so many characters; `show` has all of it.
_LONGEST_KEY: Final = 40
_LONGEST_FIELD: Final = 40
_REASONS: Final = 5
_LIST: Final = (
    "refused", "dead letter", "source", "outcome", "redriven", "group", "field", "reason", "key",
)  # fmt: skip
_COUNTS: Final = ("count", "topic", "outcome", "first", "last", "field", "reason")
#: On a narrow terminal these columns are cut, in this order, to so many characters at least …
_GIVING: Final = {"key": 8, "reason": 30, "field": 14}
#: … and if that is not enough, these are left out: `show` has them.
_LEAST_NEEDED: Final = ("source", "key", "redriven", "first")


def say_missing(missing: Sequence[str], hidden: Sequence[str]) -> None:
    """Name dead-letter topics that do not exist or are hidden from us, on standard error."""
    if missing:
        click.echo(f"not there: {', '.join(missing)}", err=True)
    if hidden:
        click.echo(f"left out, as the right to describe is missing: {', '.join(hidden)}", err=True)


def say_unknown(ledger: str) -> None:
    """Say on standard error why it is not told which letters were sent again."""
    click.echo(
        f"which were sent again is not known: the right to describe {ledger} is missing", err=True
    )


def say_others(count: int, more: str) -> None:
    """How many letters of other groups were left alone, on standard error."""
    click.echo(f"{counted(count, 'dead letter')} of other groups left alone; {more}", err=True)


def tell_list(newest: Newest, group: str, *, as_json: bool) -> None:
    """The newest letters, and how many there are; those of other groups than ``group`` named so."""
    letters = newest.letters()
    if as_json:
        click.echo(safe_json([x.letter.row(redriven=x.redriven) for x in letters]))
    else:
        _table(*_without_empty(_LIST, [_cells(listed, group) for listed in letters]))
    if newest.seen > len(letters):
        click.echo(
            f"the newest {len(letters):,} of {newest.seen:,} dead letters; --limit shows more",
            err=True,
        )
    elif not as_json:
        click.echo(counted(newest.seen, "dead letter"), err=True)


def _without_empty(
    names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The columns that say anything."""
    kept = [i for i, name in enumerate(names) if any(row[i] for row in rows)]
    return [names[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _cells(listed: Listed, group: str) -> tuple[str, ...]:
    letter = listed.letter
    return (
        _second(letter.at),
        letter.name,
        "?" if letter.source_offset is None else f"{letter.target}/{letter.source_offset}",
        escaped(letter.outcome, 20),
        _redriven(letter, listed.redriven),
        "" if letter.is_of(group) else escaped(letter.group, _LONGEST_KEY),
        escaped(letter.field, _LONGEST_FIELD),
        escaped(letter.reason),
        "-" if letter.key is None else escaped(letter.key, _LONGEST_KEY),
    )


def _redriven(letter: Letter, sent: bool | None) -> str:
    parts = [f"{letter.rounds}x"] if letter.rounds else []
    return ",".join([*parts, *(["sent"] if sent else [])])


def tell_counts(counts: Counts, *, as_json: bool) -> None:
    """Letters by what is wrong, those with most letters first."""
    if as_json:
        click.echo(safe_json(counts.rows()))
        return
    rows = []
    for group, tally in counts.groups():
        topic, outcome, field, reason = group or ("other", "", "", "")
        rows.append(
            (
                f"{tally.count:,}",
                topic,
                escaped(outcome, 20),
                _second(tally.first),
                _second(tally.last),
                escaped(field, _LONGEST_FIELD),
                escaped(reason),
            )
        )
    _table(_COUNTS, rows)
    click.echo(counted(counts.total, "dead letter"), err=True)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A line a row, its columns below each other; on a terminal no wider than that."""
    if not rows:
        return
    console = Console()
    widths = _widths(names, rows)
    if console.is_terminal:
        for spare in ("", *_LEAST_NEEDED):
            if spare in names:
                kept = [i for i, name in enumerate(names) if name != spare]
                names, rows = [names[i] for i in kept], [[row[i] for i in kept] for row in rows]
            widths = _cut(names, _widths(names, rows), console.width)
            if sum(widths) + 2 * (len(widths) - 1) <= console.width:
                break
    for number, row in enumerate([names, *rows]):
        line = "  ".join(_fitted(cell, w) for cell, w in zip(row, widths, strict=True)).rstrip()
        if console.is_terminal:
            text = Text(line, style="bold" if number == 0 else "", no_wrap=True)
            console.print(text, highlight=False, overflow="ellipsis", no_wrap=True)
        else:
            click.echo(line)


def _widths(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(width, column)) for column in zip(names, *rows, strict=True)]


def _cut(names: Sequence[str], widths: list[int], columns: int) -> list[int]:
    """The widths, where columns that may be cut have given what is too much."""
    over = sum(widths) + 2 * (len(widths) - 1) - columns
    for name, least in _GIVING.items():
        if name in names and over > 0:
            place = names.index(name)
            cut = min(over, max(0, widths[place] - least))
            widths[place] -= cut
            over -= cut
    return widths


def _fitted(cell: str, columns: int) -> str:
    if width(cell) > columns:
        while width(cell) > columns - 1:
            cell = cell[: columns - 1] if len(cell) >= columns else cell[:-1]
        cell += "…"
    return cell + " " * (columns - width(cell))


def tell_letter(letter: Letter, group: str, *, redriven: bool | None) -> None:
    """A letter: why it was refused, the rule, and the record with the field marked.

    Of one of another group than ``group`` that is said.
    """
    console = Console()
    said = [
        ("dead letter", letter.name),
        ("outcome", f"{escaped(letter.outcome)}, {format_ms(letter.at)}"),
        ("field", escaped(letter.field)),
        ("reason", escaped(letter.reason)),
        ("rule", escaped(rule(letter), None)),
        ("source", letter.source),
        ("group", "" if letter.is_of(group) else f"{escaped(letter.group)}, another one"),
        ("key", "" if letter.left_out else _key(letter)),
        ("redriven", _history(letter, redriven)),
        *(("header", f"{escaped(n)} = {escaped(v)}") for n, v in letter.own_headers()),
    ]
    for name, text in said:
        if text:
            _say(console, Text.assemble((f"{name:<11}  ", "bold"), text))
    if letter.left_out:
        said_of_it = f"left out: {escaped(letter.left_out)}; it lies in {letter.source}"
        _say(console, Text.assemble(("record       ", "bold"), said_of_it))
        return
    size = 0 if letter.value is None else len(letter.value)
    _say(console, Text.assemble(("record       ", "bold"), counted(size, "byte")))
    # What could not be delivered has nothing wrong in it: its field names the sink.
    is_refused = letter.outcome != UNDELIVERED
    lines = marked(letter.value, letter.field if is_refused else "$", letter.reason)
    for line in lines:
        _say(console, Text(f"  {line.text}"))
        if line.length and is_refused:
            _say(console, Text(f"  {caret(line, letter.reason)}", style="bold red"))
    if lines and not has_mark(lines) and letter.value and is_refused:
        _say(console, Text(f"  ^ {escaped(letter.reason)}", style="bold red"))


def _key(letter: Letter) -> str:
    return "none" if letter.key is None else escaped(letter.key)


def _history(letter: Letter, redriven: bool | None) -> str:
    parts = [f"{counted(letter.rounds, 'time')} before it came here"] if letter.rounds else []
    return ", ".join([*parts, *(["this letter was sent again"] if redriven else [])])


def _say(console: Console, text: Text) -> None:
    if console.is_terminal:
        console.print(text, highlight=False, soft_wrap=True)
    else:
        click.echo(text.plain)


def tell_report(report: Report, seconds: float, *, executed: bool, as_json: bool) -> None:
    """What was sent, or would be, where to, and what was left and why."""
    if as_json:
        click.echo(safe_json(report.as_dict(executed=executed)))
        return
    rows = [
        (f"{n:,}", topic, str(partition)) for (topic, partition), n in sorted(report.sent.items())
    ]
    _table(("records", "to topic", "partition"), rows)
    for (topic, verdict), n in sorted(report.left.items()):
        click.echo(f"{counted(n, 'record')} left, {topic}: {LEFT[verdict]}", err=True)
    for name, source in report.left_out[:_REASONS]:
        click.echo(f"  {name} lies in {source}", err=True)
    if (more := report.left_by("left out") - _REASONS) > 0:
        click.echo(f"  and {more:,} more, which `cxkpi dlq show` tells of", err=True)
    groups = list(report.refused.groups())
    for group, tally in groups[:_REASONS]:
        why = "other reasons"
        if group is not None:
            why = f"{escaped(group.field, _LONGEST_FIELD)}: {escaped(group.reason)}"
        click.echo(f"  {tally.count:,} x {why}", err=True)
    if len(groups) > _REASONS:
        click.echo(f"  and {counted(len(groups) - _REASONS, 'more reason')}", err=True)
    if not executed and report.left_by("refused"):
        click.echo("  (--even-if-refused sends them all the same)", err=True)
    if report.others:
        say_others(report.others, "`cxkpi dlq list --all-groups` shows them")
    n = report.sent.total()
    end = "" if report.complete else ", and more are left"
    if executed:
        click.echo(f"{counted(n, 'record')} sent again in {seconds:.1f} s{end}", err=True)
    elif n:
        would = f"--yes sends {counted(n, 'record')}{end}"
        click.echo(f"dry run: nothing was sent; {would}", err=True)
    else:
        click.echo("dry run: there is nothing to send", err=True)


def _second(at: int) -> str:
    """A time without its milliseconds, which would cost a narrow terminal the reason."""
    return f"{format_ms(at)[:-5]}Z"
