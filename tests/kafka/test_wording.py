"""What Kafka's client raises is said in words where a right is missing, or a remedy is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.config import KafkaConfig
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, LogUnread
from stream.kafka.refusal import connecting
from stream.kafka.wording import InWords, in_words, missing_right


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TopicAuthorizationFailedError("a"), "the right to read topic a is missing"),
        (TopicAuthorizationFailedError({"b", "a"}), "the right to read topics a, b is missing"),
        (TopicAuthorizationFailedError(), "the right to read a topic is missing"),
        (
            TopicAuthorizationFailedError("Unable to get offset info for a and 1"),
            "the right to read topic a and 1 is missing",
        ),
        (
            GroupAuthorizationFailedError("Unable to get coordinator id for g"),
            "the right to read group g is missing",
        ),
        (GroupAuthorizationFailedError("g-sink"), "the right to read group g-sink is missing"),
        (GroupAuthorizationFailedError(), "the right to read the group is missing"),
        (
            TransactionalIdAuthorizationFailed("g-shard-0"),
            "the right to describe and write transactional id g-shard-0 is missing",
        ),
        (
            ClusterAuthorizationFailedError(),
            "the right to write to the topics, or to write idempotently to the cluster, is missing",
        ),
        (
            caused(KafkaError("Unexpected error"), GroupAuthorizationFailedError("g")),
            "the right to read group g is missing",
        ),
        (
            MessageSizeTooLargeError(),
            (
                "a record batch is too large (raise max.message.bytes, of a worker's topics as"
                " `cxkpi check --state` says)"
            ),
        ),
        (LogUnread("a can't be read"), "a can't be read"),
        (KafkaConnectionError("a"), "KafkaConnectionError('a')"),
        (caused(OSError("a"), GroupAuthorizationFailedError("g")), "OSError('a')"),
    ],
)
def test_an_error_is_said_in_words_where_there_are_any(error: Exception, said: str) -> None:
    assert in_words(error) == str(InWords(error)) == said


def test_what_was_to_be_done_with_a_topic_is_said_by_who_did_it() -> None:
    error = TopicAuthorizationFailedError("a")
    assert in_words(error, "write to") == "the right to write to topic a is missing"
    assert str(InWords(error, "describe")) == "the right to describe topic a is missing"


@pytest.mark.parametrize("error", [None, OSError("a"), KafkaConnectionError("a"), FlushFailed("a")])
def test_other_errors_are_of_no_right(error: Exception | None) -> None:
    assert missing_right(error) is None


def test_all_that_has_gone_wrong_at_a_time_is_said_and_each_of_it_once() -> None:
    lanes = ExceptionGroup("lanes", [OSError("a"), OSError("b"), OSError("a")])
    group = ExceptionGroup("all", [lanes, GroupAuthorizationFailedError("g")])
    assert in_words(group) == ("OSError('a'); OSError('b'); the right to read group g is missing")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lambda: GroupAuthorizationFailedError("g"), "the right to read group g is missing"),
        (lambda: TopicAuthorizationFailedError("a"), "the right to describe topic a is missing"),
    ],
)
async def test_who_is_let_in_but_may_not_ask_is_told_which_right_is_missing(
    error: Callable[[], Exception], said: str
) -> None:
    async def hang_up() -> None: ...

    with pytest.raises(BrokerUnreachable) as raised:
        async with connecting(KafkaConfig(bootstrap="kafka:9092"), hang_up):
            raise error()
    assert str(raised.value) == f"Kafka at kafka:9092: {said}"
