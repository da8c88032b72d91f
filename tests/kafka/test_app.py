"""What Faust is told of brokers, group and topics: of all else it would have ideas of its own."""

from __future__ import annotations

import os
import ssl
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from pydantic import SecretStr

from stream.config import KafkaConfig
from stream.kafka import app as faust_app
from stream.kafka.app import AppCrashed, MonitorApp, build, check
from stream.kafka.assignor import ShardAssignor
from stream.kafka.group import REBALANCE_SECONDS, answer_seconds
from stream.kafka.owner import ShardOwner
from stream.kafka.transport import FETCH_PARTITION_BYTES
from tests.kafka.clients import FakeSource, topic_map

KAFKA = KafkaConfig().model_copy(
    update={"group": "g", "session_timeout_ms": 12_000, "bootstrap": "one:1,two:2"}
)


def built(kafka: KafkaConfig = KAFKA) -> MonitorApp:
    made = build(kafka, topic_map(), cast("ShardOwner", FakeSource({})))
    made.finalize()
    return made


def test_the_group_holds_a_worker_for_a_session_and_hears_of_it_often_enough() -> None:
    conf: Any = built().conf
    assert conf.id == "g"
    assert [str(url) for url in conf.broker] == ["batchkafka://one:1", "batchkafka://two:2"]
    assert conf.broker_session_timeout == 12.0
    assert conf.broker_heartbeat_interval <= 12.0 / 3
    assert conf.broker_rebalance_timeout == REBALANCE_SECONDS
    assert conf.broker_request_timeout == answer_seconds(KAFKA)
    assert conf.consumer_max_fetch_size == FETCH_PARTITION_BYTES
    assert conf.broker_client_id.startswith("cxkpi-worker-")
    assert conf.broker_client_id.endswith(f"-{os.getpid()}")


def test_shards_are_shared_out_by_us_and_nothing_else_is_faust_s_business() -> None:
    made = built()
    conf: Any = made.conf
    assert isinstance(made.assignor, ShardAssignor)
    # Without standbys it falls back to an assignor of its own.
    assert conf.table_standby_replicas == 1
    # What is behind nobody's position is read from its beginning, and never passed over.
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.topic_allow_declare is False
    assert conf.topic_disable_leader is True
    assert conf.stream_wait_empty is False
    # It would listen on all addresses.
    assert conf.web_enabled is False
    assert made.partitions == dict.fromkeys(topic_map().partitions, 1)


async def test_chunks_wait_in_a_queue_that_is_bounded_and_are_acknowledged_by_nobody() -> None:
    (agent,) = built().agents.values()
    channel: Any = agent.channel
    assert set(channel.topics) == set(topic_map().partitions)
    assert channel.acks is False
    # What the agent reads, and what our chunks are put into.
    assert channel.clone(is_iterator=True).queue.maxsize == faust_app._WAITING_CHUNKS


@pytest.mark.parametrize(
    ("crashed", "should_stop", "ends"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_an_app_that_has_failed_or_stops_by_itself_ends_the_worker(
    crashed: bool, should_stop: bool, ends: bool
) -> None:
    made = SimpleNamespace(
        crashed=crashed, should_stop=should_stop, crash_reason=KeyError("a mistake")
    )
    if ends:
        with pytest.raises(AppCrashed, match="reading from Kafka has failed: KeyError"):
            check(cast("MonitorApp", made))
    else:
        check(cast("MonitorApp", made))


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
def test_faust_logs_in_and_encrypts_as_all_other_clients_do(protocol: str) -> None:
    login = {
        "sasl_mechanism": "PLAIN",
        "sasl_username": "me",
    }
    kafka = KAFKA.model_copy(update={"security_protocol": protocol, **login})
    kafka._sasl_password = SecretStr("secret")
    found = faust_app._credentials(kafka)
    if "SASL" in protocol:
        assert isinstance(found, faust.SASLCredentials)
        assert (found.username, found.password) == ("me", "secret")
        assert found.mechanism is not None
        assert found.mechanism.value == "PLAIN"
    else:
        assert (found is None) is (protocol == "PLAINTEXT")
    context = getattr(found, "ssl_context", None) or getattr(found, "context", None)
    assert isinstance(context, ssl.SSLContext) is ("SSL" in protocol)
    told: Any = built(kafka).conf
    assert type(told.broker_credentials) is type(found)
