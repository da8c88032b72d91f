"""Which failures pass by themselves: those of brokers, of the network and of Kafka's client.

Whoever tries again without end asks here first. What is none of them is a mistake in the product,
and trying again would only hide it.
"""

from __future__ import annotations

import traceback
from typing import Final

from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalArgumentError,
    IllegalOperation,
    InvalidTransactionTimeout,
    KafkaConfigurationError,
    KafkaError,
)

from stream.core.errors import DecidedError, RetryError

#: What no broker takes before the configuration is another one. A right that is missing is not
#: among it: it can be granted meanwhile. Nor are errors that Kafka does not call retriable, such as
#: a fenced producer: what is tried again is never the same request, but a take-over from the log.
_LASTING: Final = (KafkaConfigurationError, IllegalArgumentError, InvalidTransactionTimeout)
_PASSING: Final = (KafkaError, ConsumerStoppedError, IllegalOperation, OSError)
_CLIENTS: Final = frozenset({"aiokafka", "faust", "mode"})
_OURS: Final = "stream"


def is_transient(error: BaseException) -> bool:
    """Whether trying again may go well.

    Errors of our own say so themselves.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_transient, error.exceptions))
    if isinstance(error, DecidedError):
        return isinstance(error, RetryError)
    if isinstance(error, _PASSING):
        return not isinstance(error, _LASTING)
    return isinstance(error, Exception) and _is_of_a_client(error)


def _is_of_a_client(error: Exception) -> bool:
    """Whether Kafka's client or Faust raised it, and not code of ours that they may have called.

    When a producer is fenced, a connection ends or a rebalance begins at the wrong moment, aiokafka
    fails by its own assertions, or with a KeyError: nobody knows all of them, and they pass.
    """
    modules = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    known = [module for module in modules if module == _OURS or module in _CLIENTS]
    return bool(known) and known[-1] in _CLIENTS
