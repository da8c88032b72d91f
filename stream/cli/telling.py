"""What is said on standard error, which nobody may read any more."""

from __future__ import annotations

import os
import sys

import click


def tell(text: str) -> None:
    """Say a line; where nobody reads, the work goes on as well."""
    try:
        click.echo(text, err=True)
    except BrokenPipeError:
        let_go_of_output(2)
    except OSError:
        pass  # Of a disk that is full, which may have room again.


def let_go_of_the_unsaid() -> None:
    """At the end: what standard error did not take must not make another exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        let_go_of_output(2)


def let_go_of_output(descriptor: int = 1) -> None:
    """What is still held back for standard output can't be written either, and must not fail.

    ``descriptor``: 2 for standard error.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def have_standard_outputs() -> None:
    """Have both where they were closed: the first file or connection would take their number.

    What is printed is lost then, as whoever closed them wanted.
    """
    if sys.stdout is None:
        let_go_of_output(1)
        sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - to the end
    if sys.stderr is None:
        let_go_of_output(2)
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - to the end
