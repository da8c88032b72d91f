"""Workers that are killed, frozen, cut off and replaced count and remember every event once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stream.broker import Broker
from tests.faults.cluster import Cluster, site_for
from tests.faults.mutations import named
from tests.faults.report import row, table
from tests.faults.schedule import CASES, at_random, outage
from tests.faults.verdict import Verdict
from tests.kafka.conftest import Sites

#: The sharpest cases; `make faults` runs all, longer, with all mistakes.
PLAIN = ("zombie-in-a-transaction", "take-over", "recovery")
#: Mistakes that are made here; a case that finds its mistake is run through as well.
MADE = (
    "read-before-fence",
    "sent-again",
    "letters-apart",
)
#: How often a mistake is made before it counts as not found.
TRIES = 3


def told(verdict: Verdict) -> list[str]:
    """Print the row of the table; what was wrong."""
    print(table([row(verdict)]))  # noqa: T201 - the figures are the point of these tests.
    return verdict.wrong


@pytest.mark.parametrize("case", PLAIN)
def test_nothing_is_lost_doubled_or_forgotten(sites: Sites, broker: Broker, case: str) -> None:
    assert told(Cluster(site_for(sites, broker.bootstrap), CASES[case]).run()) == []


def test_nor_at_random_moments(sites: Sites, broker: Broker) -> None:
    site = site_for(sites, broker.bootstrap, flush="1s")
    verdict = Cluster(site, at_random(seed=20, kills=4)).run()
    assert told(verdict) == []
    assert sum(n for kind, n in verdict.faults.items() if kind.startswith("kill")) >= 4


def test_nor_when_the_broker_is_killed(sites: Sites, new_broker: Callable[..., Broker]) -> None:
    broker = new_broker()
    broker.start()
    site = site_for(sites, broker.bootstrap)
    assert told(Cluster(site, outage("kill", 8.0), broker=broker).run()) == []


@pytest.mark.parametrize("name", MADE)
def test_a_mistake_in_the_protocol_is_found(sites: Sites, broker: Broker, name: str) -> None:
    mutation = named(name)

    def findings() -> list[str]:
        site = site_for(sites, broker.bootstrap)
        return Cluster(site, CASES[mutation.case], mutation.name).run().findings

    # What it does harm to depends on what the flush held that it hit, so it is made up to thrice.
    assert any(findings() for _ in range(TRIES))
