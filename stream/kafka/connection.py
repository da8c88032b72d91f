"""How every client of ours reaches the brokers, and what it says when it can't."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Literal

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.helpers import create_ssl_context

from stream.config import KafkaConfig
from stream.kafka.codecs import bound_client
from stream.kafka.records import read_any_name

#: How long to wait before metadata is asked for again where no broker answered, in seconds.
_BACKOFF = 0.2

log = logging.getLogger(__name__)

bound_client()
read_any_name()


class BrokerUnreachable(Exception):
    """No broker answers, or none lets us in; the message names the addresses and the reason."""

    decision: ClassVar[Literal["retry"]] = "retry"


def client_options(kafka: KafkaConfig) -> dict[str, Any]:
    """Address, encryption and login as aiokafka's clients take them.

    Raises:
        OSError, ssl.SSLError: a certificate can't be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [part.strip() for part in kafka.bootstrap.split(",")],
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
    """Let the client wait where no broker answers, and never stop asking.

    By itself it asks again at once, without end, in a full core where a broker was stopped
    (aiokafka#267 tells of the loop); and an exception ends its asking for good, upon which the
    group's coordinator waits for ever (aiokafka#344 and #1154 are of that kind).
    """
    update: Callable[..., Awaitable[bool]] = client._metadata_update  # noqa: SLF001

    async def waiting_update(*args: Any) -> bool:
        try:
            answered = await update(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well.
            log.warning("asking for metadata failed: %r", error)
            answered = False
        if not answered:
            await asyncio.sleep(_BACKOFF)
        return answered

    client._metadata_update = waiting_update  # noqa: SLF001


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
