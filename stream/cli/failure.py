"""How a command ends that can't do what it was asked for."""

from __future__ import annotations

import click


class CommandFailed(click.ClickException):
    """What a command was given, or what it needs, can't be used; one line, exit code 2."""

    exit_code = 2
