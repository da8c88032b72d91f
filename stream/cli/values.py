"""Values of options that several commands read: durations, moments, rates and names."""

from __future__ import annotations

import math
from typing import Final

import click

from stream.config import durations
from stream.core.event import Refused
from stream.core.timestamps import parse


class Duration(click.ParamType):
    """A duration such as ``90s`` or ``1h``, in ms; from ``least_ms`` to ``most_ms``."""

    name = "duration"

    def __init__(self, least_ms: int = 0, most_ms: int | None = None) -> None:
        self._least_ms = least_ms
        self._most_ms = most_ms

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds; a usage error where the text is no duration, too short or too long."""
        if isinstance(value, int):
            return value
        try:
            milliseconds = durations.parse(str(value))
        except ValueError as error:
            if str(value).isdecimal():
                self.fail(f"{str(value)!r} lacks a unit, such as {value}s for seconds", param, ctx)
            self.fail(f"{str(value)!r} {error}", param, ctx)
        least = durations.label(self._least_ms)
        if self._most_ms is not None and not self._least_ms <= milliseconds <= self._most_ms:
            most = durations.label(self._most_ms)
            self.fail(f"{str(value)!r} is not in the range {least} to {most}", param, ctx)
        if milliseconds < self._least_ms:
            self.fail(f"{str(value)!r} is too short: at least {least}", param, ctx)
        return milliseconds


#: A rate may be from one in a quarter of an hour to more than any broker takes, per second.
LEAST_RATE: Final = 0.001
MOST_RATE: Final = 1_000_000


class Rate(click.FloatRange):
    """How many per second: a number from ``least`` to ``most``."""

    def __init__(self, least: float = LEAST_RATE, most: float = MOST_RATE) -> None:
        super().__init__(least, most)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The rate; a usage error where the text is no number or out of range."""
        rate = float(super().convert(value, param, ctx))
        if math.isnan(rate):  # It is neither below nor above anything.
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return rate


class Named(click.ParamType):
    """A text that names something, so that there is more of it than blanks."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The text as it is; a usage error where it is empty or blank."""
        text = str(value)
        if not text.strip():
            self.fail(f"{text!r} names nothing", param, ctx)
        return text


class Moment(click.ParamType):
    """An RFC 3339 date-time, in ms since the epoch."""

    name = "rfc3339"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Milliseconds; a usage error where the text is no date-time."""
        if isinstance(value, int):
            return value
        try:
            return parse(str(value))
        except Refused as error:
            self.fail(f"{str(value)!r} {error}", param, ctx)
