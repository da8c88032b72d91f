"""The embedded broker, on the real thing."""

from __future__ import annotations

from stream.broker import Broker


def test_a_started_broker_runs_on_loopback(broker: Broker) -> None:
    assert broker.running
    assert broker.bootstrap == f"127.0.0.1:{broker.port}"
