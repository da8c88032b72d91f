"""Looks now and then whether broker, topics and group still are what the worker relies on.

Kafka's clients try for ever and say little, so what they can't mend has to be found out apart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Final, NamedTuple, TypeVar

from stream.config import KafkaConfig
from stream.core.errors import StopError
from stream.kafka.administration import Administrator, TopicsUnfit
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.group import answer_seconds, is_settled
from stream.kafka.owner import ShardOwner
from stream.kafka.topics import TopicMap, check
from stream.kafka.wording import missing_right

_EVERY_SECONDS: Final = 5.0
#: How long a look at the topics, or at the group, may take, in seconds.
_CHECK_SECONDS: Final = 10.0

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Heard(NamedTuple):
    """What the group's coordinator has said to this worker."""

    #: When it accepted a heartbeat (monotonic seconds).
    heartbeat_at: float
    #: When it said that it can't do the group's work.
    helpless_at: float


_NOTHING: Final = _Heard(0.0, 0.0)


class GroupLost(StopError):
    """The consumer does not find back into its group; only a new start helps."""


def silence_seconds(kafka: KafkaConfig) -> float:
    """After so long without an accepted heartbeat the client has died.

    That is while the group waits for nobody: where its coordinator is down, nobody can be in it.
    Nor can anybody where too few brokers are there for it to write. The group may then look as if
    it waited for nobody for as long as that lasts, but the coordinator answers that it can't do its
    work. A coordinator that hangs is waited for once, and then another is looked for.
    """
    return 2 * answer_seconds(kafka) + kafka.session_timeout_ms / 1000


async def watch(kafka: KafkaConfig, topics: TopicMap, owner: ShardOwner) -> None:
    """Watch for ever; ``owner.outage`` tells while no broker answers.

    Raises:
        TopicsUnfit: a topic is gone or has other partitions than at the start.
        GroupLost: the group has accepted no heartbeat for long, though it waits for nobody and can
            do its work.
    """
    administrator = Administrator(kafka)
    try:
        await _watch(kafka, topics, owner, administrator)
    finally:
        await administrator.close()


async def _watch(
    kafka: KafkaConfig, topics: TopicMap, owner: ShardOwner, administrator: Administrator
) -> None:
    silence, last_heard, unfit = 0.0, _NOTHING, False
    asked = partial(is_settled, group=kafka.group)
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        heard = _NOTHING
        if (thread := owner.thread) is not None:
            heard = _Heard(thread.heartbeat_at, thread.membership.helpless_at)
        try:
            await _in_time(kafka, check(administrator, topics))
            is_left_out = heard == last_heard and await _in_time(kafka, administrator.ask(asked))
        except BrokerUnreachable as error:
            if not owner.outage:
                until = "it is granted" if missing_right(error.__cause__) else "one does"
                log.warning("%s; going on once %s", error, until)
            owner.outage = str(error)
            silence, unfit = 0.0, False
            continue
        except TopicsUnfit:
            # A broker that has just come back may not know all of its topics yet.
            if unfit:
                raise
            unfit = True
            continue
        owner.outage, unfit = "", False
        silence = silence + _EVERY_SECONDS if is_left_out else 0.0
        last_heard = heard
        if silence >= silence_seconds(kafka):
            raise GroupLost(
                f"the group {kafka.group} has accepted no heartbeat for {silence:.0f} s though"
                " Kafka answers; start the worker again"
            )


async def _in_time(kafka: KafkaConfig, answer: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await answer
    except TimeoutError:
        raise BrokerUnreachable(f"no Kafka broker answers at {kafka.bootstrap} in time") from None
