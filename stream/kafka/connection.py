"""How every client of ours reaches the brokers, and what it says when it can't."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest

from stream.config import KafkaConfig
from stream.core.errors import RetryError
from stream.kafka.codecs import bound_client
from stream.kafka.ending import LAST_WORDS_SECONDS
from stream.kafka.records import read_any_name
from stream.kafka.repeats import EACH_TRY
from stream.kafka.transient import is_transient
from stream.kafka.wording import InWords

#: How long to wait before metadata is asked for again where no broker answered, in seconds.
_BACKOFF: Final = 0.2
#: So long (ms) each address has to answer the first question: where a broker that hangs takes the
#: connection, the time-out of requests would pass without a word.
FIRST_ANSWER_MS: Final = 10_000
#: The same where there are other addresses.
FIRST_OF_SEVERAL_MS: Final = 3_000
#: What a broker answers at once, as it does questions for metadata; how long (s) it is waited for.
_QUICK: Final = (FindCoordinatorRequest, HeartbeatRequest)
_QUICK_SECONDS: Final = 10.0
#: A broker that did not answer is not asked what others know as well, for so many seconds.
_AVOIDED: Final = 30.0
#: How long (s) a member that its group has refused waits before it asks again.
_REFUSED_SECONDS: Final = 1.0

log = logging.getLogger(__name__)

bound_client()
read_any_name()


class BrokerUnreachable(RetryError):
    """No broker answers, none lets us in, or the one that is needed is missing.

    The message names the addresses, or who is missing, and the reason.
    """


def client_options(kafka: KafkaConfig) -> dict[str, Any]:
    """Address, encryption and login as aiokafka's clients take them.

    Raises:
        OSError, ssl.SSLError: a certificate can't be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.servers,
        "request_timeout_ms": kafka.request_timeout_ms,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.uses_tls:
        options["ssl_context"] = tls_context(kafka)
    if kafka.uses_sasl:
        password = kafka.sasl_password
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    return options


def tls_context(kafka: KafkaConfig) -> ssl.SSLContext:
    """Whom we trust, and who we are.

    Raises:
        OSError, ssl.SSLError: a certificate can't be read.
    """
    context: ssl.SSLContext = create_ssl_context(
        cafile=kafka.ssl_cafile, certfile=kafka.ssl_certfile, keyfile=kafka.ssl_keyfile
    )
    context.check_hostname = kafka.ssl_check_hostname
    return context


def calm(client: AIOKafkaClient) -> None:
    """Have the client get along where a broker is down or hangs.

    By itself it asks for metadata again at once where no broker answers, without end, in a full
    core (aiokafka#267 tells of the loop); an exception ends its asking for good, upon which the
    group's coordinator waits for ever (aiokafka#344 and #1154 are of that kind); and it waits for a
    broker that hangs as long as any request may take, each time that it happens upon it.
    """
    _ask_patiently(client)
    _begin_soon(client)
    _avoid_the_silent(client)


