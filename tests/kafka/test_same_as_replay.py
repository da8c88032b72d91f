"""What workers show of a stream, however many they are, is what ``cxkpi replay`` says of it."""

from __future__ import annotations

from stream.broker import Broker
from tests.kafka import same_as_replay
from tests.kafka.conftest import Sites


def test_two_workers_and_one_show_what_a_replay_says(sites: Sites, broker: Broker) -> None:
    assert same_as_replay.findings(same_as_replay.site_for(sites, broker.bootstrap)) == []
