"""Changes of alerts are there once each, whatever becomes of those who own them."""

from __future__ import annotations

from stream.broker import Broker
from tests.faults.alerting import Alerting, site_for
from tests.faults.report import row, table
from tests.kafka.conftest import Sites


def test_a_change_is_written_once_though_its_owner_is_killed_or_sleeps(
    sites: Sites, broker: Broker
) -> None:
    verdict = Alerting(site_for(sites, broker.bootstrap)).run(("committed", "zombie"))
    print(table([row(verdict)]))  # noqa: T201 - the figures are the point of these tests.
    assert verdict.wrong == []
    assert verdict.events > 10
