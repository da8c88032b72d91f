"""What the commands share that ask a broker: a client that is silent, and failures as one line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from stream.cli.failure import CommandFailed

T = TypeVar("T")


def silence_client() -> None:
    """Keep Kafka's client from logging: what it has to say stands in the error that is raised.

    It would be unformatted on standard error, once for each connection. That a login goes in the
    clear, ``cxkpi check`` says.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


def ask(work: Coroutine[Any, Any, T]) -> T:
    """What the work results in.

    Raises:
        CommandFailed: it can't be done; the message says why.
    """
    silence_client()
    try:
        return asyncio.run(work)
    except Exception as error:
        if not hasattr(error, "decision"):
            raise
        raise CommandFailed(str(error)) from error
