"""Work on topics through the brokers: seeing what there is, and making what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from stream.config import KafkaConfig
from stream.core.errors import StopError
from stream.kafka.admin import AdminClient
from stream.kafka.ending import say_goodbye
from stream.kafka.refusal import client_is_quiet, connecting, readable_options
from stream.kafka.topic_ids import TopicsRequest, id_of
from stream.kafka.transient import is_transient
from stream.kafka.wording import of_topics

#: Kafka's default limit of a record batch in bytes.
USUAL_LIMIT: Final = 1_048_588
#: How often to look for a topic that was just created, a tenth of a second apart.
LOOKS: Final = 50
#: A topic is gone when it was as often, once a second.
_LOOKS_FOR_GONE: Final = 3
_UNKNOWN: Final = UnknownTopicOrPartitionError.errno
_FORBIDDEN: Final = TopicAuthorizationFailedError.errno

T = TypeVar("T")


class TopicsUnfit(StopError):
    """The topics can't be used as they are; the message says what to do."""


class TopicsHidden(TopicsUnfit):
    """Topics may not be described, so that nobody knows whether they are there."""


@asynccontextmanager
async def administration(kafka: KafkaConfig) -> AsyncIterator[AdminClient]:
    """A client for work on topics and groups.

    Raises:
        BrokerUnreachable: no broker answers, or one refuses what is asked.
    """
    admin = AdminClient(**readable_options(kafka))
    hang_up = partial(say_goodbye, admin.close)
    async with connecting(kafka, hang_up):
        with client_is_quiet():
            await admin.start()
        yield admin
    await hang_up()


class Administrator:
    """A client that is kept for questions that are asked again and again.

    Each connection made anew costs several times what its question does, on both sides, the more
    with encryption and login.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        self._kafka = kafka
        self._admin: AdminClient | None = None

    async def ask(self, question: Callable[[AdminClient], Awaitable[T]]) -> T:
        """What a broker answers to the question.

        Raises:
            BrokerUnreachable: no broker answers, or one refuses what is asked.
            Exception: what the question raises by itself.
        """
        if self._admin is not None:
            try:
                return await question(self._admin)
            except BaseException as error:
                await self.close()
                if not is_transient(error):
                    raise
        # Perhaps no more than the connection was lost; else a new one tells what keeps us out.
        async with connecting(self._kafka, self.close):
            admin = self._admin = AdminClient(**readable_options(self._kafka))
            with client_is_quiet():
                await admin.start()
            return await question(admin)

    async def close(self) -> None:
        """Hang up; the next question connects anew."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await say_goodbye(admin.close)


async def create(
    admin: AdminClient,
    kafka: KafkaConfig,
    wanted: Mapping[str, int],
    config: Mapping[str, str],
) -> None:
    """Create the topics that are missing, with so many partitions.

    Raises:
        KafkaError: not now, as while brokers choose another controller; try again.
        TopicsUnfit: one can't be created, or may not be described.
    """
    there = await present(admin, wanted)
    new = [
        NewTopic(name, n, kafka.replication, topic_configs=dict(config))
        for name, n in wanted.items()
        if name not in there
    ]
    if not new:
        return
    answer = await admin.create_topics(new)
    for name, code, *rest in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            reason = "the right to create it is missing" if code == _FORBIDDEN else ""
            failed = f"topic {name} can't be created: {reason or reason_of(code, *rest)}"
            raise_passing(code, failed)
            raise TopicsUnfit(failed)


def reason_of(code: int, said: str | None = None, *_: object) -> str:
    """Why a broker refuses something, in words: what it ``said``, or the name of its error."""
    return said or f"{for_code(code).message.replace('_', ' ').lower()} (error {code})"


def raise_passing(code: int, failed: str) -> None:
    """Raise the client's own error where the broker's code is one that passes by itself."""
    kind = for_code(code)
    if kind.retriable:
        raise kind(failed)


async def described(admin: AdminClient, topics: Iterable[str]) -> Sequence[Mapping[str, Any]]:
    """What the broker says of topics: ``topic``, ``error_code``, ``partitions``, ``topic_id``.

    Older brokers tell no ids. Topics that are not there are not made.

    Raises:
        KafkaError: the broker does not answer.
    """
    asked = list(topics)
    if not asked:
        return []
    answer = await admin._send_request(TopicsRequest(asked))  # noqa: SLF001
    found: list[Mapping[str, Any]] = answer.to_object()["topics"]
    return found


def _never(_: Collection[str]) -> bool:
    return False


async def present(
    admin: AdminClient, topics: Iterable[str], is_loss: Callable[[Collection[str]], bool] = _never
) -> frozenset[str]:
    """Those of the topics that are there.

    A list of all topics lacks those that one may not see, and a broker that has just begun knows
    few. So what it lacks is asked for by name, and again, a second apart, while what is there says
    by ``is_loss`` that something was lost.

    Raises:
        KafkaError: the broker does not answer.
        TopicsHidden: some may not be described.
    """
    wanted = set(topics)
    there = wanted & set(await admin.list_topics())
    for look in range(_LOOKS_FOR_GONE):
        if there == wanted or (look and not is_loss(there)):
            break
        if look:
            await asyncio.sleep(1.0)
        told = await described(admin, sorted(wanted - there))
        _refuse_hidden(told)
        there = wanted - {d["topic"] for d in told if d["error_code"] == _UNKNOWN}
    return frozenset(there)


def _refuse_hidden(told: Iterable[Mapping[str, Any]]) -> None:
    """Raise TopicsHidden where any of the topics may not be described."""
    if hidden := [d["topic"] for d in told if d["error_code"] == _FORBIDDEN]:
        raise TopicsHidden(
            f"the right to describe {of_topics(sorted(hidden))} is missing, so whether"
            f" {'it is' if len(hidden) == 1 else 'they are'} there is not known: grant it"
        )


async def counts(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """How many partitions topics have; a topic just created may take a moment to be known.

    Raises:
        TopicsUnfit: one is not there, or may not be described.
    """
    wanted = list(topics)
    found: dict[str, int] = {}
    for _ in range(LOOKS):
        topics_found = await described(admin, wanted)
        _refuse_hidden(topics_found)
        found = {d["topic"]: len(d["partitions"]) for d in topics_found if not d["error_code"]}
        if all(found.get(topic) for topic in wanted):
            return found
        await asyncio.sleep(0.1)
    missing = ", ".join(t for t in wanted if not found.get(t))
    raise TopicsUnfit(f"topics were created but are not there: {missing}")


async def topic_ids(admin: AdminClient, names: Mapping[str, str]) -> dict[str, str]:
    """The ids of topics that are there, where the broker tells them; others may take a moment.

    ``names`` has their full names by those under which their ids are wanted.

    Raises:
        KafkaError: the broker does not answer.
    """
    ids: dict[str, str] = {}
    for _ in range(LOOKS):
        told = await described(admin, names.values())
        found = {d["topic"]: id_of(d) for d in told if not d["error_code"]}
        ids = {topic: found[name] for topic, name in names.items() if found.get(name)}
        # An older broker knows of all, and of no ids.
        if len(found) == len(names) and len(ids) in {0, len(names)}:
            break
        await asyncio.sleep(0.1)
    return ids


async def largest_batch(admin: AdminClient, topic: str) -> int | None:
    """The largest record batch that a topic takes, in bytes; None where the broker does not tell.

    Raises:
        KafkaError: the broker does not answer.
    """
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": None})
    for answer in await admin.describe_configs([asked]):
        for resource in answer.resources:
            for key, value, *_ in resource[4]:
                if key == "max.message.bytes":
                    return int(value)
    return None
