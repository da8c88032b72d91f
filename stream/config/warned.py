"""What a configuration says that is allowed but can hardly be meant."""

from __future__ import annotations

from collections.abc import Iterator

from stream.config.alerts import warnings
from stream.config.kafka import KafkaConfig
from stream.config.model import Config


def warned_of(config: Config) -> list[str]:
    """The warnings, a line each: the key and what is to be known."""
    return [*_of_kafka(config.kafka), *warnings(config), *_of_sinks(config)]


def _of_kafka(kafka: KafkaConfig) -> Iterator[str]:
    if kafka.security_protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        yield (
            "kafka.security_protocol: SASL_PLAINTEXT with sasl_mechanism PLAIN sends user name and"
            " password in the clear"
        )
    if kafka.security_protocol.endswith("SSL") and not kafka.ssl_check_hostname:
        yield (
            "kafka.ssl_check_hostname: is false, so whoever has any certificate that"
            " kafka.ssl_cafile, or the system, trusts is taken for a broker"
        )


def _of_sinks(config: Config) -> Iterator[str]:
    for number, sink in enumerate(config.sinks):
        if sink.is_named_by_place:
            yield (
                f"sink[{number}].name: is missing; it is {sink.name} by its place among those of"
                f" type {sink.type}, and another sink's once that changes, with what was told and"
                " what was not: give it a name of its own"
            )
