"""Groups of commands whose modules are imported when they are called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Lazy(click.Group):
    """Imports a subcommand's module when it is wanted, so that help and errors come at once.

    ``catalogue`` holds the subcommands in the order of the help, with the line that it shows. The
    command ``name`` is the attribute ``name`` of the module ``modules`` + ``name``.
    """

    def __init__(
        self, *args: Any, catalogue: Mapping[str, str], modules: str, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._catalogue = catalogue
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All subcommands, in the order of the catalogue."""
        return list(self._catalogue)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand's click command, or None where there is none of the name."""
        if cmd_name not in self._catalogue:
            return None
        command = getattr(import_module(self._modules + cmd_name), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._catalogue.items()))
