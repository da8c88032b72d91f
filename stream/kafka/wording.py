"""What Kafka's client raises, in the words of a line: a right that is missing, and what to do.

By itself it names its own classes, and of many not even whose right is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.core.errors import DecidedError

#: What the client puts before the name of a group, or of a topic and its partition.
_BEFORE: Final = ("Unable to get coordinator id for ", "Unable to get offset info for ")
_TOO_LARGE: Final = (
    "a record batch is too large (raise max.message.bytes, of a worker's topics as `cxkpi check"
    " --state` says)"
)


def in_words(error: BaseException, to: str = "read") -> str:
    """What went wrong; ``to`` is what was to be done with a topic."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(in_words(each, to) for each in error.exceptions))
    if isinstance(error, DecidedError):
        return str(error)
    return missing_right(error, to) or (
        _TOO_LARGE if isinstance(error, MessageSizeTooLargeError) else repr(error)
    )


def missing_right(error: BaseException | None, to: str = "read") -> str | None:
    """Which right is missing, where that is what is wrong; ``to`` is as in ``in_words``.

    The client may say no more than that something unexpected has happened, and keep why as cause.
    """
    while isinstance(error, KafkaError):
        for kind, right in _RIGHTS.items():
            if isinstance(error, kind):
                return f"the right to {right(_named(error), to)} is missing"
        error = error.__cause__
    return None


def of_topics(names: list[str]) -> str:
    """The topics as they are named in a line."""
    return f"topic{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else "a topic"


def _of_group(names: list[str], _: str) -> str:
    return f"read group {names[0]}" if names else "read the group"


def _of_transactions(names: list[str], _: str) -> str:
    return f"describe and write transactional id {names[0] if names else ''}".rstrip()


_RIGHTS: Final[Mapping[type[KafkaError], Callable[[list[str], str], str]]] = {
    TopicAuthorizationFailedError: lambda names, to: f"{to} {of_topics(names)}",
    GroupAuthorizationFailedError: _of_group,
    TransactionalIdAuthorizationFailed: _of_transactions,
    # So a broker refuses an id to a producer who may write to no topic.
    ClusterAuthorizationFailedError: lambda *_: (
        "write to the topics, or to write idempotently to the cluster,"
    ),
}


def _named(error: KafkaError) -> list[str]:
    """What the client gives the error: a name, several, or a name within a sentence."""
    given: Any = error.args[0] if error.args else ()
    several = given if isinstance(given, set | frozenset | list | tuple) else [given]
    names = sorted(map(str, several))
    for start in _BEFORE:
        names = [name.removeprefix(start) for name in names]
    return names


class InWords:
    """An error for a line of a log; what is said again and again is told apart by the error."""

    def __init__(self, error: BaseException, to: str = "read") -> None:
        self.error = error
        self._to = to

    def __str__(self) -> str:
        """As ``in_words``."""
        return in_words(self.error, self._to)
