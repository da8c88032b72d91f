"""How the configuration says where the brokers are, and how to log in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr

from stream.config.fields import (
    Between,
    Duration,
    FileName,
    Flag,
    Form,
    OneLine,
    OneOf,
    Text,
    TopicPart,
    Whole,
    address_of_ipv6,
    host_name,
    refused,
)
from stream.config.table import Table
from stream.core.settings import MINUTE, SECOND

SECURITY_PROTOCOLS = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SASL_MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_HOST = rf"({host_name(':')}|\[({address_of_ipv6(']')})\])"
_BROKER = rf"\s*{_HOST}:{_PORT}\s*"
_BOOTSTRAP = Form(
    f"{_BROKER}(,{_BROKER})*",
    'host:port, several comma-separated, such as "kafka-1:9092,kafka-2:9092"',
)
_GROUP = Form("[A-Za-z0-9._-]{1,150}", "1 to 150 letters, digits, dots, hyphens, underscores")


def _one_text(value: object) -> object:
    if isinstance(value, list):
        several = "several are separated by commas in one text"
        raise refused(f'must be text in quotes; {several}, such as "kafka-1:9092,kafka-2:9092"')
    return value


class KafkaConfig(Table):
    """The brokers, the topics' names and how to log in."""

    bootstrap: Annotated[Text, _BOOTSTRAP, BeforeValidator(_one_text)] = "127.0.0.1:9092"
    """Brokers to ask first, `host:port`, several comma-separated."""
    group: Annotated[Text, _GROUP] = "cxkpi"
    """Consumer group; also the prefix of internal topics and transactional ids.

    1 to 150 letters, digits, dots, hyphens, underscores."""
    topic_prefix: Annotated[Text, TopicPart] = ""
    """Stands before every source, dead-letter and alert topic."""
    partitions: Annotated[Whole, Between(1, 10_000)] = 4
    """Partitions of topics that the worker has to create."""
    replication: Annotated[Whole, Between(1, 32)] = 1
    """Replicas of topics that the worker has to create."""
    flush_ms: Annotated[int, Duration(10, SECOND)] = Field(SECOND, alias="flush")
    """How often counts, positions and dead letters are written, in one transaction each."""
    # Kafka refuses less unless it is told otherwise, and stock brokers are not.
    session_timeout_ms: Annotated[int, Duration(6 * SECOND, 30 * SECOND)] = Field(
        10 * SECOND, alias="session_timeout"
    )
    """After so long without a heartbeat another worker takes over."""
    transaction_timeout_ms: Annotated[int, Duration(SECOND, 15 * MINUTE)] = Field(
        10 * SECOND, alias="transaction_timeout"
    )
    """After so long the broker aborts what a dead worker left open; at least twice `flush`."""
    request_timeout_ms: Annotated[int, Duration(SECOND, 10 * MINUTE)] = Field(
        20 * SECOND, alias="request_timeout"
    )
    """How long an answer of a broker may take; the first one 10 s at most."""
    security_protocol: Annotated[Text, OneOf(lambda: SECURITY_PROTOCOLS, "protocol")] = "PLAINTEXT"
    """How to talk to the brokers: whether encrypted (`SSL`) and with a login (`SASL`)."""
    ssl_cafile: FileName | None = None
    """Certificates of authorities to trust, PEM; without it those of the system."""
    ssl_certfile: FileName | None = None
    """The client's certificate, PEM."""
    ssl_keyfile: FileName | None = None
    """The key of the client's certificate, PEM, if it isn't in the same file."""
    ssl_check_hostname: Flag = True
    """Whether the broker's certificate must be for its host name."""
    sasl_mechanism: Annotated[Text, OneOf(lambda: SASL_MECHANISMS, "mechanism")] = "PLAIN"
    """How to log in."""
    sasl_username: OneLine | None = None
    """Who logs in. The password never stands in the file: see `sasl_password_file`."""
    sasl_password_file: FileName | None = None
    """File that holds the password; or set the variable `CXKPI_KAFKA__SASL_PASSWORD`."""

    _sasl_password: SecretStr | None = PrivateAttr(None)

    @property
    def servers(self) -> list[str]:
        """The brokers to ask first, each as ``host:port``."""
        return [server.strip() for server in self.bootstrap.split(",")]

    @property
    def sasl_password(self) -> SecretStr | None:
        """The password from the environment or ``sasl_password_file``."""
        return self._sasl_password

    def hold_password(self, password: SecretStr) -> None:
        """Keep the password, once it was fetched."""
        self._sasl_password = password

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether the client logs in by user name and password."""
        return self.security_protocol.startswith("SASL")
