"""What keeps us out of Kafka is told by what a listener does with a connection."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from pathlib import Path

import pytest
import trustme
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, SaslAuthenticationFailed

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka import refusal
from stream.kafka.administration import TopicsUnfit
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import LogUnread
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
    monkeypatch.setattr(refusal, "_SECONDS", 60.0)
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


async def test_a_process_without_descriptors_does_not_blame_the_broker(broker: Broker) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
    try:
        error = await unreachable(KafkaConfig(bootstrap=broker.bootstrap))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for each in held:
            os.close(each)
    assert str(error) == (
        f"no connection to Kafka at {broker.bootstrap}: too many open files; see ulimit -n"
    )


def test_a_broker_that_hangs_up_is_none_to_be_started(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal, "_SECONDS", 60.0)
    kafka = KafkaConfig(bootstrap=broker.bootstrap, security_protocol="SSL")
    assert asyncio.run(unreachable(kafka)).remedy == ""


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_where_nobody_listens_no_broker_answers(protocol: str) -> None:
    kafka = KafkaConfig.model_validate({"bootstrap": "127.0.0.1:1", "security_protocol": protocol})
    assert str(asyncio.run(unreachable(kafka))) == "no Kafka broker answers at 127.0.0.1:1"


@pytest.mark.parametrize(
    ("one", "other", "said", "has_remedy"),
    [
        pytest.param(OSError(), TimeoutError(), "no Kafka broker answers", True, id="nobody"),
        pytest.param(
            OSError(), SaslAuthenticationFailed(), "refuses the login of", False, id="the second"
        ),
        pytest.param(
            SaslAuthenticationFailed(), OSError(), "refuses the login of", False, id="the first"
        ),
    ],
)
async def test_each_address_is_asked_and_what_one_of_them_says_counts_more_than_silence(
    one: Exception,
    other: Exception,
    said: str,
    has_remedy: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {"one": one, "other": other}

    async def create_conn(host: str, port: int, **_: object) -> None:
        raise answers.pop(host)

    monkeypatch.setattr(refusal, "create_conn", create_conn)
    kafka = KafkaConfig().model_copy(update={"bootstrap": "one:1,other:2"})
    monkeypatch.setattr("random.shuffle", lambda _: None)
    found = await unreachable(kafka)
    assert said in str(found)
    assert bool(found.remedy) is has_remedy
    assert answers == {}


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (KafkaConnectionError("gone"), BrokerUnreachable, "nobody answers"),
        (KafkaTimeoutError(), BrokerUnreachable, "Kafka at .*: KafkaTimeoutError"),
        (LogUnread("g-state can't be read"), LogUnread, "g-state can't be read"),
        (TopicsUnfit("topic g-state is gone"), TopicsUnfit, "topic g-state is gone"),
        (KeyError("a mistake"), KeyError, "a mistake"),
    ],
)
async def test_whoever_can_not_connect_hangs_up_and_says_why_unless_that_was_said_already(
    error: Exception, raised: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung_up: list[str] = []

    async def hang_up() -> None:
        hung_up.append("hung up")

    async def knock(_: object) -> BrokerUnreachable:
        return BrokerUnreachable("nobody answers")

    monkeypatch.setattr(refusal, "unreachable", knock)
    with pytest.raises(raised, match=said):
        async with refusal.connecting(KafkaConfig(), hang_up):
            raise error
    assert hung_up == ["hung up"]


def test_the_client_is_quiet_until_the_last_who_connects_is_done() -> None:
    log = logging.getLogger("aiokafka")
    quiet = [log.disabled]
    first, second = refusal.client_is_quiet(), refusal.client_is_quiet()
    for step in (first.__enter__, second.__enter__):
        step()
        quiet.append(log.disabled)
    for ending in (first, second):
        ending.__exit__(None, None, None)
        quiet.append(log.disabled)
    assert quiet == [False, True, True, True, False]
