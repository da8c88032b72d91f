"""What becomes of the work when something fails: every error of the product's own says it.

Who catches one need not know what went wrong, only which of the three it is. Errors of libraries
don't say; whether one of Kafka's client passes is known in ``stream.kafka.transient`` alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: What msgspec raises where a document can't be read: the latter two it lets through from below.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class DecidedError(Exception):
    """An error that carries the decision; the message is one line, for whoever must act."""

    #: What someone at a terminal can do about it, half a sentence. A worker's log, which tells of
    #: outages that pass, leaves it out.
    remedy: str = ""


class StopError(DecidedError):
    """Going on would be wrong or of no use: the command or the worker ends with the message."""


class RetryError(DecidedError):
    """It may pass: the same is tried again later."""


class DeadLetterError(DecidedError):
    """This one thing is put aside with its reason, and the work goes on with the next."""
