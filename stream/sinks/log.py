"""The log: one line per change on standard error, JSON unless it is a terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TextIO

import msgspec
import structlog

from stream.core.alerts import Change
from stream.core.text import printable
from stream.sinks.sink import SinkSettings

#: Log levels of firing alerts by severity; other severities are warnings.
LEVELS = {"info": logging.INFO, "critical": logging.ERROR}


class Log:
    """Writes each change as one line."""

    def __init__(self, settings: SinkSettings, stream: TextIO | None = None) -> None:
        self._name = settings.name
        self._stream = stream

    async def deliver(self, change: Change) -> None:
        """Write the line."""
        level = LEVELS.get(change.severity, logging.WARNING)
        if change.to == "resolved":
            level = logging.INFO
        # Looked up now, so that whoever redirects standard error gets the line.
        stream = self._stream or sys.stderr
        console = stream.isatty()
        _logger(stream, console=console).log(
            level,
            printable(f"{change.rule} {change.to}: {change.explanation}"),
            sink=self._name,
            **(
                {"severity": printable(change.severity)}
                if console
                else {"alert": msgspec.to_builtins(change)}
            ),
        )

    async def close(self) -> None:
        """There is nothing to close: standard error is not ours."""


def _is_coloured() -> bool:
    """Whether a terminal is to have colours, by the conventions of no-color.org and terminfo."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def _logger(stream: TextIO, *, console: bool) -> Any:
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=_is_coloured())
        if console
        else structlog.processors.JSONRenderer()
    )
    return structlog.wrap_logger(
        structlog.PrintLogger(stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        context_class=dict,
        cache_logger_on_first_use=False,
    )
