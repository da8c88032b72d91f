"""Keeps logs readable: what is said at each of many tries, and by Kafka's clients of a rebalance.

Of a broker that is away these say the same many times a second, of a rebalance what sounds like a
failure.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError

from stream.kafka.wording import InWords

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
#: Clients that say the same again and again. Faust does so in the name of our transport, too.
_REPETITIVE: Final = ("aiokafka", "faust", "mode", "stream.kafka.transport")
#: What a line of ours is given as its ``extra`` that is written at each of many tries.
EACH_TRY: Final[Mapping[str, object]] = {"is_of_each_try": True}
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
#: What the event loop says of a connection that it can't take, up to 128 times each second, each
#: with a traceback.
_NOT_TAKEN: Final = "socket.accept() out of system resource"
#: What Faust says when the machine is so busy that a thread was not asked for some seconds, or that
#: one of its own timers is late, and of rebalances that overlap, which nobody measures here.
_FAUST_USUAL: Final = (
    "Thread keepalive is not responding...",
    "Timer %s is overlapping (interval=%r runtime=%r)",
    "Missing sensor state for rebalance #%s",
    "Missing sensor state for rebalance end #%s",
)


def tidy(handler: logging.Handler) -> None:
    """Have a handler write less of what Kafka's client and Faust say, and we at each try."""
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
        if record.name == "asyncio" and str(record.msg).startswith(_NOT_TAKEN):
            _say_not_taken(record)
        return _relabel(record, logging.INFO) if _is_usual(record) else True


class SparseRepeats(logging.Filter):
    """Lets each message of some loggers and their children pass once a minute, and of each try.

    Messages are the same where their texts before formatting are, and all those are in which
    Kafka's client says that a connection is lost. Those of each try are others where they name
    something else, or another kind of error. The next one that passes says how many were left out.
    """

    def __init__(self, *loggers: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._loggers = tuple(f"{name}." for name in loggers)
        self._clock = clock
        #: When a message passed last, and how many were left out since.
        self._passed: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record."""
        if not _is_of_each_try(record) and not f"{record.name}.".startswith(self._loggers):
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


def _say_not_taken(record: logging.LogRecord) -> None:
    failed = record.exc_info[1] if record.exc_info else None
    hint = "; see ulimit -n" if getattr(failed, "errno", None) == errno.EMFILE else ""
    record.msg, record.args = f"no connection to the pages is taken: %s{hint}", (failed,)
    record.exc_info = record.exc_text = None
    vars(record).update(EACH_TRY)


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


def _is_of_each_try(record: logging.LogRecord) -> bool:
    return EACH_TRY.items() <= vars(record).items()


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    # Unlike the message itself this can't fail, which would strike whoever wanted to log it.
    if _is_of_each_try(record):
        return record.name, str(record.msg), *map(_named, _args(record))
    return ("", "lost") if _says_lost(record) else (record.name, str(record.msg))


def _named(arg: object) -> object:
    """What makes another message: neither which of many shards it is, nor what an error says."""
    arg = arg.error if isinstance(arg, InWords) else arg
    cause = arg.__cause__ if isinstance(arg, BaseException) else None
    return arg if isinstance(arg, str) else (type(arg), type(cause))


def _is_loss(record: logging.LogRecord) -> bool:
    """Whether Kafka's client calls a lost connection an error."""
    is_client = f"{record.name}.".startswith("aiokafka.")
    return is_client and record.levelno == logging.ERROR and _says_lost(record)


def _says_lost(record: logging.LogRecord) -> bool:
    said = f"{record.msg} {record.args}"
    return any(words in said for words in _LOST)
