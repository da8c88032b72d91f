"""Keeps logs readable: what Kafka's clients say of a broker that is away, and of a rebalance.

Of the former they say the same many times a second, of the latter what sounds like a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError

_EVERY_SECONDS: Final = 60.0
_MOST_MESSAGES: Final = 1_000
#: What the client says of one connection that is lost, in a dozen places at once.
_LOST: Final = (
    "KafkaConnectionError",
    "NodeNotReadyError",
    "GroupCoordinatorNotAvailableError",
    "Unable to update metadata",
    "Unable connect to node",
    "Marking the coordinator dead",
    "marking coordinator dead",
    "is either not started or not valid",
)
#: Who says the same again and again. Our transport does of a partition that can't be fetched, and
#: the registry of values while it can't be read.
_REPETITIVE: Final = (
    *("aiokafka", "faust", "mode"),
    *("stream.kafka.transport", "stream.kafka.registry"),
)
#: What the client warns of whenever the group rebalances as it should. Where a worker has lost its
#: place in the group, or the group its coordinator, it says so in other words.
_USUAL: Final = "Heartbeat failed for group %s because it is rebalancing"
#: And of positions that it commits for tools while the group rebalances: those of the generation
#: before are refused. It says the same of a member that the group does not know any more.
_UNCOMMITTED: Final = "OffsetCommit failed for group %s due to group error (%s), will rejoin"
_BETWEEN_GENERATIONS: Final = (IllegalGenerationError, RebalanceInProgressError)
#: Who says of a transaction that it has failed, mostly with a traceback. Its writer says why.
_SENDER: Final = "aiokafka.producer.sender"
#: What is said of a client that was ended while it was connecting.
_UNCLOSED: Final = "Unclosed AIOKafka"
#: And of a commit that nobody waits for any more when it fails: positions are committed for tools.
_UNHEARD: Final = "Task exception was never retrieved"
_COMMIT: Final = "GroupCoordinator._do_commit_offsets"
#: What Faust says when the machine is so busy that a thread was not asked for some seconds, or that
#: one of its own timers is late, and of rebalances that overlap, which nobody measures here.
_FAUST_USUAL: Final = (
    "Thread keepalive is not responding...",
    "Timer %s is overlapping (interval=%r runtime=%r)",
    "Missing sensor state for rebalance #%s",
    "Missing sensor state for rebalance end #%s",
)


def tidy(handler: logging.Handler) -> None:
    """Have a handler write less of what Kafka's client and Faust say, and our transport of them."""
    handler.addFilter(UsualAsInformation())
    handler.addFilter(SparseRepeats(*_REPETITIVE))


class UsualAsInformation(logging.Filter):
    """Makes information of what is no fault, and leaves it out where none is wanted."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if _is_loss(record):
            # We say ourselves, once, that no broker answers; it is no failure of the worker.
            _relabel(record, logging.WARNING)
        if record.name == _SENDER and _is_of_a_broker(record):
            _relabel(record, logging.WARNING)
            _leave_out_traceback(record)
        if record.name == "asyncio" and _is_left_behind(record):
            return _relabel(record, logging.DEBUG)
        return _relabel(record, logging.INFO) if _is_usual(record) else True


class SparseRepeats(logging.Filter):
    """Lets each message of some loggers and their children pass once a minute.

    Messages are the same where their texts before formatting are, and all those are that a lost
    connection brings about. The next one that passes says how many were left out.
    """

    def __init__(self, *loggers: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._loggers = tuple(f"{name}." for name in loggers)
        self._clock = clock
        #: When a message passed last, and how many were left out since.
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if not f"{record.name}.".startswith(self._loggers):
            return True
        key, now = _key(record), self._clock()
        passed, left_out = self._passed.get(key, (-_EVERY_SECONDS, 0))
        if now - passed < _EVERY_SECONDS:
            self._passed[key] = (passed, left_out + 1)
            return False
        if len(self._passed) >= _MOST_MESSAGES:
            self._passed.clear()
        self._passed[key] = (now, 0)
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} more like this)"
            record.args = None
        return True


def _is_usual(record: logging.LogRecord) -> bool:
    """Whether this is said of what goes as it should."""
    if record.msg == _UNCOMMITTED:
        return any(isinstance(arg, _BETWEEN_GENERATIONS) for arg in _args(record))
    return record.msg == _USUAL or str(record.msg).endswith(_FAUST_USUAL)


def _is_left_behind(record: logging.LogRecord) -> bool:
    """Whether this is of what the client was told to let go of."""
    message = str(record.msg)
    is_commit = message.startswith(_UNHEARD) and _COMMIT in message and _is_of_a_broker(record)
    return message.startswith(_UNCLOSED) or is_commit


def _is_of_a_broker(record: logging.LogRecord) -> bool:
    """Whether an error is none of the client's own."""
    failed = record.exc_info[1] if record.exc_info else None
    return record.levelno == logging.ERROR and (failed is None or isinstance(failed, KafkaError))


def _relabel(record: logging.LogRecord, level: int) -> bool:
    """Give a record another level; whether its logger writes that."""
    record.levelno, record.levelname = level, logging.getLevelName(level)
    return logging.getLogger(record.name).isEnabledFor(level)


def _leave_out_traceback(record: logging.LogRecord) -> None:
    if record.exc_info:
        record.msg, record.args = f"{record.msg}: %r", (*_args(record), record.exc_info[1])
        record.exc_info = record.exc_text = None


def _args(record: logging.LogRecord) -> tuple[object, ...]:
    return record.args if isinstance(record.args, tuple) else ()


def _key(record: logging.LogRecord) -> tuple[str, str]:
    # Unlike the message itself this can't fail, which would strike whoever wanted to log it.
    if _says_lost(record):
        return "", "lost"
    return record.name, str(record.msg)


def _is_loss(record: logging.LogRecord) -> bool:
    """Whether Kafka's client calls a lost connection an error."""
    is_client = f"{record.name}.".startswith("aiokafka.")
    return is_client and record.levelno == logging.ERROR and _says_lost(record)


def _says_lost(record: logging.LogRecord) -> bool:
    said = f"{record.msg} {record.args}"
    return any(words in said for words in _LOST)
