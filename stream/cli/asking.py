"""What the commands share that ask a broker: a client that is silent, and failures as one line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from stream.cli.failure import CommandFailed
from stream.core.errors import DecidedError

T = TypeVar("T")


@contextmanager
def said_in_one_line() -> Iterator[None]:
    """Have what goes wrong be the command's one line, where it was meant to be told.

    Kafka's client is silent: what it has to say stands in the error that is raised. It would be
    unformatted on standard error, once for each connection. That a login goes in the clear,
    ``cxkpi check`` says.

    Raises:
        CommandFailed: in place of an error of the product's own.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    try:
        yield
    except DecidedError as error:
        raise CommandFailed.of(error) from error


def ask(work: Coroutine[Any, Any, T]) -> T:
    """What the work results in.

    Raises:
        CommandFailed: it can't be done; the message says why.
    """
    with said_in_one_line():
        return asyncio.run(work)
