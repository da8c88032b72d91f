"""How far a command is, shown on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def bar(
    what: str, total: int | None, *, shown: bool = True, time_left: bool = False
) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on a terminal; call it with how much is done and what to say of it.

    ``total`` is None where nobody knows it. ``shown``: whether there is a bar at all.
    ``time_left``: show how long it may take still, instead of how long it has taken.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn() if time_left else TimeElapsedColumn(),
    )
    is_off = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=is_off) as progress:
        task = progress.add_task(what, total=total, said="")
        yield lambda done, said: progress.update(task, completed=done, said=said)
