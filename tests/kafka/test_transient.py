"""What is tried again, and what is a mistake that trying again would only hide."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable, Iterator

import pytest
from aiokafka import TopicPartition, errors
from aiokafka.consumer.subscription_state import SubscriptionState

from stream.core.state import StateRefused
from stream.kafka.administration import TopicsUnfit
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, LogUnread
from stream.kafka.shares import SharesUnread
from stream.kafka.transient import is_transient
from stream.kafka.transport import Chunk

TP = TopicPartition("cx.visit", 0)
#: What only another configuration mends.
LASTING = {
    errors.IllegalArgumentError,
    errors.InvalidTransactionTimeout,
    errors.KafkaConfigurationError,
}


def errors_of_the_client() -> Iterator[type[Exception]]:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, Exception) and kind not in LASTING:
            yield kind


@pytest.mark.parametrize("kind", list(errors_of_the_client()))
def test_whatever_brokers_or_the_client_say_is_tried_again(kind: type[Exception]) -> None:
    """Also a fence, which Kafka does not call retriable: the next try is a take-over anew."""
    assert is_transient(kind())


@pytest.mark.parametrize("kind", sorted(LASTING, key=str))
def test_what_only_another_configuration_mends_is_not(kind: type[Exception]) -> None:
    assert not is_transient(kind())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("no route"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ssl.SSLError("unknown"), True),
        (BrokerUnreachable("away"), True),
        (FlushFailed("fenced"), True),
        (LogUnread("away"), True),
        (SharesUnread("away"), True),
        (StateRefused("damaged"), False),
        (TopicsUnfit("gone"), False),
        (TypeError("int"), False),
        (KeyError("key"), False),
        (AttributeError("none"), False),
        (AssertionError(), False),
        (ValueError("value"), False),
        (ZeroDivisionError(), False),
        (MemoryError(), False),
        (KeyboardInterrupt(), False),
        (ExceptionGroup("lanes", [OSError(), TimeoutError()]), True),
        (ExceptionGroup("lanes", [OSError(), KeyError("key")]), False),
    ],
)
def test_errors_of_the_network_pass_mistakes_do_not_and_ours_say_so_themselves(
    error: BaseException, expected: bool
) -> None:
    assert is_transient(error) == expected


def raised(work: Callable[[], object]) -> Exception:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it.
        return error
    raise AssertionError("nothing was raised")


def within(module: str, work: Callable[[], object]) -> Callable[[], object]:
    """``work`` as a function of that module calls it."""
    space: dict[str, Callable[[Callable[[], object]], object]] = {"__name__": module}  # type: ignore[dict-item]
    exec("def call(work):\n    return work()", space)
    return lambda: space["call"](work)


async def test_what_the_client_asserts_itself_when_a_rebalance_comes_in_between_passes() -> None:
    error = raised(lambda: SubscriptionState().seek(TP, 0))
    assert isinstance(error, AssertionError)
    assert is_transient(error)


def test_a_thread_of_fausts_that_has_ended_passes() -> None:
    def closed() -> object:
        raise RuntimeError("Event loop is closed")

    assert is_transient(raised(within("mode.threads", within("asyncio.base_events", closed))))


def test_a_mistake_of_ours_does_not_pass_although_the_client_called_us() -> None:
    chunk = Chunk("cx.visit", 0, 1, 0, 1, [object()])
    error = raised(within("aiokafka.consumer", lambda: chunk.values))
    assert isinstance(error, AttributeError)
    assert not is_transient(error)
