"""What keeps us out of Kafka is told by what a listener does with a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import trustme

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka.refusal import unreachable


@pytest.mark.parametrize(
    ("security", "asked"),
    [
        (
            {"security_protocol": "SSL"},
            (
                "security_protocol SSL right, and does Kafka ask for a client certificate"
                " (ssl_certfile)?"
            ),
        ),
        (
            {"security_protocol": "SSL", "ssl_certfile": "client.pem"},
            (
                "security_protocol SSL right, and does Kafka accept the client certificate of"
                " ssl_certfile?"
            ),
        ),
        (
            {"security_protocol": "SASL_SSL", "sasl_username": "cxkpi"},
            (
                "security_protocol SASL_SSL with sasl_mechanism PLAIN right, and does Kafka ask for"
                " a client certificate (ssl_certfile)?"
            ),
        ),
    ],
)
def test_tls_for_a_listener_without_it_is_no_broker_that_does_not_answer(
    broker: Broker,
    security: dict[str, str],
    asked: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client = trustme.CA().issue_cert("cxkpi@example.org")
    client.private_key_and_cert_chain_pem.write_to_path("client.pem")
    kafka = KafkaConfig.model_validate({"bootstrap": broker.bootstrap, **security})
    said = str(asyncio.run(unreachable(kafka)))
    assert said == f"Kafka at {broker.bootstrap} hangs up: is {asked}"


_START = "start one with `cxkpi broker`, or name yours by kafka.bootstrap or CXKPI_KAFKA__BOOTSTRAP"
_NAME = "is kafka.bootstrap or CXKPI_KAFKA__BOOTSTRAP right?"


@pytest.mark.parametrize(
    ("bootstrap", "remedy"),
    [
        ("127.0.0.1:1", _START),
        ("localhost:1", _START),
        ("[::1]:1", _START),
        ("127.0.0.1:1, localhost:2", _START),
        ("kafka.invalid:9092", _NAME),
        ("127.0.0.1:1,kafka.invalid:9092", _NAME),
    ],
)
def test_where_nobody_answers_the_key_is_named_and_on_this_machine_the_command_that_starts_one(
    bootstrap: str, remedy: str
) -> None:
    error = asyncio.run(unreachable(KafkaConfig(bootstrap=bootstrap)))
    assert str(error) == f"no Kafka broker answers at {bootstrap}"
    assert error.remedy == remedy


def test_a_broker_that_hangs_up_is_none_to_be_started(broker: Broker) -> None:
    kafka = KafkaConfig(bootstrap=broker.bootstrap, security_protocol="SSL")
    assert asyncio.run(unreachable(kafka)).remedy == ""


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_where_nobody_listens_no_broker_answers(protocol: str) -> None:
    kafka = KafkaConfig.model_validate({"bootstrap": "127.0.0.1:1", "security_protocol": protocol})
    assert str(asyncio.run(unreachable(kafka))) == "no Kafka broker answers at 127.0.0.1:1"
