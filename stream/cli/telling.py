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


def let_go_of_output(descriptor: int = 1) -> None:
    """What is still held back for standard output can't be written either, and must not fail.

    ``descriptor``: 2 for standard error.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def have_standard_error() -> None:
    """Have one where it was closed: the first file or connection would take its number."""
    if sys.stderr is None:
        let_go_of_output(2)
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - to the end
