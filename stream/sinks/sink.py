"""What a sink is, what it needs to know, and how it says that a delivery failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from stream.core.alerts import Change
from stream.core.errors import DeadLetterError, DecidedError, RetryError, StopError


class SinkError(DecidedError):
    """A delivery failed; the message says why, without addresses or secrets."""


class Retry(SinkError, RetryError):
    """It may work later; ``after`` is the number of seconds the receiver asked for, if it did."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Rejected(SinkError, DeadLetterError):
    """The receiver will never take this change."""


class UnknownSink(SinkError, StopError):
    """There is no sink of this type, or it lacks what it needs."""


class Secret(Protocol):
    """A text that doesn't show itself."""

    def get_secret_value(self) -> str:
        """The text."""


class SinkSettings(Protocol):
    """A sink's configuration, whatever reads it. Times are in ms."""

    @property
    def type(self) -> str:
        """The kind of sink, a key of the catalogue."""

    @property
    def name(self) -> str:
        """What logs and metrics call this sink; unique."""

    @property
    def endpoint(self) -> Secret | None:
        """The address, for sinks that have one."""

    @property
    def secret(self) -> Secret | None:
        """The signing key or token."""

    @property
    def timeout_ms(self) -> int:
        """How long one try may take."""

    @property
    def retry_for_ms(self) -> int:
        """How long a change is tried again before it is given up; 0: one try."""

    @property
    def refresh_ms(self) -> int:
        """How often what fires is told again, for sinks that forget it otherwise."""


class Sink(Protocol):
    """Takes changes, one at a time and in order."""

    async def deliver(self, change: Change) -> None:
        """Hand over a change. The same change may come again; its id tells.

        Raises:
            Retry: it may work later.
            Rejected: it never will.
        """

    async def close(self) -> None:
        """Give back connections; a delivery after that opens new ones: its turn may come again."""


@runtime_checkable
class Refreshed(Sink, Protocol):
    """A sink whose receiver forgets what fires unless it is told again and again."""

    @property
    def refresh_ms(self) -> int:
        """How often, in ms."""

    async def keep(self, firing: Iterable[Change]) -> bool:
        """Tell what fires; ``firing`` is gone through once no delivery is underway.

        Returns whether there was anything to tell: else the receiver was not asked.

        Raises:
            Retry, Rejected: not all was told.
        """
