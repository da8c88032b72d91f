"""What keeps us out of Kafka is told by what a listener does with a connection."""

from __future__ import annotations

import asyncio

import pytest

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka.refusal import unreachable


@pytest.mark.parametrize(
    ("security", "asked"),
    [
        ({"security_protocol": "SSL"}, "security_protocol SSL"),
        (
            {"security_protocol": "SASL_SSL", "sasl_username": "cxkpi"},
            "security_protocol SASL_SSL with sasl_mechanism PLAIN",
        ),
    ],
)
def test_tls_for_a_listener_without_it_is_no_broker_that_does_not_answer(
    broker: Broker, security: dict[str, str], asked: str
) -> None:
    kafka = KafkaConfig.model_validate({"bootstrap": broker.bootstrap, **security})
    said = str(asyncio.run(unreachable(kafka)))
    assert said == f"Kafka at {broker.bootstrap} hangs up: is {asked} right?"


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_where_nobody_listens_no_broker_answers(protocol: str) -> None:
    kafka = KafkaConfig.model_validate({"bootstrap": "127.0.0.1:1", "security_protocol": protocol})
    assert str(asyncio.run(unreachable(kafka))) == "no Kafka broker answers at 127.0.0.1:1"
