"""Streams reach every sentence of the contract: what none of them holds proves nothing."""

from __future__ import annotations

from collections import Counter

from tests.fuzz.scenario import scenario
from tests.reference.choosing import Rolled
from tests.reference.configurations import configuration
from tests.reference.reach import WANTED
from tests.reference.reading import Reading
from tests.reference.situations import situations
from tests.reference.streams import stream


def test_a_thousand_streams_hold_every_situation() -> None:
    found: Counter[str] = Counter()
    for seed in range(1000):
        picks = Rolled(seed)
        config = configuration(picks)
        records = stream(picks, config)
        found.update(situations(records, Reading(config).read(records)))
    wanted = {f"{group}: {what}" for group, names in WANTED.items() for what in names}
    assert found.keys() == wanted


def test_scenarios_hold_what_needs_a_clock_or_an_end() -> None:
    outcomes: Counter[str | None] = Counter()
    set_back = 0
    for seed in range(40):
        given = scenario(seed)
        reading = Reading(given.config, given.until)
        latest = 0
        for step in given.steps:
            if given.shards:
                reading.read_live(step.record, step.clock)
                set_back += step.clock < latest
                latest = max(latest, step.clock)
            else:
                reading.read([step.record])
        outcomes.update(reading.outcomes)
    assert set_back > 10
    assert min(outcomes[o] for o in ("accepted", "duplicate", "future", "late", "orphan")) > 5
    assert outcomes[None] > 5