def _ask_patiently(client: AIOKafkaClient) -> None:
    """Let the client wait where no broker answers, and never stop asking."""
    update: Callable[..., Awaitable[bool]] = client._metadata_update  # noqa: SLF001

    async def waiting_update(*args: Any) -> bool:
        try:
            async with asyncio.timeout(_QUICK_SECONDS):
                answered = await update(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well.
            log.warning("asking for metadata failed: %s", InWords(error), extra=EACH_TRY)
            answered = False
        if not answered:
            await asyncio.sleep(_BACKOFF)
        return answered

    client._metadata_update = waiting_update  # noqa: SLF001


def _begin_soon(client: AIOKafkaClient) -> None:
    """Let the client go on to the next address where one does not answer soon."""
    begin: Callable[[], Awaitable[None]] = client.bootstrap

    async def beginning() -> None:
        usual = client._request_timeout_ms  # noqa: SLF001
        try:
            if len(client.hosts) > 1:
                client._request_timeout_ms = min(usual, FIRST_OF_SEVERAL_MS)  # noqa: SLF001
                with suppress(KafkaConnectionError):
                    return await begin()
            client._request_timeout_ms = min(usual, FIRST_ANSWER_MS)  # noqa: SLF001
            await begin()
        finally:
            client._request_timeout_ms = usual  # noqa: SLF001

    client.bootstrap = beginning


def _avoid_the_silent(client: AIOKafkaClient) -> None:
    """Let what any broker may be asked, such as who coordinates a group, go to one that answers.

    A request may say ``within`` how many seconds it is to be answered.
    """
    send: Callable[..., Awaitable[Any]] = client.send
    silent: dict[int, float] = {}

    async def in_time(
        limit: float | None,
        node_id: int,
        request: Any,
        group: ConnectionGroup = ConnectionGroup.DEFAULT,
    ) -> Any:
        try:
            async with asyncio.timeout(limit):
                return await send(node_id, request, group=group)
        except TimeoutError:
            # As the client does itself: the connection may be what is dead, and not the broker.
            connection = client._conns.get((node_id, group))  # noqa: SLF001
            if connection is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from None

    async def noting(
        node_id: int, request: Any, *, within: float | None = None, **options: Any
    ) -> Any:
        if within is None and isinstance(request, _QUICK):
            within = _QUICK_SECONDS
        try:
            answer = await in_time(within, node_id, request, **options)
        except (NodeNotReadyError, RequestTimedOutError):
            silent[node_id] = time.monotonic()
            raise
        silent.pop(node_id, None)
        return answer

    def any_node() -> int | None:
        since = time.monotonic() - _AVOIDED
        known = [broker.nodeId for broker in client.cluster.brokers()]
        likely = [node for node in known if silent.get(node, since) <= since]
        return random.choice(likely or known) if known else None

    client.send, client.get_random_node = noting, any_node


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without waiting for batches that may never be acknowledged.

    What sends for it ends only when all that is under way is answered, so its client is closed
    however that comes to its end; else connections and tasks would stay for each broker that hangs.
    """
    producer._closed = True  # noqa: SLF001
    try:
        with suppress(KafkaError, TimeoutError):  # Whoever waited for it was told.
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await producer._sender.close()  # noqa: SLF001
    finally:
        await _hang_up(producer.client)


async def _hang_up(client: AIOKafkaClient) -> None:
    """Close a client's connections, also those whose broker takes nothing any more.

    By itself a connection ends when all that was written to it has gone out.
    """
    writers = [connection._writer for connection in client._conns.values()]  # noqa: SLF001
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await client.close()
    finally:
        for writer in filter(None, writers):
            writer.transport.abort()


def calm_reader(consumer: AIOKafkaConsumer) -> None:
    """``calm`` for a consumer that has not started; it can be stopped at any time, too."""
    calm(consumer._client)  # noqa: SLF001
    start = consumer.start

    async def starting() -> None:
        await start()
        let_fetches_end(consumer._fetcher)  # noqa: SLF001

    consumer.start = starting


def let_fetches_end(fetcher: Any) -> None:
    """Let the fetches of a consumer be cancelled at any time.

    aiokafka waits unguarded after one that failed, and whoever closes the fetcher then takes the
    end of that wait for its own.
    """
    fetch: Callable[..., Awaitable[bool]] = fetcher._proc_fetch_request  # noqa: SLF001

    async def ending_well(*args: Any) -> bool:
        try:
            return bool(await fetch(*args))
        except asyncio.CancelledError:
            return False

    fetcher._proc_fetch_request = ending_well  # noqa: SLF001


def tell_heartbeats(coordinator: Any, accepted: Callable[[float], None]) -> None:
    """Tell of each heartbeat that the group accepts, with when it was sent (monotonic seconds)."""
    beat: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat  # noqa: SLF001

    async def telling() -> bool:
        sent = time.monotonic()
        is_accepted = bool(await beat())
        if is_accepted:
            accepted(sent)
        return is_accepted

    coordinator._do_heartbeat = telling  # noqa: SLF001


def ask_group_again(coordinator: Any) -> None:
    """Have a member that its group refuses ask to be taken in again, until it is.

    By itself aiokafka's coordinator waits, after whatever the group has refused, until somebody
    asks it for the error, which only its own ``getmany`` and ``getone`` do. And whoever sent
    heartbeats or asked for offsets has ended then, until the member joins anew.
    """
    push: Callable[[BaseException], Awaitable[object]] = coordinator._push_error_to_user  # noqa: SLF001

    async def asking_again(error: BaseException) -> None:
        if not is_transient(error):
            log.error("group %s: this member has failed: %r", coordinator.group_id, error)
            await push(error)
            return
        told = "group %s refuses this member, which asks again each second: %s"
        log.warning(told, coordinator.group_id, InWords(error), extra=EACH_TRY)
        await asyncio.wait({coordinator._closing}, timeout=_REFUSED_SECONDS)  # noqa: SLF001
        _begin_again(coordinator)

    coordinator._push_error_to_user = asking_again  # noqa: SLF001


def _begin_again(coordinator: Any) -> None:
    """Have a coordinator do again what its group has refused.

    Where that was no more than to tell offsets, without which nothing is fetched from the same
    broker, all others of the group would be held up by another rebalance.
    """
    beats, offsets = coordinator._heartbeat_task, coordinator._commit_refresh_task  # noqa: SLF001
    assignment = coordinator._subscription.subscription.assignment  # noqa: SLF001
    if beats is None or beats.done():
        coordinator.request_rejoin()
    elif offsets is not None and offsets.done() and assignment is not None:
        coordinator.start_commit_offsets_refresh_task(assignment)
