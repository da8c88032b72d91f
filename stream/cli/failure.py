"""How a command ends that can't do what it was asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Self

import click

from stream.core.errors import DecidedError


class CommandFailed(click.ClickException):
    """What a command was given, or what it needs, can't be used; one line, exit code 2."""

    exit_code = 2

    @classmethod
    def of(cls, error: DecidedError) -> Self:
        """What the error says, and what can be done about it where it knows that."""
        return cls(f"{error}; {error.remedy}" if error.remedy else str(error))

    def show(self, file: Any = None) -> None:
        """Write the message to standard error."""
        with suppress(BrokenPipeError):  # The exit code says it, too.
            super().show(file)


class Problems(CommandFailed):
    """What a command was given can't be used: every problem on a line of its own, exit code 2."""

    def show(self, file: Any = None) -> None:
        """Write the problems to standard error."""
        with suppress(BrokenPipeError):
            click.echo(self.message, file=file, err=file is None)
