"""Why no broker lets us in, in words that help: Kafka's client only logs it."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed

from stream.config import KafkaConfig
from stream.core.errors import DecidedError
from stream.kafka.connection import BrokerUnreachable, client_options
from stream.kafka.transient import is_transient
from stream.kafka.wording import in_words

_SECONDS: Final = 5.0
#: The process has as many files and connections as it may, or the machine has.
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
#: Who has the client be quiet now.
_CONNECTING: Final[set[object]] = set()


def readable_options(kafka: KafkaConfig) -> dict[str, Any]:
    """As ``client_options``; a certificate that can't be read keeps us out, too.

    Raises:
        BrokerUnreachable: it can't.
    """
    try:
        return client_options(kafka)
    except (OSError, ssl.SSLError) as error:
        raise BrokerUnreachable(f"a certificate can't be read: {error}") from error


@asynccontextmanager
async def connecting(
    kafka: KafkaConfig, hang_up: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Connect within the block; where that fails, ``hang_up`` and say what keeps us out.

    Raises:
        BrokerUnreachable: no broker answers, or it does not let us in.
    """
    try:
        yield
    except BaseException as error:
        await hang_up()
        if isinstance(error, KafkaConnectionError):
            raise await unreachable(kafka) from error
        if is_transient(error) and not isinstance(error, DecidedError):
            said = in_words(error, "describe")
            raise BrokerUnreachable(f"Kafka at {kafka.bootstrap}: {said}") from error
        raise


async def unreachable(kafka: KafkaConfig) -> BrokerUnreachable:
    """Knock at each address once more and say what keeps us out of the last one that answers."""
    options = readable_options(kafka)
    where = f"at {kafka.bootstrap}"
    refusal = silence = f"no Kafka broker answers {where}"
    hosts = AIOKafkaClient(bootstrap_servers=options.pop("bootstrap_servers")).hosts
    for host, port, _ in hosts:
        try:
            connection = await asyncio.wait_for(create_conn(host, port, **options), _SECONDS)
        except ssl.SSLCertVerificationError as error:
            refusal = f"the certificate of Kafka {where} is refused: {error.verify_message}"
        except ssl.SSLError as error:
            reason = (error.reason or "no reason given").replace("_", " ").lower()
            refusal = f"Kafka {where} does not speak TLS with us: {reason}"
        except SaslAuthenticationFailed:
            # What the broker says may repeat what we sent.
            refusal = (
                f"Kafka {where} refuses the login of {kafka.sasl_username!r}"
                f" by {kafka.sasl_mechanism}: see [kafka] sasl_username, the password and"
                " sasl_mechanism"
            )
        except KafkaError as error:
            refusal = f"Kafka {where} hangs up ({type(error).__name__}): {_asked(kafka)}?"
        except ConnectionResetError:
            # So a listener without TLS answers the first bytes of TLS.
            refusal = f"Kafka {where} hangs up: {_asked(kafka)}?"
        except (OSError, TimeoutError) as error:
            if error.errno in _NO_DESCRIPTOR:
                hint = "; see ulimit -n" if error.errno == errno.EMFILE else ""
                refusal = f"no connection to Kafka {where}: too many open files{hint}"
        else:
            connection.close()
    found = BrokerUnreachable(refusal)
    if refusal == silence:
        found.remedy = _elsewhere(host for host, _, _ in hosts)
    return found


def _elsewhere(hosts: Iterable[str]) -> str:
    """What to do where no host answers."""
    if all(_is_loopback(host) for host in hosts):
        return (
            "start one with `cxkpi broker`, or name yours by kafka.bootstrap or"
            " CXKPI_KAFKA__BOOTSTRAP"
        )
    return "is kafka.bootstrap or CXKPI_KAFKA__BOOTSTRAP right?"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _asked(kafka: KafkaConfig) -> str:
    mechanism = f" with sasl_mechanism {kafka.sasl_mechanism}" if kafka.uses_sasl else ""
    asked = f"is security_protocol {kafka.security_protocol}{mechanism} right"
    if not kafka.uses_tls:
        return asked
    # With TLS 1.3 a client's certificate is refused only after the handshake, without a word.
    if kafka.ssl_certfile is None:
        return f"{asked}, and does Kafka ask for a client certificate (ssl_certfile)"
    return f"{asked}, and does Kafka accept the client certificate of ssl_certfile"


@contextmanager
def client_is_quiet() -> Iterator[None]:
    """Keep the client from logging each failed connection: ``unreachable`` says why, once.

    Several may connect at a time; it speaks again after the last of them.
    """
    log, one = logging.getLogger("aiokafka"), object()
    _CONNECTING.add(one)
    log.disabled = True
    try:
        yield
    finally:
        _CONNECTING.discard(one)
        log.disabled = bool(_CONNECTING)
