"""What a configuration says that is allowed but can hardly be meant."""

from __future__ import annotations

from collections.abc import Iterator

from stream.config.alerts import warnings
from stream.config.kafka import KafkaConfig
from stream.config.model import Config


def warned_of(config: Config) -> list[str]:
    """The warnings, a line each: the key and what is to be known."""
    return [*_of_kafka(config.kafka), *warnings(config)]


def _of_kafka(kafka: KafkaConfig) -> Iterator[str]:
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        yield (
            "kafka.security_protocol: SASL_PLAINTEXT with sasl_mechanism PLAIN sends user name and"
            " password in the clear"
        )
