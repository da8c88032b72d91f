"""What ``replay`` and ``explain`` share: reading with a bar, ``--at``, and how they fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import click

from stream.cli.failure import CommandFailed
from stream.cli.progress import bar
from stream.cli.values import Moment
from stream.core.alerts.quantities import counted
from stream.core.timestamps import format_ms
from stream.replay.files import InputError, Reader
from stream.replay.run import Replay
from stream.replay.timeline import TooManyPoints


class _At(Moment):
    """A moment; a text that is none is told of in one line, as all that is wrong here."""

    def fail(
        self, message: str, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> NoReturn:
        """Raise ``CommandFailed``."""
        raise CommandFailed(f"--at {message}")


at_option = click.option(
    "--at", type=_At(), metavar="RFC3339", help="Time of the windows. [default: last event]"
)


@contextmanager
def opened(files: Sequence[str]) -> Iterator[Reader]:
    """Hold all files open.

    Raises:
        CommandFailed: one of them can't be opened.
    """
    try:
        reader = Reader(files)
    except InputError as error:
        raise CommandFailed(str(error)) from error
    with reader:
        yield reader


@contextmanager
def reading(reader: Reader, run: Replay, *, quiet: bool = False) -> Iterator[None]:
    """Feed all records to a run; the body comes after the last record, while the bar still stands.

    A bar on a terminal shows how far it is: the share of the bytes where that is known, the
    records, and the time that they have come to. ``quiet``: no bar, since rows go there.

    Raises:
        CommandFailed: a file can't be read, or the time line would be too long.
    """
    try:
        with bar("Reading", reader.size, shown=not quiet) as advance:
            records = 0
            for batch in reader.batches():
                run.feed(batch)
                records += len(batch.values)
                advance(reader.consumed, _said(records, run.now))
            yield
    except (InputError, TooManyPoints) as error:
        raise CommandFailed(str(error)) from error


def _said(records: int, now: int | None) -> str:
    return counted(records, "record") + ("" if now is None else f", {format_ms(now)[:16]}")


def outcomes_said(run: Replay) -> str:
    """How many records had each outcome. Valid ones after ``--at`` were left out and have none."""
    said = ", ".join(f"{n:,} {outcome}" for outcome, n in run.outcomes().items() if n)
    return said or ("no records" if run.at is None else f"no records up to {format_ms(run.at)}")
